"""What tasks will cost: the number of basis functions to a power, refined from measured times.

Pure arithmetic; knows neither clock nor schedule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import TaskTable

__all__ = ["CostModel", "estimated_costs"]

#: Cost grows with about this power of the basis functions: between SCF (2 to 3) and MP2 (4 to 5)
#: for molecules of a few fragments.  Only ratios inside one block of tasks matter once it is measured.
POWER = 3.0
GHOST = 0.6  # what a ghost's basis function costs against a real atom's: no electrons, no grid


def estimated_costs(table: TaskTable, sizes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Relative cost of every task before anything is measured.

    Parameters
    ----------
    table
        The planned tasks.
    sizes : (n_levels, n_fragments) float64
        Basis functions of each fragment at each level.

    Returns
    -------
    (n_tasks,) float32
        In arbitrary units, the same for all levels.
    """
    costs = np.empty(table.n_tasks, dtype=np.float32)
    for block in table.blocks:
        of_fragment = sizes[block.level].astype(np.float32)
        functions = _gather(of_fragment, block.real())
        if block.n_basis > block.n_real:
            if block.pattern is None:
                ghosts = of_fragment.sum() - functions
            else:
                ghosts = _gather(of_fragment, block.basis()) - functions
            functions = functions + np.float32(GHOST) * ghosts
        costs[block.tasks] = functions**POWER
    return costs


def _gather(of_fragment: NDArray[np.float32], rows: NDArray[np.integer]) -> NDArray[np.float32]:
    total = np.zeros(len(rows), dtype=np.float32)
    for column in rows.T:
        total += of_fragment[column]
    return total


class CostModel:
    """Seconds per unit of estimated cost, learnt for each block of tasks.

    Parameters
    ----------
    costs : (n_tasks,) float32
        From :func:`estimated_costs`.
    starts : (n_blocks,) int64
        First task of each block.
    levels : (n_blocks,) int64, optional
        Level of each block; all the same by default.
    """

    def __init__(
        self,
        costs: NDArray[np.float32],
        starts: NDArray[np.int64],
        levels: NDArray[np.int64] | None = None,
    ):
        self.costs = costs
        self.starts = starts
        self._levels = np.zeros(len(starts), dtype=np.int64) if levels is None else levels
        self._n_levels = int(self._levels.max(initial=-1)) + 1
        self._known = np.zeros((2, len(starts)))  # estimated cost and seconds of what was measured
        self._hinted = np.zeros((2, len(starts)))
        self._rates = np.full(len(starts), np.nan)
        self._known_rates = np.zeros(len(starts))  # the same with zeros for what nobody knows
        self._knows_nothing = True

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which blocks have been measured, shape (n_blocks,)."""
        return np.asarray(self._known[0] > 0)

    def observe(self, tasks: NDArray[np.int64], walls: NDArray[np.float64]) -> None:
        """Learn that ``tasks`` took ``walls`` seconds."""
        self._add(self._known, tasks, walls)

    def hint(self, tasks: NDArray[np.int64], walls: NDArray[np.float64]) -> None:
        """The same for tasks that took longer than they should: believed where nothing else is known."""
        self._add(self._hinted, tasks, walls)

    def _add(self, to: NDArray[np.float64], tasks: NDArray[np.int64], walls: NDArray[np.float64]) -> None:
        blocks, n = self.blocks(tasks), len(self.starts)
        to[0] += np.bincount(blocks, self.costs[tasks], n)
        to[1] += np.bincount(blocks, walls, n)
        rates = _rates(self._known)
        unknown = np.isnan(rates)
        if unknown.any():
            of_level = _rates(self._sum_levels(self._known))
            of_level = np.where(np.isnan(of_level), _rates(self._sum_levels(self._hinted)), of_level)
            rates = np.where(unknown, of_level[self._levels], rates)
            unknown = np.isnan(rates)
        self._rates = rates
        self._known_rates = np.where(unknown, 0.0, rates)
        self._knows_nothing = bool(unknown.all())

    def _sum_levels(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([np.bincount(self._levels, row, self._n_levels) for row in measured])

    def by_block(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Estimated cost of ``tasks`` in each block, shape (n_blocks,)."""
        costs = np.bincount(self.blocks(tasks), self.costs[tasks], len(self.starts))
        return costs.astype(np.float64)  # without tasks they would be integers

    def seconds(self, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected seconds of each task, shape (n,).

        A block that is not measured yet is taken to be like the other blocks of its level; NaN if
        none of them is measured either.
        """
        return np.asarray(self.costs[tasks] * self._rates[self.blocks(tasks)])

    def total_seconds(self, by_block: NDArray[np.float64]) -> float | None:
        """Expected seconds of work given its cost in each block; None if nothing is measured.

        Of levels that are not measured yet it knows nothing and says nothing.
        """
        return None if self._knows_nothing else float(by_block @ self._known_rates)

    def blocks(self, tasks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Block of each task, shape (n,)."""
        return np.asarray(self.starts.searchsorted(tasks, side="right") - 1)


def _rates(measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds per unit of cost; NaN where nothing was measured."""
    cost, wall = measured
    return np.asarray(np.divide(wall, cost, out=np.full(len(cost), np.nan), where=cost > 0))
