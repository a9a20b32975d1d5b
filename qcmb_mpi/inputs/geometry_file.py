"""Geometry files (xyz, pdb, QCSchema molecule) to QCSchema's molecule as a dictionary.

Reads symbols, places and what the format says about charge and fragments; guesses nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import text

__all__ = ["read_geometry", "to_bohr"]

_KINDS = {".xyz": "xyz", ".pdb": "pdb", ".ent": "pdb", ".json": "qcschema"}


def to_bohr(geometry: Any, field: str) -> NDArray[np.float64]:
    """A geometry in angstrom as an array in bohr."""
    from qcelemental import constants

    try:
        places: NDArray[np.float64] = np.array(geometry, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("expected numbers, three for each atom", field) from None
    return places / float(constants.bohr2angstroms)


def read_geometry(path: Path, kind: str | None = None) -> dict[str, Any]:
    """A molecule from a geometry file.

    Parameters
    ----------
    path
        The file.
    kind
        ``xyz`` (angstrom), ``pdb`` or ``qcschema`` (bohr); None goes by the end of the name.

    Returns
    -------
    dict
        ``symbols`` and ``geometry`` (bohr, flat or rows of three); ``fragments`` from a PDB's
        residues; everything that a QCSchema molecule holds.

    Raises
    ------
    InputError
        If the file cannot be read, with the line where there is one.
    """
    kind = kind or _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError("is of unknown kind; expected .xyz, .pdb or .json")
    if kind == "qcschema":
        content = text.read(path)
        molecule = content.get("molecule", content)
        if not isinstance(molecule, dict):
            raise InputError("holds no molecule of QCSchema")
        return dict(molecule)
    lines = text.read_text(path).splitlines()
    return _xyz(lines) if kind == "xyz" else _pdb(lines)


def _xyz(lines: list[str]) -> dict[str, Any]:
    try:
        count = int(lines[0])
    except ValueError:
        raise InputError(f"line 1: expected the number of atoms, not {lines[0].strip()!r}") from None
    rows = lines[2 : 2 + count]
    if count < 1 or len(rows) < count:
        raise InputError(f"line 1 announces {count} atoms, but {len(rows)} follow")
    rest = [line for line in lines[2 + count :] if line.strip()]
    if rest:
        raise InputError(f"goes on after its {count} atoms (with {rest[0].strip()!r}); expected one geometry")
    symbols, places = [], []
    for i, row in enumerate(rows):
        words = row.split()
        try:
            places.append([float(word) for word in words[1:4]])
        except ValueError:
            places.append([])
        if len(places[-1]) != 3:
            raise InputError(f"line {i + 3}: expected an element and x, y, z, not {row.strip()!r}")
        symbols.append(words[0])
    return {"symbols": symbols, "geometry": to_bohr(places, "geometry")}


def _pdb(lines: list[str]) -> dict[str, Any]:
    """Atoms of a PDB file's first model; each residue is a fragment."""
    symbols: list[str] = []
    places: list[list[float]] = []
    residues: dict[tuple[str, str], list[int]] = {}
    for i, line in enumerate(lines):
        if line.startswith("ENDMDL"):
            break
        if not line.startswith(("ATOM", "HETATM")):
            continue
        try:
            places.append([float(line[start : start + 8]) for start in (30, 38, 46)])
        except ValueError:
            raise InputError(f"line {i + 1}: expected x, y, z in columns 31 to 54") from None
        # the element's own columns; older files have it in the atom's name only
        element = line[76:78].strip() or line[12:14].strip().lstrip("0123456789")
        residues.setdefault((line[21:22], line[22:27]), []).append(len(symbols))
        symbols.append(element)
    if not symbols:
        raise InputError("holds no ATOM or HETATM lines")
    molecule: dict[str, Any] = {"symbols": symbols, "geometry": to_bohr(places, "geometry")}
    if len(residues) > 1:
        molecule["fragments"] = list(residues.values())
    return molecule
