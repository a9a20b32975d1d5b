"""Text of an xyz or extended xyz file to its frames.  Knows the notation, no bonds and no fragments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.elements import element
from qcmb_mpi.inputs.fields import number, shown, whole_number
from qcmb_mpi.inputs.frame import Frame

__all__ = ["read_xyz"]

#: ``name=value`` in an extended comment line, the value perhaps in quotes.
_PAIR = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")
_CHARGE = ("charge", "total_charge", "molecular_charge")
_MULTIPLICITY = ("multiplicity", "spin_multiplicity", "molecular_multiplicity")


def read_xyz(lines: Sequence[str]) -> list[Frame]:
    """All frames.

    Raises
    ------
    InputError
        With the number of the first wrong line.
    """
    frames: list[Frame] = []
    at = 0
    while at < len(lines):
        if frames and not lines[at].strip():
            at += 1
            continue
        frames.append(_frame(lines, at))
        at += 2 + len(frames[-1].symbols)
    return frames


def _frame(lines: Sequence[str], at: int) -> Frame:
    """The frame that begins with line ``at`` (0-based)."""
    try:
        count = int(lines[at])
    except ValueError:
        which = "" if at == 0 else " of another frame"
        raise InputError(
            f"line {at + 1}: expected the number of atoms{which}, not {shown(lines[at].strip())}"
        ) from None
    rows = lines[at + 2 : at + 2 + count]
    if count < 1 or len(rows) < count:
        raise InputError(f"line {at + 1} announces {count} atoms, but {len(rows)} follow")
    comment = {name.lower(): "".join(value) for name, *value in _PAIR.findall(lines[at + 1])}
    column, first = _columns(comment.get("properties"), at + 2)
    symbols, places = [], []
    for i, row in enumerate(rows, at + 3):
        symbol, place = _atom(row, column, first, i)
        symbols.append(symbol)
        places.append(place)
    flags = comment.get("pbc", "T").upper()
    return Frame(
        symbols=tuple(symbols),
        geometry=np.array(places, dtype=np.float64),
        charge=_stated(comment, _CHARGE, at + 2),
        multiplicity=_stated(comment, _MULTIPLICITY, at + 2),
        periodic="lattice" in comment and ("T" in flags or "1" in flags),
    )


def _atom(row: str, column: int, first: int, line: int) -> tuple[str, list[float]]:
    words = row.split()
    try:
        place = [number(word, "") for word in words[first : first + 3]]
    except InputError:
        place = []
    if len(place) != 3 or column >= len(words):
        raise InputError(f"line {line}: expected an element and x, y, z, not {shown(row.strip())}")
    symbol = element(words[column])
    if symbol is None:
        raise InputError(
            f"line {line}: {shown(words[column])} is not an element (expected a symbol such as 'He')"
        )
    return symbol, place


def _columns(properties: str | None, line: int) -> tuple[int, int]:
    """Columns of the element and of x, as the comment's ``Properties`` tell, else the first two."""
    if properties is None:
        return 0, 1
    parts = properties.split(":")
    names, counts = parts[::3], parts[2::3]
    if len(parts) % 3 or not all(count.isdecimal() for count in counts):
        raise InputError(f"line {line}: Properties: expected name:type:count, not {shown(properties)}")
    starts = np.cumsum([0, *map(int, counts)])
    column = {name: int(start) for name, (start, _) in zip(names, pairwise(starts), strict=True)}
    if not {"species", "pos"} <= column.keys():
        raise InputError(f"line {line}: Properties: expected species and pos, not {shown(properties)}")
    return column["species"], column["pos"]


def _stated(comment: dict[str, str], names: Sequence[str], line: int) -> int | None:
    """A whole number that the comment line gives under one of the names."""
    for name in names:
        if name in comment:
            return whole_number(comment[name].rstrip(",;"), f"line {line}: {name}")
    return None
