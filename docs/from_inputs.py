"""The input reference: every field that the program knows, asked of the program, with its meaning."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

from fields import EMPTY, FORMS, Field, Section

from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import from_model
from qcmb_mpi.problem import Problem

STRANGE = "§"  # a name that is like no other: the program answers with all that it knows


def form(name: str) -> str:
    """The tables of a form of input."""
    smallest, sections = FORMS[name]
    tables = []
    for section in sections:
        check(smallest, section)
        head = [] if len(sections) == 1 else [f"**{section.title}**", ""]
        rows = [_row(field, told) for field, told in section.fields.items()]
        tables.append("\n".join([*head, "| field | type | default | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(tables)


def execution() -> str:
    """The executor's settings: types and defaults from the class, meanings from its docstring."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    meanings = attributes(ExecutorConfig.__doc__ or "")
    for field in fields_of(ExecutorConfig):
        kind = _KINDS[str(field.type)]
        rows.append(f"| `{field.name}` | {kind} | {_json(field.default)} | {meanings[field.name]} |")
    return "\n".join(rows)


_KINDS = {
    "int": "whole number",
    "int | None": "whole number or null",
    "float": "number",
    "float | None": "number or null",
    "str": "word",
    "str | None": "text or null",
    "bool": "true or false",
    "bool | None": "true, false or null",
    "tuple[str, ...]": "list of texts",
}


def attributes(docstring: str) -> dict[str, str]:
    """The attributes that a docstring in numpy's style describes, each as one line."""
    section = docstring.split("Attributes\n    ----------\n")[1].split("\n\n")[0]
    told: dict[str, list[str]] = {}
    name = ""
    for line in section.splitlines():
        if line.startswith("        "):
            told[name].append(line.strip())
        else:
            name = line.strip()
            told[name] = []
    return {name: _as_json_says(" ".join(lines)).removesuffix(".") for name, lines in told.items()}


def _as_json_says(text: str) -> str:
    """Words of a docstring in Markdown, and Python's constants as an input has them."""
    constants = re.sub(r"\b(True|False)\b", lambda word: word[0].lower(), text.replace("None", "null"))
    return re.sub(" +", " ", constants.replace("``", "`"))


def check(smallest: Mapping[str, Any], section: Section) -> None:
    """Raise if the program knows other fields in a section than those described."""
    known = set().union(*(known_fields(smallest, section, version) for version in (1, 2)))
    if known != set(section.fields):
        raise ValueError(f"{section.title}: fields.py differs in {sorted(known ^ set(section.fields))}")


def known_fields(smallest: Mapping[str, Any], section: Section, version: int) -> set[str]:
    """What the program takes in a section, by its own words."""
    try:
        load(with_field(smallest, section, STRANGE, None, version))
    except InputError as error:
        names = str(error).split("known are ")[1].split(", ")
        return {name for name in names if section.path or name not in ("execution", "screening")}
    raise ValueError(f"{section.title}: a strange field is not refused")


def with_field(
    smallest: Mapping[str, Any], section: Section, name: str, value: Any, version: int | None = None
) -> dict[str, Any]:
    """The smallest input of a form with one more field; without it if ``value`` is EMPTY."""
    whole = copy.deepcopy(dict(smallest))
    if version is not None and "schema_name" not in whole and "driver" not in whole:
        whole["schema_name"] = {1: "qcschema_manybodyinput", 2: "qcschema_many_body_input"}[version]
    for path, needed in (section.needs or {}).items():
        _place(whole, path[:-1])[path[-1]] = copy.deepcopy(needed)
    group = _place(whole, section.path)
    if name in section.fields:
        group.update(section.fields[name].beside)
    group[name] = value
    if value is EMPTY:
        del group[name]
    return whole


def load(content: Mapping[str, Any]) -> Problem:
    """An input read by the program."""
    return from_model(content).problem


def _place(whole: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for part in path:
        whole = whole.setdefault(part, {})
    return whole


def _row(name: str, field: Field) -> str:
    default = field.default or (_json(field.value) if field.value is not EMPTY else "")
    version = f" (version {field.version})" if field.version else ""
    return f"| `{name}` | {field.kind} | {default} | {field.meaning}{version} |"


def _json(value: Any) -> str:
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return "none" if value in ({}, []) or value == () else f"`{json.dumps(value)}`"
