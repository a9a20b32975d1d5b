"""Opens a checkpoint for looking into it: from a path to its problem, plan, answers and failures.

Reads a live file as well as a finished one; never writes, takes no lock, starts no engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.archiving import job_keys
from qcmb_mpi.errors import InputError, StoreError
from qcmb_mpi.expansion.plan import TaskTable, plan
from qcmb_mpi.inputs.load import from_model
from qcmb_mpi.problem import Problem
from qcmb_mpi.report.material import Failure, Material
from qcmb_mpi.store.archive import Archive, Floats
from qcmb_mpi.store.format import Rows, join_keys, split_keys
from qcmb_mpi.store.memory import Memory
from qcmb_mpi.store.snapshot import Snapshot, read
from qcmb_mpi.store.task_keys import Keys

__all__ = ["Planned", "look", "planned", "snapshot_of"]


class _Kept(Memory):
    """A snapshot with the manners of a store: what is read comes from it, nothing is ever written to it."""

    def __init__(self, snapshot: Snapshot):
        super().__init__()
        self._snapshot = snapshot

    def rows(self) -> Rows:
        return self._snapshot.rows

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        return ((row["key"].tobytes(), content) for row, content in self._snapshot.records())

    def stream(self, rows: Rows) -> Iterator[tuple[slice, Floats, Floats]]:
        return self._snapshot.stream(rows)


@dataclass(frozen=True, eq=False)
class Planned:
    """What the input that is kept in a checkpoint asks for.

    Attributes
    ----------
    problem, table, keys
        The problem, its tasks and their keys.
    canonical : (n_fragments,) int64
        Place of each fragment in canonical order.
    """

    problem: Problem
    table: TaskTable
    keys: Keys
    canonical: NDArray[np.int64]


def snapshot_of(path: Path) -> Snapshot:
    """What a checkpoint holds at this moment; raises StoreError in words that lead on."""
    try:
        return read(path)
    except StoreError as error:
        beside = path.with_name(f"{path.stem}.checkpoint.h5")  # of an input file's job
        hint = f" Did you mean {beside}?" if beside.is_file() else ""
        raise StoreError(f"{error}{hint}") from None


def planned(path: Path, snapshot: Snapshot) -> Planned:
    """Plan what the checkpoint's input asks for; raises StoreError if that cannot be read here."""
    try:
        problem = from_model(json.loads(snapshot.input_text)).problem
    except (InputError, ValueError) as error:
        raise StoreError(
            f"{path}: the input kept in this checkpoint cannot be read here ({error})."
        ) from None
    table = plan(problem.expansion)
    return Planned(problem, table, *job_keys(problem, table))


def look(path: str | os.PathLike[str]) -> Material:
    """Everything that a checkpoint tells.

    Raises
    ------
    StoreError
        There is no such file, or it cannot be read as a checkpoint.
    """
    snapshot = snapshot_of(Path(path))
    what = planned(Path(path), snapshot)
    problem, table, keys = what.problem, what.table, what.keys
    archive = Archive(table, keys, problem.cluster.offsets, what.canonical, _Kept(snapshot))
    archive.load()
    row_of = np.full(table.n_tasks, -1, dtype=np.int64)
    tasks, places = keys.find(split_keys(snapshot.rows["key"]))
    row_of[tasks] = places
    return Material(
        snapshot, problem, table, archive, row_of, tuple(_failures(snapshot, problem, table, keys, archive))
    )


def _failures(
    snapshot: Snapshot, problem: Problem, table: TaskTable, keys: Keys, archive: Archive
) -> Iterator[Failure]:
    rows = snapshot.failures
    tasks = keys.find(split_keys(rows["key"]))[0]
    task_of = {key.tobytes(): int(task) for key, task in zip(join_keys(keys.of(tasks)), tasks, strict=True)}
    names = [level.name for level in problem.levels]
    for row in rows:
        task = task_of.get(row["key"].tobytes())
        yield Failure(
            label="" if task is None else table.label(task, names),
            kind=row["kind"].decode(errors="replace"),
            message=row["message"].decode(errors="replace"),
            attempt=int(row["attempt"]),
            rank=int(row["rank"]),
            host=row["host"].decode(errors="replace"),
            finished=float(row["finished"]),
            recovered=task is not None and bool(archive.done[task]),
        )
