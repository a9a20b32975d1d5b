"""Increments: what each single n-mer adds to the expansion.

The increment of an n-mer T is the sum over its subsets S of (-1)**(|T|-|S|) E(S;B), with B = S for
``nocp``, T for ``vmfc`` and the whole cluster for ``cp``, all at the level that supplies the n-body
terms.  The increments of one body order add up to that order's contribution.  Plain floats: an
increment is the sum of a few energies, unlike the sums over millions of them in ``assemble.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations as subsets

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.weights import codes

__all__ = ["Increments", "increments", "largest_of_pairs"]

#: n-mers handled at once: keeps temporaries below some 100 MB.
CHUNK = 1 << 20

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Increments:
    """The increments of one treatment and body order.

    Attributes
    ----------
    treatment, n, level
        What these n-mers have in common; ``level`` is its number.
    nmers : (m, n) int
        Fragments (0-based) of each.
    values : (m,) float64
        In Eh; for n = 1 the energy of the monomer in its own basis.  NaN where a task is missing.
    """

    treatment: str
    n: int
    level: int
    nmers: NDArray[np.integer]
    values: Floats

    @property
    def n_known(self) -> int:
        return int(np.count_nonzero(~np.isnan(self.values)))


def increments(table: TaskTable, energies: Floats) -> Iterator[Increments]:
    """All increments, one treatment and body order after the other.

    Parameters
    ----------
    table
        The planned tasks.
    energies : (n_tasks,) float64
        In Eh; NaN where there is none.

    Yields
    ------
    Increments
        Only those that the tasks give: ``cp`` has no monomers in their own basis where no total data
        were asked for, ``supersystem_ie_only`` has no orders in between, and what a supersystem level
        adds is no increment of single n-mers.
    """
    expansion = table.expansion
    for treatment in expansion.treatments:
        for level, orders in enumerate(expansion.orders):
            for n in orders:
                if expansion.supersystem_ie_only and n > 1 and expansion.n_fragments > 2:
                    continue
                if treatment == "cp" and n == 1 and not expansion.has_monomers(level):
                    continue
                values = _values(table, energies, treatment, level, n)
                if values is not None:
                    yield Increments(treatment, n, level, expansion.nmers[n].rows, values)


def _values(table: TaskTable, energies: Floats, treatment: str, level: int, n: int) -> Floats | None:
    nmers = table.expansion.nmers[n].rows
    whole = table.expansion.n_fragments
    blocks: list[Block] = []
    for k in range(1, n + 1):
        n_basis = {"nocp": k, "cp": whole if n > 1 else 1, "vmfc": n}[treatment]
        number = table.index.get((level, k, n_basis))
        if number is None:
            return None
        blocks.append(table.blocks[number])
    values = np.zeros(len(nmers))
    for begin in range(0, len(nmers), CHUNK):
        part = slice(begin, begin + CHUNK)
        for k, block in enumerate(blocks, 1):
            sign = (-1) ** (n - k)
            if block.pattern is not None:
                # the tasks of one n-mer follow each other
                each = energies[block.tasks].reshape(-1, len(block.pattern))[part]
                values[part] += sign * each.sum(axis=1)
            elif k == n:
                values[part] += sign * energies[block.tasks][part]
            else:
                known = codes(block.family.rows, whole)
                for columns in subsets(range(n), k):
                    place = np.searchsorted(known, codes(nmers[part][:, columns], whole))
                    values[part] += sign * energies[block.start + place]
    return values


def largest_of_pairs(matrix: Floats, nmers: NDArray[np.integer]) -> Floats:
    """Largest of a pair property among the pairs of each n-mer, NaN for monomers.

    Parameters
    ----------
    matrix : (n_fragments, n_fragments)
        The property of each pair, for example their distance.
    nmers : (m, n) int

    Returns
    -------
    (m,) float64
    """
    n = nmers.shape[1]
    largest = np.full(len(nmers), np.nan)
    for i, j in subsets(range(n), 2):
        largest = np.fmax(largest, matrix[nmers[:, i], nmers[:, j]])
    return largest
