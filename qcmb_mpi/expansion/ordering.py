"""An order of the atoms of an n-mer that rigid motions and permutations of like atoms do not change.

Two n-mers of which one can be moved onto the other get orders in which atom goes with atom.  The converse
does not hold: who wants to know whether they can be moved onto each other has to try with these orders.
Pure numpy on arrays of many n-mers.

Atoms are parted into cells, first by their type.  Each cell is parted by the sum over all other atoms of a
function of their distance, weighted by their cells, again and again.  Where cells of several atoms are left,
one of them is singled out and the others are told apart by where they are from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["canonical_order", "distances"]

Integers = NDArray[np.integer]

ONE_FRAGMENT = 1.7  # times what two atoms of two fragments count for each other, if they are in one


def distances(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances between all atoms of each n-mer, (m, n, 3) to (m, n, n)."""
    squares = np.zeros((*places.shape[:2], places.shape[1]))
    for axis in range(3):
        squares += (places[:, :, None, axis] - places[:, None, :, axis]) ** 2
    return np.asarray(np.sqrt(squares, out=squares))


def canonical_order(
    places: NDArray[np.float64], types: Integers, fragments: Integers, tolerance: float
) -> NDArray[np.int64]:
    """The order of the atoms of each n-mer.

    Parameters
    ----------
    places : (m, n, 3) float64
        Bohr.
    types : (m, n) int
        Atoms of one type may change places.
    fragments : (m, n) int
        Atoms with one number are in one fragment.
    tolerance
        Distances that differ by less are taken as equal, bohr.

    Returns
    -------
    (m, n) int64
        The atom that comes first, second, ..., of each n-mer.
    """
    n = places.shape[1]
    influence = np.log1p(distances(places))  # curved, or sums would be alike for atoms on a line
    influence[fragments[:, :, None] == fragments[:, None, :]] *= ONE_FRAGMENT
    weights = 1.0 + np.random.default_rng(n).random((n,))
    equal = tolerance * max(1.0, n**0.5)
    cells = _cells(np.sort(types, axis=1), np.argsort(types, axis=1, kind="stable"), 0)
    orders = np.empty(types.shape, dtype=np.int64)
    rest = np.arange(len(places))
    while len(rest):
        sums = np.matmul(influence, weights[cells][:, :, None])[:, :, 0]
        order = np.argsort(cells + sums / (1.0 + 2.0 * sums.max()), axis=1, kind="stable")
        within = np.take_along_axis(sums, order, axis=1)
        finer = _cells(np.take_along_axis(cells, order, axis=1), order, equal, within)
        stuck = (finer == cells).all(axis=1)
        sorted_cells = np.sort(finer, axis=1)
        over = (sorted_cells == np.arange(n)).all(axis=1)
        orders[rest[over]] = np.argsort(finer[over], axis=1)
        stuck &= ~over
        if stuck.any():
            finer[stuck] = _single_out(finer[stuck], sorted_cells[stuck])
        rest, cells = rest[~over], finer[~over]
        if over.any():
            influence = influence[~over]
    return orders


def _cells(
    ranked: Integers, order: Integers, equal: float, within: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Number of each atom's cell: how many atoms are in cells before it.

    Parameters
    ----------
    ranked, within : (m, n)
        Atoms in ``order``: a new cell begins where the first changes, or the second by more than ``equal``.
    """
    new = np.ones(ranked.shape, dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    if within is not None:
        new[:, 1:] |= np.diff(within, axis=1) > equal
    starts = np.maximum.accumulate(np.where(new, np.arange(ranked.shape[1]), 0), axis=1)
    cells = np.empty(ranked.shape, dtype=np.int64)
    np.put_along_axis(cells, order, starts, axis=1)
    return cells


def _single_out(cells: NDArray[np.int64], ranked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put an atom of the first cell with several before the others of it; ``ranked`` are its sorted rows."""
    rows = np.arange(len(cells))
    first = (ranked[:, 1:] == ranked[:, :-1]).argmax(axis=1)
    cell = ranked[rows, first][:, None]
    members = cells == cell
    chosen = members.argmax(axis=1)
    cells = cells + members
    cells[rows, chosen] -= 1
    return cells
