"""The one geometry of a file that an input names, as QCSchema's molecule.

Places in bohr, fragments where the format has them; guesses nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.structure import kind_of, read_lines, read_molecule

__all__ = ["read_geometry", "to_bohr"]


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
        ``symbols`` and ``geometry`` (bohr, flat or rows of three); ``fragments`` from the
        residues of a PDB's first model; everything that a QCSchema molecule holds.

    Raises
    ------
    InputError
        If the file cannot be read, with the line where there is one.
    """
    kind = kind or kind_of(path)
    if kind == "qcschema":
        return read_molecule(path)
    frames = read_lines(path, kind)
    if kind == "xyz" and len(frames) > 1:
        raise InputError(
            f"holds {len(frames)} geometries; expected one geometry "
            "(`python -m qcmb_mpi convert` makes a job of each)"
        )
    frame = frames[0]
    molecule: dict[str, Any] = {
        "symbols": list(frame.symbols),
        "geometry": to_bohr(frame.geometry, "geometry"),
    }
    if frame.residues is not None and len(frame.residues) > 1:
        molecule["fragments"] = [list(residue) for residue in frame.residues]
    return molecule
