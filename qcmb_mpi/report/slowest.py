"""Which tasks took longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.store.format import Rows

__all__ = ["Slow", "slowest"]


@dataclass(frozen=True)
class Slow:
    """One of the slowest tasks."""

    label: str
    seconds: float
    rank: int
    host: str


def slowest(
    table: TaskTable,
    rows: Rows,
    tasks: NDArray[np.int64],
    places: NDArray[np.int64],
    names: Sequence[str],
    count: int,
) -> tuple[Slow, ...]:
    """The slowest tasks, slowest first, without those that this job did not compute.

    Parameters
    ----------
    table
        All tasks.
    rows : (n,) ROW
        Of the checkpoint.
    tasks, places : (m,) int64
        Tasks that are done, and the row of each.
    names
        Of the levels.
    count
        How many, at most.
    """
    own = rows["rank"][places] >= 0
    tasks, places = tasks[own], places[own]
    walls = rows["wall"][places]
    few = min(count, len(walls))
    first = np.argpartition(-walls, few - 1)[:few] if few else np.empty(0, dtype=np.int64)
    return tuple(
        Slow(
            label=table.label(int(tasks[position]), names),
            seconds=float(walls[position]),
            rank=int(rows["rank"][places[position]]),
            host=rows["host"][places[position]].decode(errors="replace"),
        )
        for position in first[np.argsort(-walls[first], kind="stable")].tolist()
    )
