"""A structure cut into fragments: by bonds, by residue, as its file has them, or as the user lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.bonds import Contacts, components
from qcmb_mpi.inputs.fields import shown
from qcmb_mpi.inputs.frame import Frame
from qcmb_mpi.problem import formula

__all__ = ["FLAG", "Fragments", "cut", "ranges"]

FLAG = "--fragments"
#: Atoms named one by one in a message.
LISTED = 10


@dataclass(frozen=True, eq=False)
class Fragments:
    """The fragments of a structure.

    Attributes
    ----------
    atoms
        0-based atoms of each.
    formulas
        Of each, in Hill's order.
    owner : (n_atoms,) int64
        The fragment of each atom.
    origin
        How they were found, in words.
    from_file
        Whether they are those of the file, so that its fragment charges are theirs.
    """

    atoms: tuple[NDArray[np.int64], ...]
    formulas: tuple[str, ...]
    owner: NDArray[np.int64]
    origin: str
    from_file: bool = False


def cut(frame: Frame, contacts: Contacts, listed: str | None, by: str | None) -> Fragments:
    """The fragments of a structure.

    Parameters
    ----------
    listed
        The user's own, such as ``1-3+10,4-6``: 1-based atoms and ranges, joined by ``+``; a comma
        begins the next fragment.
    by
        ``residue`` or ``bonds``; None takes those of the file where it has several, else bonds.

    Raises
    ------
    InputError
        If an atom is in no fragment, in two, or does not exist; if there are no residues.
    """
    n_atoms = len(frame.symbols)
    if listed is not None:
        return _fragments(frame, _from_text(listed, n_atoms), f"as {FLAG} lists them")
    if by == "residue":
        if frame.residues is None:
            raise InputError(
                "the file has no residues (only PDB files do); leave it out or use bonds", "--by"
            )
        return _fragments(frame, frame.residues, "by residue")
    if by is None and frame.fragments is not None and len(frame.fragments) > 1:
        return _fragments(frame, frame.fragments, "as the file has them", from_file=True)
    bound = contacts.bound
    found = components(n_atoms, contacts.first[bound], contacts.second[bound])
    return _fragments(frame, found, "found by bonds")


def ranges(atoms: Sequence[int] | NDArray[np.int64]) -> str:
    """0-based numbers as the user would list them, 1-based: ``1-3+10``."""
    ordered = np.unique(np.asarray(atoms, dtype=np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return "+".join(
        f"{run[0] + 1}" if len(run) == 1 else f"{run[0] + 1}-{run[-1] + 1}" for run in runs if len(run)
    )


def _fragments(
    frame: Frame,
    members: Sequence[Sequence[int] | NDArray[np.int64]],
    origin: str,
    *,
    from_file: bool = False,
) -> Fragments:
    atoms = tuple(np.asarray(fragment, dtype=np.int64) for fragment in members)
    owner = np.empty(len(frame.symbols), dtype=np.int64)
    known: dict[tuple[str, ...], str] = {}
    formulas = []
    for i, fragment in enumerate(atoms):
        owner[fragment] = i
        key = tuple(sorted(frame.symbols[atom] for atom in fragment))
        if key not in known:
            known[key] = formula(key)
        formulas.append(known[key])
    return Fragments(atoms, tuple(formulas), owner, origin, from_file)


def _from_text(listed: str, n_atoms: int) -> list[list[int]]:
    owner: dict[int, int] = {}
    fragments: list[list[int]] = []
    for i, part in enumerate(listed.split(",")):
        fragment: list[int] = []
        for piece in part.split("+"):
            for atom in _range(piece, n_atoms):
                if atom in owner:
                    where = f"twice in fragment {i + 1}" if owner[atom] == i else _both(owner[atom], i)
                    raise InputError(f"atom {atom + 1} is {where}; every atom belongs to one fragment", FLAG)
                owner[atom] = i
                fragment.append(atom)
        fragments.append(fragment)
    missing = [atom for atom in range(n_atoms) if atom not in owner]
    if missing:
        raise InputError(
            f"atoms in no fragment: {_few(missing)} (of {n_atoms}); every atom belongs to one fragment", FLAG
        )
    return fragments


def _both(one: int, other: int) -> str:
    return f"in fragments {one + 1} and {other + 1}"


def _few(atoms: Sequence[int]) -> str:
    runs = ranges(atoms).split("+")
    return ", ".join(runs[:LISTED]) + (", ..." if len(runs) > LISTED else "")


def _range(piece: str, n_atoms: int) -> range:
    match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", piece)
    if match is None:
        raise InputError(
            f"expected atoms and ranges such as 1-3+10,4-6 (a comma begins a fragment), not {shown(piece)}",
            FLAG,
        )
    first, last = int(match[1]), int(match[2] or match[1])
    for atom in (first, last):
        if not 1 <= atom <= n_atoms:
            raise InputError(
                f"there is no atom {atom} ({piece.strip()}): {n_atoms} atoms are 1 to {n_atoms}", FLAG
            )
    if last < first:
        raise InputError(f"{piece.strip()} runs backwards; write {last}-{first}", FLAG)
    return range(first - 1, last)
