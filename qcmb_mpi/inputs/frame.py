"""One structure as its file has it: atoms, places, and what the file says about charge and fragments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure of a file.

    Attributes
    ----------
    symbols
        Element symbols, title case.
    geometry : (n_atoms, 3) float64
        Places in ``units``: the numbers of the file.
    units
        ``angstrom`` or ``bohr``.
    charge, multiplicity
        Of the whole, where the file states them.
    fragments, fragment_charges, fragment_multiplicities
        Where the file has them: 0-based atoms, and one number (or None) for each fragment.
    residues
        Atoms of each residue of a PDB file.
    periodic
        Whether the file describes a periodic cell.
    left_out
        Fields of the file that an input file of ours does not take over.
    """

    symbols: tuple[str, ...]
    geometry: NDArray[np.float64]
    units: str = "angstrom"
    charge: int | None = None
    multiplicity: int | None = None
    fragments: Sequence[Sequence[int]] | None = None
    fragment_charges: Sequence[int | None] | None = None
    fragment_multiplicities: Sequence[int | None] | None = None
    residues: Sequence[Sequence[int]] | None = None
    periodic: bool = False
    left_out: tuple[str, ...] = ()
