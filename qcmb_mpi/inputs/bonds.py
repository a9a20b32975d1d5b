"""Which atoms are bound to each other, from elements and places alone: pure arithmetic on arrays.

Two atoms are bound when they are closer than ``BOND`` times the sum of their covalent radii.  Metals and
noble gases bind nothing here: a metal ion is a fragment of its own, and so is an argon atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.inputs.elements import NOBLE_GASES, is_metal, radii

__all__ = ["Contacts", "components", "find_contacts"]

#: Bonds reach this many times the sum of the covalent radii.
BOND = 1.25
#: Atoms of different fragments are suspiciously close below this many bond limits,
CLOSE = 1.3
#: or below this share of the sum of their van der Waals radii;
VDW = 0.6
#: with a metal below this share of the sum of the covalent radii (an ion's shell is closer than a bond).
METAL = 0.8


@dataclass(frozen=True, eq=False)
class Contacts:
    """Pairs of atoms that are bound or suspiciously close.

    Attributes
    ----------
    first, second : (n_pairs,) int64
        0-based atoms.
    distance : (n_pairs,) float64
        In angstrom.
    bound : (n_pairs,) bool
        Whether it is a bond.
    within_reach : (n_pairs,) bool
        Whether a bond only somewhat longer than usual would explain it.
    overlapping : (n_pairs,) bool
        Whether it is closer than atoms that are not bound come.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    bound: NDArray[np.bool_]
    within_reach: NDArray[np.bool_]
    overlapping: NDArray[np.bool_]


def find_contacts(symbols: Sequence[str], geometry: NDArray[np.float64]) -> Contacts:
    """All bonds and close contacts.

    Parameters
    ----------
    symbols
        Element symbols.
    geometry : (n_atoms, 3)
        In angstrom.
    """
    kinds, kind = np.unique(np.array(symbols), return_inverse=True)
    covalent, vdw = radii([str(symbol) for symbol in kinds])
    metal = np.array([is_metal(str(symbol)) for symbol in kinds])
    free = metal | np.isin(kinds, list(NOBLE_GASES))
    sums = covalent[:, None] + covalent
    bond = np.where(free[:, None] | free, 0.0, BOND * sums)
    overlap = np.where(metal[:, None] | metal, METAL * sums, VDW * (vdw[:, None] + vdw))
    close = np.maximum(CLOSE * bond, overlap)
    first, second, distance = _pairs_within(geometry, float(close.max()))
    near = distance < close[kind[first], kind[second]]
    first, second, distance = first[near], second[near], distance[near]
    pair = kind[first], kind[second]
    return Contacts(
        first,
        second,
        distance,
        bound=distance < bond[pair],
        within_reach=distance < CLOSE * bond[pair],
        overlapping=distance < overlap[pair],
    )


def components(n_atoms: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sets of atoms that are connected by pairs, ordered by their lowest atom; atoms ascending in each."""
    label = np.arange(n_atoms)
    while True:
        lowest = np.minimum(label[first], label[second])
        before = label.copy()
        np.minimum.at(label, before[first], lowest)
        np.minimum.at(label, before[second], lowest)
        while (label[label] != label).any():
            label = label[label]
        if (label == before).all():
            break
    order = np.argsort(label, kind="stable")
    ends = np.flatnonzero(np.diff(label[order])) + 1
    return [np.asarray(atoms) for atoms in np.split(order, ends)]


def _pairs_within(
    geometry: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of atoms closer than ``reach`` with their distances, found by cells of that size."""
    cells = np.floor((geometry - geometry.min(axis=0)) / reach).astype(np.int64)
    for axis in range(3):
        # empty cells do not count, so that cells can be numbered however far away atoms are
        cells[:, axis] = 1 + np.unique(cells[:, axis], return_inverse=True)[1]
    across = cells.max(axis=0) + 2
    strides = np.array([across[1] * across[2], across[2], 1])
    code = cells @ strides
    order = np.argsort(code, kind="stable")
    sorted_code = code[order]
    found = []
    for step in _HALF:
        target = code + strides @ np.array(step)
        begin = np.searchsorted(sorted_code, target, "left")
        count = np.searchsorted(sorted_code, target, "right") - begin
        first = np.repeat(np.arange(len(code)), count)
        within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        second = order[np.repeat(begin, count) + within]
        if not any(step):
            first, second = first[first < second], second[first < second]
        distance = np.sqrt(((geometry[first] - geometry[second]) ** 2).sum(axis=1))
        near = distance < reach
        found.append((first[near], second[near], distance[near]))
    first, second, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return np.minimum(first, second), np.maximum(first, second), distance


#: A cell itself and one of each two opposite neighbours.
_HALF = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) >= (0, 0, 0)]
