"""Text of a PDB file to its frames, one for each model.  Knows the columns and nothing of bonds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.elements import element
from qcmb_mpi.inputs.fields import number, shown
from qcmb_mpi.inputs.frame import Frame

__all__ = ["read_pdb"]


class _Model:
    """The atoms of one model, residue by residue."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.places: list[list[float]] = []
        self.residues: list[list[int]] = []
        self._members: list[set[str]] = []
        self._latest: dict[str, int] = {}
        self._locations: dict[str, str] = {}

    def add(self, line: str, number_of_line: int) -> None:
        """Take in an ATOM or HETATM line."""
        try:
            place = [number(line[start : start + 8], "") for start in (30, 38, 46)]
        except InputError:
            raise InputError(f"line {number_of_line}: expected x, y, z in columns 31 to 54") from None
        key, name = line[17:27], line[12:16]
        self._check_location(line[16:17].strip(), key, number_of_line)
        index = self._latest.get(key)
        # numbers start again after 9999 residues: the same number further down, with an atom of the same name
        if index is None or (index != len(self.residues) - 1 and name in self._members[index]):
            index = self._latest[key] = len(self.residues)
            self.residues.append([])
            self._members.append(set())
        self.residues[index].append(len(self.symbols))
        self._members[index].add(name)
        self.symbols.append(_element(line, number_of_line))
        self.places.append(place)

    def _check_location(self, location: str, key: str, number_of_line: int) -> None:
        if location and self._locations.setdefault(key, location) != location:
            raise InputError(
                f"line {number_of_line}: residue {' '.join(key.split())} has the alternate locations "
                f"{self._locations[key]} and {location} (column 17); keep one of them"
            )


def read_pdb(lines: Sequence[str]) -> list[Frame]:
    """All models, each residue known by its atoms.

    Raises
    ------
    InputError
        With the number of the first wrong line.
    """
    frames: list[Frame] = []
    model, periodic = _Model(), False
    for i, line in enumerate(lines, 1):
        if line.startswith(("ATOM", "HETATM")):
            model.add(line, i)
        elif line.startswith("CRYST1"):
            periodic = line[6:33].split() != ["1.000"] * 3  # what files without a cell write
        elif line.startswith("ENDMDL") and model.symbols:
            frames.append(_frame(model, periodic))
            model = _Model()
    if model.symbols:
        frames.append(_frame(model, periodic))
    if not frames:
        raise InputError("holds no ATOM or HETATM lines")
    return frames


def _frame(model: _Model, periodic: bool) -> Frame:
    geometry = np.array(model.places, dtype=np.float64)
    return Frame(tuple(model.symbols), geometry, residues=model.residues, periodic=periodic)


def _element(line: str, number_of_line: int) -> str:
    """From the element's own columns; older files have it in the atom's name only."""
    word = line[76:78].strip()
    if not word:
        name = line[12:16].strip().lstrip("0123456789")
        word = line[12:14].strip().lstrip("0123456789")
        if element(word) is None or (len(name) == 4 and name[0] == "H"):  # HG11 is no mercury
            word = name[:1]
    symbol = element(word)
    if symbol is None:
        raise InputError(f"line {number_of_line}: {shown(word)} is not an element (columns 77 and 78)")
    return symbol
