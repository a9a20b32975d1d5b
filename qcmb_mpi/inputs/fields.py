"""Names of fields: checks that every format needs, and the user's own spelling in every error.

All formats are brought into the form of QCSchema's ManyBodyInput before they are read; ``Names``
leads from a place in that form back to where the user wrote it.  Knows no format.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qcmb_mpi.errors import InputError

__all__ = [
    "Names",
    "Path",
    "choice",
    "dotted",
    "flag",
    "from_pydantic",
    "in_source",
    "listed",
    "mapping",
    "nearest",
    "number",
    "optional_mapping",
    "plain",
    "pydantic_errors",
    "refuse_unknown",
    "shown",
    "whole_number",
]

Path = tuple["str | int", ...]


def dotted(path: Path) -> str:
    """``("a", "b", 0)`` as ``a.b[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Names:
    """The user's spelling of places in the QCSchema form.

    Parameters
    ----------
    renamed
        For the places that the user's format has elsewhere, their path there.  The longest
        beginning counts; what is not listed has the same name.
    """

    def __init__(self, renamed: Mapping[Path, Path] | None = None):
        self.renamed = dict(renamed or {})

    def __call__(self, *path: str | int) -> str:
        return dotted(self.path(*path))

    def path(self, *path: str | int) -> Path:
        """The same as parts."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.renamed:
                return self.renamed[path[:length]] + path[length:]
        return path


def in_source(error: InputError, source: str) -> InputError:
    """The same error with the file's name before it."""
    named = InputError(f"{source}: {error}")
    named.field = error.field
    return named


def shown(value: Any) -> str:
    """A value as it can stand in a message: never longer than half a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: Any, known: Iterable[str]) -> str:
    """A hint: the nearest of the known words, or all of them."""
    known = tuple(known)
    close = difflib.get_close_matches(str(word).lower(), [k.lower() for k in known], n=1, cutoff=0.65)
    if close:
        return f"did you mean {next(k for k in known if k.lower() == close[0])!r}?"
    return f"known are {', '.join(known)}" if known else "none is known here"


def refuse_unknown(
    values: Mapping[Any, Any], known: Iterable[str], names: Names, path: Path, hints: Iterable[str] = ()
) -> None:
    """Raise for the first field that is not a known one; ``hints`` are read elsewhere."""
    known = tuple(known)
    for key in values:
        if key not in known:
            hint = nearest(key, (*known, *hints))
            raise InputError(f"there is no such field; {hint}", names(*path, str(key)))


def mapping(value: Any, field: str, what: str = "fields") -> dict[str, Any]:
    """``value`` as a dictionary with text keys."""
    if not isinstance(value, Mapping):
        raise InputError(f"expected a group of {what}, not {shown(value)}", field)
    return {str(key): item for key, item in value.items()}


def optional_mapping(value: Any, field: str, what: str = "fields") -> dict[str, Any]:
    """The same for a group that may be left out or empty (null in YAML)."""
    return {} if value is None else mapping(value, field, what)


def listed(value: Any, field: str, what: str) -> list[Any]:
    """``value`` as a list."""
    if hasattr(value, "tolist"):  # a numpy array
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"expected a list of {what}, not {shown(value)}", field)
    return list(value)


def choice(value: Any, known: Iterable[str], field: str) -> str:
    """``value`` as one of the known words, in any case."""
    known = tuple(known)
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in known:
        hint = nearest(value, known)
        listed = "" if hint.startswith("known") else f" (known are {', '.join(known)})"
        raise InputError(f"{shown(value)} is not known; {hint}{listed}", field)
    return str(word)


def flag(value: Any, field: str) -> bool:
    """``value`` as true or false."""
    if not isinstance(value, bool):
        raise InputError(f"expected true or false, not {shown(value)}", field)
    return value


def whole_number(value: Any, field: str) -> int:
    """``value`` as an int; ``2.0`` and ``"2"`` are whole numbers too."""
    result = number(value, field, "a whole number")
    if result != int(result) or abs(result) >= 2**31:
        raise InputError(f"expected a whole number, not {shown(value)}", field)
    return int(result)


def number(value: Any, field: str, what: str = "a number") -> float:
    """``value`` as a finite float."""
    try:
        result = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = float("nan")
    if not abs(result) < float("inf"):
        raise InputError(f"expected {what}, not {shown(value)}", field)
    return result


def from_pydantic(error: Any, names: Names, path: Path = ()) -> InputError:
    """The first problem of a pydantic error (of either API version) in the user's spelling."""
    problem = error.errors()[0]
    loc = tuple(part for part in problem["loc"] if part not in ("__root__", "[key]"))
    message = str(problem["msg"])
    if "input" in problem and problem["type"] != "missing":
        message += f" (got {shown(problem['input'])})"
    return InputError(message, names(*path, *loc))


def pydantic_errors(version: int) -> type[Exception]:
    """What models of a schema version raise."""
    if version == 1:
        from pydantic.v1 import ValidationError as ValidationErrorV1

        return ValidationErrorV1
    from pydantic import ValidationError

    return ValidationError


def plain(value: Any) -> Any:
    """The same with every pydantic model in it as a dictionary."""
    for method in ("model_dump", "dict"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value
