"""Which n-mers lie close enough together to be kept.

An n-mer is kept if every pair of its fragments is within the cutoff for n, so kept n-mers are the
cliques of a graph of neighbours.  With cutoffs that do not grow with n every subset of a kept
n-mer is kept too, which the expansion relies on.  Knows arrays only: no units, no input files.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb, inf

import numpy as np
from numpy.typing import NDArray

__all__ = ["families", "shortest_distances"]

#: Array entries handled at a time: keeps every temporary below about 100 MB.
CHUNK = 4_000_000


def shortest_distances(geometry: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shortest distance between any two atoms of each pair of fragments.

    Parameters
    ----------
    geometry : (n_atoms, 3)
        Positions, ordered fragment by fragment.
    offsets : (n_fragments + 1,)
        Fragment ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``; none is empty.

    Returns
    -------
    (n_fragments, n_fragments) float64
        In the unit of ``geometry``; zero on the diagonal.
    """
    n_atoms, n_fragments = len(geometry), len(offsets) - 1
    shortest = np.empty((n_fragments, n_fragments))
    first = 0
    while first < n_fragments:
        room = int(offsets[first]) + max(1, CHUNK // n_atoms)
        last = max(first + 1, int(np.searchsorted(offsets, room, side="right")) - 1)
        atoms = geometry[offsets[first] : offsets[last]]
        # differences rather than the expanded square: close atoms lose no digits
        square = np.zeros((len(atoms), n_atoms))
        for axis in range(3):
            difference = atoms[:, axis, None] - geometry[None, :, axis]
            square += difference * difference
        by_fragment = np.minimum.reduceat(square, offsets[:-1], axis=1)
        rows = offsets[first:last] - offsets[first]
        shortest[first:last] = np.minimum.reduceat(by_fragment, rows, axis=0)
        first = last
    np.fill_diagonal(shortest, 0.0)
    return np.sqrt(shortest)


def families(
    distances: NDArray[np.float64], cutoffs: Mapping[int, float], max_order: int
) -> dict[int, NDArray[np.integer]]:
    """The kept n-mers of every order from which some are left out.

    Parameters
    ----------
    distances : (n_fragments, n_fragments)
        Distance of each pair of fragments.
    cutoffs
        Largest distance of any pair in an n-mer, by n >= 2, in the unit of ``distances``.  They
        must not grow with n.  An order without a cutoff of its own has that of the next lower
        order that has one (it keeps the n-mers whose subsets are all kept), or none.
    max_order
        Highest order wanted.

    Returns
    -------
    dict
        For each order k the kept k-mers, shape (m, k), rows ascending and in lexical order.
        Orders that keep everything are not listed.
    """
    n_fragments = len(distances)
    dtype = np.int16 if n_fragments <= np.iinfo(np.int16).max else np.int32
    kept: dict[int, NDArray[np.integer]] = {}
    rows: NDArray[np.integer] = np.arange(n_fragments, dtype=dtype)[:, None]
    cutoff = inf
    for order in range(2, max_order + 1):
        if order in cutoffs and cutoffs[order] < cutoff:
            cutoff = cutoffs[order]
            near = distances <= cutoff
            rows = rows[_cliques(rows, near)]
        if cutoff == inf:
            continue  # nothing left out so far: the first cutoff starts from its pairs below
        if rows.shape[1] == 1 and order > 2:
            for _ in range(2, order):
                rows = _extend(rows, near)
        rows = _extend(rows, near)
        if len(rows) < comb(n_fragments, order):
            kept[order] = rows
    return kept


def _cliques(rows: NDArray[np.integer], near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all fragments of each row are neighbours of each other."""
    good = np.ones(len(rows), dtype=bool)
    for i in range(rows.shape[1]):
        for j in range(i + 1, rows.shape[1]):
            good &= near[rows[:, i], rows[:, j]]
    return good


def _extend(rows: NDArray[np.integer], near: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Each row with every later fragment that is a neighbour of all its members."""
    later = np.triu(near, 1)
    counts = later.sum(axis=1)
    starts = np.cumsum(counts) - counts
    neighbours = np.nonzero(later)[1].astype(rows.dtype)
    n_candidates = counts[rows[:, -1]]
    ends = np.cumsum(n_candidates)
    pieces = [np.empty((0, rows.shape[1] + 1), dtype=rows.dtype)]
    first = 0
    while first < len(rows):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        count = n_candidates[first:last]
        host = np.repeat(np.arange(first, last), count)
        within = np.arange(len(host)) - np.repeat(np.cumsum(count) - count, count)
        added = neighbours[starts[rows[host, -1]] + within]
        good = np.ones(len(host), dtype=bool)
        for column in range(rows.shape[1] - 1):
            good &= near[rows[host, column], added]
        pieces.append(np.column_stack([rows[host[good]], added[good]]))
        first = last
    return np.concatenate(pieces)
