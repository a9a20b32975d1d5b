"""The numbers of a job, running or not, from the rows of its checkpoint and the signs of its writer.

Pure: opens nothing, knows no clock, prints nothing.  The sums are those of the result, by the same
arithmetic, as far as they are complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.problem import Problem, formula
from qcmb_mpi.report.body_orders import BodyOrder, body_orders
from qcmb_mpi.report.busy import Busy, Pace, busy, pace
from qcmb_mpi.report.slowest import Slow, slowest
from qcmb_mpi.store.format import DERIVED, Rows, split_keys
from qcmb_mpi.store.signs import Signs
from qcmb_mpi.store.task_keys import Keys

__all__ = ["Failing", "Status", "gather", "state_of"]

QUIET = 120.0  # s without a sign after which a writer on another host is not believed to live
SLOWEST = 5  # tasks that are named
MOST_FAILING = 1000  # tasks that are named


@dataclass(frozen=True)
class Failing:
    """A task with failed attempts and no answer.

    Attributes
    ----------
    label, kind, message
        The task; kind and first line of the message of its last failed attempt.
    attempts
        Failed attempts in all runs.
    for_good
        Whether the last run gave it up; None where that is not known.
    """

    label: str
    kind: str
    attempts: int
    message: str
    for_good: bool | None


@dataclass(frozen=True)
class Status:
    """What there is to say of a job.  Attributes as ``docs/clusters.md`` lists them for ``--json``."""

    checkpoint: str
    state: str
    finished: bool
    total: int
    done: int
    failed_attempts: int
    failed_for_good: int | None
    job: dict[str, Any]
    run: dict[str, Any]
    by_nbody: dict[str, dict[str, int]]
    by_level: dict[str, dict[str, int]]
    pace: Pace
    seconds_left: float | None
    failures_by_kind: dict[str, int]
    failing: tuple[Failing, ...]
    sums: tuple[BodyOrder, ...]
    slowest: tuple[Slow, ...]
    busy: Busy
    notes: tuple[str, ...]

    @property
    def active(self) -> bool:
        """Whether the job may still change."""
        return self.state == "running"

    def as_dict(self) -> dict[str, Any]:
        """The same, fit for JSON."""
        return asdict(self)


def gather(
    problem: Problem,
    table: TaskTable,
    keys: Keys,
    rows: Rows,
    failures: Rows,
    signs: Signs,
    *,
    checkpoint: str,
    created: str,
    now: float,
    notes: tuple[str, ...] = (),
) -> Status:
    """The status of a job.

    Parameters
    ----------
    problem, table, keys
        What the job computes, its tasks and their keys.
    rows : (n,) ROW
        Finished tasks in the checkpoint, of this job or another.
    failures : (m,) FAILURE
        Failed attempts.
    signs
        Of the writer.
    checkpoint, created, notes
        Passed on.
    now
        Unix seconds.
    """
    tasks, places = keys.find(split_keys(rows["key"]))
    done = np.zeros(table.n_tasks, dtype=bool)
    done[tasks] = True
    energies = np.full(table.n_tasks, np.nan)
    energies[tasks] = rows["energy"][places]
    needed = np.zeros(len(rows), dtype=bool)
    needed[places] = True
    mine = rows if needed.all() else rows[needed]
    n_done = len(tasks)
    state = state_of(signs, n_done == table.n_tasks)
    names = [level.name for level in problem.levels]
    told = signs.status or {}
    until = float(told.get("time", now)) if state == "running" else None
    progress = pace(mine, until)
    return Status(
        checkpoint=checkpoint,
        state=state,
        finished=n_done == table.n_tasks,
        total=table.n_tasks,
        done=n_done,
        failed_attempts=len(failures),
        failed_for_good=0 if n_done == table.n_tasks else told.get("failed"),
        job=_job(problem),
        run=_run(signs, created),
        by_nbody=_counts(table, done, [str(block.n_real) for block in table.blocks]),
        by_level=_counts(table, done, [names[block.level] for block in table.blocks]),
        pace=progress,
        seconds_left=_seconds_left(state, told, progress, table.n_tasks - n_done),
        failures_by_kind=dict(Counter(kind.decode() for kind in failures["kind"].tolist())),
        failing=_failing(table, keys, failures, done, names, told),
        sums=body_orders(problem, table, done, energies),
        slowest=slowest(table, rows, tasks, places, names, SLOWEST),
        busy=busy(mine, until),
        notes=(*notes, *_notes(signs, len(rows) - len(mine), mine["rank"])),
    )


def state_of(signs: Signs, complete: bool) -> str:
    """Running, or how it ended.

    Returns
    -------
    str
        ``running``; ``silent`` (a writer is named, but has given no sign for long: killed, or cut off);
        ``killed``; ``finished``; ``failed`` (ended, with tasks that failed for good); ``stopped``.
    """
    said = (signs.status or {}).get("state")
    if signs.writer is not None:
        if signs.alive is False:
            return "killed"
        # reading a large checkpoint and summing up give no signs
        quietly = signs.alive and said in ("starting", "assembling")
        return "running" if quietly or signs.age < QUIET else "silent"
    if complete and signs.closed:
        return "finished"
    if said == "failed":
        return "failed"
    # what could not write any more gave up its lock, but could not close the file
    return "stopped" if signs.closed or said == "stopped" or signs.rescued else "killed"


def _notes(signs: Signs, foreign: int, ranks: NDArray[np.int32]) -> Iterator[str]:
    derived = int((ranks == DERIVED).sum())
    cached = int((ranks < 0).sum()) - derived
    if foreign:
        yield f"{foreign:,} further rows are not needed by the input that the checkpoint was last used for"
    if cached:
        yield f"{cached:,} answers came out of the cache and count in no pace"
    if derived:
        yield f"{derived:,} answers follow by symmetry from others and count in no pace"
    for file in signs.rescued:
        yield f"{file} holds finished tasks that the next run takes in"


def _job(problem: Problem) -> dict[str, Any]:
    cluster, expansion = problem.cluster, problem.expansion
    edges = cluster.offsets.tolist()
    fragments = Counter(formula(cluster.symbols[begin:end]) for begin, end in pairwise(edges))
    return {
        "formula": formula(sorted(cluster.symbols)),
        "n_atoms": cluster.n_atoms,
        "n_fragments": cluster.n_fragments,
        "fragments": dict(fragments),
        "charge": float(cluster.charges.sum()),
        "driver": problem.driver,
        "bsse_type": list(expansion.treatments),
        "max_nbody": expansion.max_nbody,
        "levels": [
            {
                "name": level.name,
                "program": level.program,
                "method": level.method,
                "basis": level.basis,
                "nbody": list(expansion.orders[number]),
                "supersystem": number == expansion.supersystem,
            }
            for number, level in enumerate(problem.levels)
        ],
    }


def _run(signs: Signs, created: str) -> dict[str, Any]:
    told, writer = signs.status or {}, signs.writer or {}
    return {
        "host": writer.get("host") or told.get("host"),
        "pid": writer.get("pid") or told.get("pid"),
        "queue_job": writer.get("job"),
        "ranks": told.get("ranks"),
        "started": told.get("started"),
        "checkpoint_created": created,
        "last_sign_seconds": round(signs.age, 1),
        "activity": told.get("state"),
        "reason": told.get("reason") or None,
    }


def _counts(table: TaskTable, done: NDArray[np.bool_], names: list[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for name, block in zip(names, table.blocks, strict=True):
        entry = counts.setdefault(name, {"done": 0, "total": 0})
        entry["done"] += int(np.count_nonzero(done[block.tasks]))
        entry["total"] += block.size
    return counts


def _seconds_left(state: str, told: Mapping[str, Any], progress: Pace, left: int) -> float | None:
    """The job's own estimate, which knows what tasks cost; else from the pace of the last minutes."""
    if state != "running" or not left:
        return None
    if told.get("seconds_left") is not None:
        return float(told["seconds_left"])
    return left / progress.recent_per_second if progress.recent_per_second else None


def _failing(
    table: TaskTable,
    keys: Keys,
    failures: Rows,
    done: NDArray[np.bool_],
    names: list[str],
    told: Mapping[str, Any],
) -> tuple[Failing, ...]:
    if not len(failures):
        return ()
    # the last row of a key is the first one from behind
    unique, last, counts = np.unique(failures["key"][::-1], return_index=True, return_counts=True)
    tasks, places = keys.find(split_keys(unique))
    open_ = np.flatnonzero(~done[tasks])[:MOST_FAILING]
    given_up = set(told["failed_tasks"]) if "failed_tasks" in told else None
    found = []
    for task, place in zip(tasks[open_].tolist(), places[open_].tolist(), strict=True):
        row = failures[len(failures) - 1 - last[place]]
        text = row["message"].decode(errors="replace").strip()
        found.append(
            Failing(
                label=table.label(task, names),
                kind=row["kind"].decode(),
                attempts=int(counts[place]),
                message=text.splitlines()[0] if text else "",
                for_good=None if given_up is None else task in given_up,
            )
        )
    return tuple(found)
