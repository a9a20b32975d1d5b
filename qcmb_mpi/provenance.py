"""What the provenance of a result tells of its run: ranks, what was reused, where the time went."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from qcmb_mpi.archiving import Known
from qcmb_mpi.farm.master import Statistics
from qcmb_mpi.farm.runner import Description
from qcmb_mpi.starting import Start
from qcmb_mpi.store.archive import Archive

__all__ = ["statistics"]


def statistics(
    begin: Start,
    spent: Statistics,
    threads: int,
    description: Description,
    archive: Archive,
    known: Known,
    label: Callable[[int], str],
    error: float,
) -> dict[str, Any]:
    """The statistics of a run that has finished.

    Parameters
    ----------
    begin
        Who took part.
    spent
        Where the time went.
    threads
        Of each runner.
    description
        What the engines said of themselves.
    archive
        All answers.
    known
        Those that were there before.
    label
        Of a task.
    error
        Expected error of the result [Eh].
    """
    return {
        "ranks": begin.n_ranks,
        "hosts": sorted(set(begin.world.hosts)) if begin.world else [socket.gethostname()],
        "mpi_library": begin.world.library if begin.world else None,
        "threads_per_rank": threads,
        "tasks_computed": archive.n_done - known.reused - known.cached - archive.n_derived,
        "tasks_reused": known.reused,
        "tasks_from_cache": known.cached,
        "tasks_by_symmetry": archive.n_derived,
        "wall_seconds": round(time.monotonic() - begin.began, 3),
        "farm_seconds": round(spent.wall, 3),
        "engine_seconds": round(spent.engine, 3),
        "cpu_seconds": round(spent.cpu, 3),
        "longest_task": label(spent.longest_task) if spent.longest_task >= 0 else None,
        "longest_task_seconds": round(spent.longest, 6),
        "master_seconds": round(spent.master, 3),
        "efficiency": round(spent.engine / (begin.n_ranks * spent.wall), 4) if spent.wall else None,
        "expected_error": error,
        "bits_repeat": threads == 1 and archive.repeats,
        "notes": dict(archive.notes),
        "programs": dict(description.versions),
    }
