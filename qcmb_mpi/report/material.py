"""What a report is made from: a checkpoint, its problem and plan, and which row answers which task.

Only joins; numbers are worked out in ``gathered.py``.  Who opens the checkpoint is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.increments import Increments, increments
from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.screen import shortest_distances
from qcmb_mpi.problem import Problem
from qcmb_mpi.store.archive import Archive
from qcmb_mpi.store.format import Rows
from qcmb_mpi.store.snapshot import Snapshot

__all__ = ["Failure", "Material", "labels"]

LABELS = 1 << 14  # labels written at once


@dataclass(frozen=True)
class Failure:
    """One failed attempt.

    Attributes
    ----------
    label
        Of its task; empty where the present input does not want that task.
    recovered
        Whether a later attempt succeeded.
    finished
        Unix seconds.
    """

    label: str
    kind: str
    message: str
    attempt: int
    rank: int
    host: str
    finished: float
    recovered: bool


@dataclass(frozen=True, eq=False)
class Material:
    """A checkpoint as a report sees it.

    Attributes
    ----------
    snapshot
        What the file holds.
    problem, table
        What its input wants.
    archive
        The answers by task number.
    row_of : (n_tasks,) int64
        Row of each task in ``snapshot.rows``; -1 where there is none.
    failures
        Failed attempts in the order in which they happened.
    """

    snapshot: Snapshot
    problem: Problem
    table: TaskTable
    archive: Archive
    row_of: NDArray[np.int64]
    failures: tuple[Failure, ...]

    @property
    def rows(self) -> Rows:
        """Rows of the tasks that are done, in the order of the task numbers."""
        return self.snapshot.rows[self.row_of[self.archive.done]]

    @property
    def level_names(self) -> list[str]:
        return [level.name for level in self.problem.levels]

    def level_of(self, n: int) -> str:
        """Name of the level that supplies body order ``n``; beyond the last, that of the supersystem."""
        expansion = self.problem.expansion
        owners = {order: level for level, orders in enumerate(expansion.orders) for order in orders}
        if expansion.supersystem is not None and n > expansion.max_nbody:
            return self.level_names[expansion.supersystem]
        return self.level_names[owners.get(n, expansion.supersystem or 0)]

    @cached_property
    def shortest(self) -> NDArray[np.float64]:
        """Shortest distance between atoms of each pair of fragments, bohr, (n_fragments, n_fragments)."""
        return shortest_distances(self.problem.cluster.geometry, self.problem.cluster.offsets)

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Centre of mass of each fragment, bohr, (n_fragments, 3)."""
        cluster = self.problem.cluster
        masses = np.asarray(self.problem.model.molecule.masses, dtype=np.float64)[cluster.order]
        starts = cluster.offsets[:-1]
        sums: NDArray[np.float64] = np.add.reduceat(masses[:, None] * cluster.geometry, starts)
        return sums / np.add.reduceat(masses, starts)[:, None]

    @cached_property
    def between_centres(self) -> NDArray[np.float64]:
        """Distance of the centres of mass of each pair, bohr, (n_fragments, n_fragments)."""
        square = sum((c[:, None] - c[None, :]) ** 2 for c in self.centres.T)
        distances: NDArray[np.float64] = np.sqrt(square)
        return distances

    def increments(self) -> Iterator[Increments]:
        """Increments by treatment and body order."""
        return increments(self.table, self.archive.energies)


def labels(
    block: Block, level_names: list[str], begin: int = 0, end: int | None = None
) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
    """QCManyBody's labels of a block's tasks, some thousand at a time, with their task numbers."""
    from json import dumps

    name = dumps(level_names[block.level])
    end = block.size if end is None else end
    for first in range(begin, end, LABELS):
        rows = slice(first, min(first + LABELS, end))
        real = (block.real(rows).astype(np.int64) + 1).tolist()
        basis = (block.basis(rows).astype(np.int64) + 1).tolist()
        yield (
            block.start + np.arange(rows.start, rows.stop),
            [f"[{name}, {r}, {b}]" for r, b in zip(real, basis, strict=True)],
        )
