"""Content keys of a job's tasks: which digests each task's key is the sum of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.store.keys import (
    add128,
    fragment_digests,
    level_digest,
    subtract128,
    sum128,
    task_keys,
    version_digest,
)

__all__ = ["Keys", "make_keys"]


class Keys:
    """Content keys of tasks.

    Parameters
    ----------
    table
        The tasks.
    digests
        Real, ghost and point-charge digests of the fragments, each (n_fragments, 2) uint64.
    levels : (n_levels, 2) uint64
        Digests of the levels.
    """

    def __init__(self, table: TaskTable, digests: tuple[Any, Any, Any], levels: NDArray[np.uint64]):
        self._table = table
        self._real, self._ghost, self._field = digests
        self._levels = levels
        self._as_real = subtract128(self._real, self._ghost)  # on top of its part in the basis
        self._in_basis = subtract128(self._ghost, self._field)  # on top of its part in the field
        self._whole = sum128(self._ghost)
        self._all_field = sum128(self._field)

    def with_versions(self, versions: Sequence[str]) -> Keys:
        """The same with the version of each level's program as part of every key."""
        keys = copy.copy(self)
        keys._levels = add128(self._levels, np.array([version_digest(version) for version in versions]))
        return keys

    def of(self, tasks: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Keys of some tasks, shape (n, 2)."""
        keys = np.empty((len(tasks), 2), dtype=np.uint64)
        for block, positions in self._table.split(tasks):
            keys[positions] = self._block(block, tasks[positions] - block.start)
        return keys

    def of_block(self, block: Block) -> NDArray[np.uint64]:
        """Keys of all tasks of a block, shape (block.size, 2)."""
        return self._block(block, slice(None))

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tasks that some keys belong to.

        Parameters
        ----------
        keys : (n, 2) uint64
            Of equal ones the first counts.

        Returns
        -------
        tasks, places : (m,) int64
            Task numbers, ascending, and where the key of each is in ``keys``.  Two levels that say the
            same have tasks with the same key.
        """
        tasks, places = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        order = np.argsort(keys[:, 0], kind="stable")
        known = keys[order]
        lows = np.ascontiguousarray(known[:, 0])
        for block in self._table.blocks if len(keys) else ():
            wanted = self.of_block(block)
            # keys are hashes: the low word finds the place, both words decide
            place = np.minimum(np.searchsorted(lows, wanted[:, 0]), len(known) - 1)
            found = np.flatnonzero((known[place] == wanted).all(axis=1))
            tasks.append(block.start + found)
            places.append(order[place[found]])
        return np.concatenate(tasks), np.concatenate(places)

    def _block(self, block: Block, rows: NDArray[np.int64] | slice) -> NDArray[np.uint64]:
        real = block.real(rows)
        level = self._levels[block.level]
        if block.n_basis == self._table.expansion.n_fragments:
            return task_keys(add128(level, self._whole), self._as_real, real)
        field = add128(level, self._all_field)
        if block.n_basis == block.n_real:
            return task_keys(field, add128(self._as_real, self._in_basis), real)
        return task_keys(task_keys(field, self._in_basis, block.basis(rows)), self._as_real, real)


def make_keys(
    table: TaskTable,
    *,
    symbols: Sequence[str],
    geometry: NDArray[np.float64],
    offsets: NDArray[np.int64],
    charges: NDArray[np.float64],
    multiplicities: NDArray[np.int64],
    embedding: NDArray[np.float64] | None,
    levels: Sequence[tuple[str, str, str | None, Mapping[str, Any]]],
    driver: str,
) -> tuple[Keys, NDArray[np.int64]]:
    """Keys of all tasks, and the place of each fragment in canonical order.

    Parameters
    ----------
    table
        The tasks.
    symbols, geometry, offsets, charges, multiplicities, embedding
        As in :class:`qcmb_mpi.problem.Cluster`.
    levels
        Program, method, basis and keywords of each level.
    driver
        Derivative wanted.
    """
    digests = fragment_digests(symbols, geometry, offsets, charges, multiplicities, embedding)
    of_levels = np.array([level_digest(*level, driver) for level in levels])
    order = np.lexsort((digests[0][:, 0], digests[0][:, 1]))
    canonical = np.empty(len(order), dtype=np.int64)
    canonical[order] = np.arange(len(order))
    return Keys(table, digests, of_levels), canonical
