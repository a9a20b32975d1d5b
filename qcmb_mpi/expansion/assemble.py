"""From the answers of the tasks to the many-body quantities, exactly.

Energies, gradients and Hessians are the same sums with the same integer weights; derivatives are
scattered through the atoms of each task (ghost atoms carry derivatives too).  The sums have no
rounding (see ``exact.py``), so the result depends neither on the order of arrival nor on the number
of ranks, and answers may be added as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.exact import Accumulator, Exact, zeros
from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.weights import Weights

__all__ = ["Assembly", "coordinates", "error_growth", "hessian_elements", "missing", "ready"]


class Assembly:
    """The sums of one property (energy, gradient or Hessian).

    Parameters
    ----------
    table
        The planned tasks.
    weights
        From :func:`qcmb_mpi.expansion.weights.through`.
    size
        Numbers in the property for the whole cluster: 1, 3 n_atoms or (3 n_atoms)**2.
    """

    def __init__(self, table: TaskTable, weights: Mapping[str, Mapping[int, Weights]], size: int = 1):
        self._table = table
        self._weights = weights
        self._size = size
        # a block whose tasks all weigh the same is summed once for all quantities
        self._plain: dict[int, Accumulator] = {}
        self._weighted: dict[tuple[str, int, int], Accumulator] = {}
        for treatment, sums in weights.items():
            for n, terms in sums.items():
                for block, weight in terms.items():
                    if isinstance(weight, np.ndarray):
                        self._weighted[treatment, n, block] = Accumulator(size)
                    else:
                        self._plain.setdefault(block, Accumulator(size))

    def add(
        self,
        tasks: NDArray[np.int64],
        values: NDArray[np.float64],
        addresses: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the answers of some tasks of one block.

        Parameters
        ----------
        tasks : (n,) int64
            Task numbers, all in the same block, each task once in the life of the assembly.
        values : (n,) or (n, m) float64
            One number per task, or m.
        addresses : (n, m) int64, optional
            Where each number belongs in the property of the whole cluster.
        """
        if not len(tasks):
            return
        number = int(np.searchsorted(self._table.starts, tasks[0], side="right")) - 1
        flat = np.ascontiguousarray(values).reshape(-1)
        where = None if addresses is None else addresses.reshape(-1)
        if number in self._plain:
            self._plain[number].add(flat, 1, where)
        for (treatment, n, block), accumulator in self._weighted.items():
            if block == number:
                weight = self._weights[treatment][n][block]
                assert isinstance(weight, np.ndarray)
                each = weight[tasks - self._table.blocks[block].start]
                accumulator.add(flat, np.repeat(each, len(flat) // len(tasks)), where)

    def exact(self) -> dict[str, dict[int, Exact]]:
        """``sums[treatment][n]``: the property through n bodies, shape (size,), unrounded."""
        plain = {block: accumulator.exact() for block, accumulator in self._plain.items()}
        result: dict[str, dict[int, Exact]] = {}
        for treatment, sums in self._weights.items():
            result[treatment] = {}
            for n, terms in sums.items():
                total = zeros(self._size)
                for block, weight in terms.items():
                    if isinstance(weight, np.ndarray):
                        total = total + self._weighted[treatment, n, block].exact()
                    else:
                        total = total + int(weight) * plain[block]
                result[treatment][n] = total
        return result


def coordinates(
    basis: NDArray[np.integer], offsets: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where the coordinates of tasks lie in the whole cluster.

    Parameters
    ----------
    basis : (n, n_basis) int
        Basis fragments of each task.
    offsets : (n_fragments + 1,) int64
        First atom of each fragment.

    Returns
    -------
    list of (positions, addresses)
        Tasks with equally many atoms go together: their positions in ``basis``, shape (p,), and the
        flat index (3 * atom + axis) of each of their coordinates, shape (p, 3 * n_atoms_of_task).
    """
    sizes = np.diff(offsets)[basis]
    groups = []
    totals = sizes.sum(axis=1)
    for total in np.unique(totals):
        positions = np.flatnonzero(totals == total)
        lengths = sizes[positions].reshape(-1)
        firsts = offsets[basis[positions]].reshape(-1)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        atoms = (np.repeat(firsts, lengths) + within).reshape(len(positions), int(total))
        groups.append((positions, (3 * atoms[:, :, None] + np.arange(3)).reshape(len(positions), -1)))
    return groups


def hessian_elements(addresses: NDArray[np.int64], n_coordinates: int) -> NDArray[np.int64]:
    """Flat index of each Hessian element: (n, m) coordinates of tasks to (n, m * m) elements."""
    pairs = addresses[:, :, None] * n_coordinates + addresses[:, None, :]
    return pairs.reshape(len(addresses), -1)


def ready(table: TaskTable, terms: Weights, done: NDArray[np.bool_]) -> bool:
    """Whether every task with a weight in ``terms`` is done."""
    return not any(_missing(table, terms, done))


def missing(table: TaskTable, terms: Weights, done: NDArray[np.bool_]) -> int:
    """How many tasks with a weight in ``terms`` are not done."""
    return sum(_missing(table, terms, done))


def _missing(table: TaskTable, terms: Weights, done: NDArray[np.bool_]) -> Iterator[int]:
    """The same for each block."""
    for number, weight in terms.items():
        block: Block = table.blocks[number]
        finished = done[block.tasks]
        if isinstance(weight, np.ndarray):
            finished = finished | (weight == 0)
        yield block.size - int(np.count_nonzero(finished))


def error_growth(table: TaskTable, terms: Weights, representative: NDArray[np.int64] | None = None) -> float:
    """Root of the summed squares of the weights: how much independent errors of tasks grow.

    Tasks with the same ``representative``, (n_tasks,), have the same error.
    """
    total: float = 0
    for number, weight in terms.items():
        if representative is not None:
            block = table.blocks[number]
            weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), block.size)
            of_classes = np.bincount(representative[block.tasks] - block.start, weights)
            total += float((of_classes**2).sum())
        elif isinstance(weight, np.ndarray):
            total += int((weight.astype(object) ** 2).sum())
        else:
            total += table.blocks[number].size * int(weight) ** 2
    return sqrt(total)
