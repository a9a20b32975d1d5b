"""What is missing when a job ends without having finished, and the error that tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from qcmb_mpi.engine.failures import Attempt, Kind
from qcmb_mpi.errors import FailedTask, QcmbError, Stopped, TasksFailed
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.farm.schedule import LOST_LIMIT, Schedule, State
from qcmb_mpi.outcome import assemble, partial_result
from qcmb_mpi.problem import Problem
from qcmb_mpi.report.failed import Failure
from qcmb_mpi.store.archive import Archive

__all__ = ["failed_for_good", "unfinished"]

MOST_LISTED = 20  # failed tasks that the error lists


def failed_for_good(
    problem: Problem, table: TaskTable, schedule: Schedule, attempts: Mapping[int, Sequence[Attempt]]
) -> list[Failure]:
    """The tasks that failed for good, in the order of their numbers.

    Parameters
    ----------
    attempts
        Failed attempts of each task, as the master has seen them; none where only ranks were lost.
    """
    names = [level.name for level in problem.levels]
    failures = []
    for task in np.flatnonzero(schedule.state == State.FAILED).tolist():
        seen, losses = attempts.get(task, ()), schedule.losses(task)
        if losses >= LOST_LIMIT:
            kind, message = Kind.LOST, f"set aside, since {losses} ranks were lost that had it"
        else:
            kind, message = seen[-1].kind, seen[-1].message
        failures.append(Failure(task, table.label(task, names), seen, losses, kind.word, message))
    return failures


def unfinished(
    problem: Problem,
    table: TaskTable,
    archive: Archive,
    schedule: Schedule,
    failures: Sequence[Failure],
    folders: Mapping[int, Path],
    reason: str,
    checkpoint: Path | None,
) -> QcmbError:
    """The error that tells what is missing and what is there.

    Parameters
    ----------
    folders
        Folder of each failed task that has one.
    reason
        Why the job was stopped early, if it was.
    """
    complete = partial_result(problem, table, archive, assemble(problem, table, archive))
    look = f"\n`python -m qcmb_mpi status {checkpoint}` shows what is there." if checkpoint else ""
    look = _where(failures, folders) + look
    if schedule.n_done + schedule.n_failed < table.n_tasks:
        return Stopped(
            f"stopped early ({reason}) with {archive.n_done} of {table.n_tasks} tasks done and saved; "
            f"the same command goes on from here{look}",
            archive.n_done,
            table.n_tasks,
            complete,
        )
    listed = "\n".join(f"  {f.label}: {f.kind}: {_first_line(f.message)}" for f in failures[:MOST_LISTED])
    n_missing = table.n_tasks - archive.n_done - len(failures)
    with_them = "it" if len(failures) == 1 else "them"
    missing = f", and with {with_them} {n_missing} by symmetry" if n_missing else ""
    more = f"\n  and {len(failures) - MOST_LISTED} more" if len(failures) > MOST_LISTED else ""
    return TasksFailed(
        f"{len(failures)} of {table.n_tasks} tasks failed for good{missing}; all others are computed and "
        f"saved. The same command tries them afresh.\n{listed}{more}{look}",
        [
            FailedTask(f.label, f.kind, f.message, len(f.attempts) + f.losses, folders.get(f.task))
            for f in failures
        ],
        complete,
    )


def _first_line(message: str) -> str:
    return message.partition("\n")[0] or "(no message)"


def _where(failures: Sequence[Failure], folders: Mapping[int, Path]) -> str:
    """The line that names the folder of the failed tasks."""
    if not folders:
        return ""
    folder = next(iter(folders.values())).parent
    which = (
        "each"
        if len(folders) == len(failures)
        else f"the first {len(folders)} of {len(failures)} failed tasks"
    )
    return f"\n{folder}/ has input and output of {which}, and repeat.sh, which computes it again by hand."
