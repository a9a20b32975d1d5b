"""The command line reference, from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from qcmb_mpi.cli import _parser
from qcmb_mpi.config import FIELDS, ExecutorConfig


def commands() -> str:
    """A section for each subcommand: what it is for, how it is called, every argument and flag."""
    return "\n\n".join(_section(name, purpose, parser) for name, purpose, parser in subcommands())


def subcommands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, purpose and parser of each subcommand."""
    group = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    purposes = {choice.dest: choice.help or "" for choice in group._choices_actions}
    for name, parser in group.choices.items():
        yield name, purposes[name], parser


def arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Arguments and flags without the help that every command has."""
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _section(name: str, purpose: str, parser: argparse.ArgumentParser) -> str:
    given = [_usage(action) for action in arguments(parser) if not action.option_strings or action.required]
    call = " ".join(["python -m qcmb_mpi", name, *given, "[flags]"])
    rows = ["| argument or flag | meaning |", "|---|---|"]
    for action in arguments(parser):
        rows.append(f"| {_names(action)} | {_meaning(action)} |")
    return "\n".join([f"## `{name}`", "", f"{_sentence(purpose)}", "", f"`{call}`", "", *rows])


def _usage(action: argparse.Action) -> str:
    if action.option_strings:
        return f"{action.option_strings[-1]} {_value(action)}"
    return f"[{_value(action)}]" if action.nargs == "?" else _value(action)


def _names(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    if not action.option_strings:
        return f"`{value}`"
    if action.nargs == "?":
        value = f"[{value}]"
    return ", ".join(f"`{flag} {value}`" if value else f"`{flag}`" for flag in action.option_strings)


def _value(action: argparse.Action) -> str:
    return str(action.metavar or action.dest.upper())


def _meaning(action: argparse.Action) -> str:
    notes = []
    if action.choices is not None:
        notes.append("one of " + ", ".join(f"`{choice}`" for choice in action.choices))
    if action.required and action.option_strings:
        notes.append("required")
    if isinstance(action, argparse._AppendAction):
        notes.append("may be repeated")
    default = action.default
    if default is None and action.dest in FIELDS:  # the setting's own
        default = getattr(ExecutorConfig, action.dest)
    if "default" not in (action.help or "") and default not in (None, False, ()):
        notes.append(f"default `{default:g}`" if isinstance(default, float) else f"default `{default}`")
    return (action.help or "").replace("|", "\\|") + (f" ({'; '.join(notes)})" if notes else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
