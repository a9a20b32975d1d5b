"""Why more workers did not help: what the times of a run say, in sentences.

Pure: from the statistics in a result's provenance to what to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcmb_mpi.report.durations import format_measured

__all__ = ["hindrances"]

#: Part of the workers' time in the engine above which there is nothing to explain.
GOOD = 0.8
#: Part of the run that one task must take to be the reason.
DOMINANT = 0.5
#: Seconds of a task below which handing it out weighs.
SHORT = 0.005
#: Part of an engine's time that it computes, below which it is kept from computing.
KEPT_BUSY = 0.7
#: Part of the run that may pass before the first task.
START = 0.5


def hindrances(run: Mapping[str, Any]) -> list[str]:
    """What kept a run from being faster, the weightiest first; nothing where it was efficient.

    Parameters
    ----------
    run
        Statistics from the provenance of a result: ``ranks``, ``tasks_computed``, ``wall_seconds``,
        ``farm_seconds``, ``engine_seconds``, ``cpu_seconds``, ``threads_per_rank``, ``longest_task`` and
        ``longest_task_seconds``.
    """
    ranks, tasks = run["ranks"], run["tasks_computed"]
    wall, farm, engine = run["wall_seconds"], run["farm_seconds"], run["engine_seconds"]
    if not tasks or not farm:
        return []
    if ranks > 1 and wall - farm > START * wall:
        return [
            f"{format_measured(wall - farm)} of {format_measured(wall)} were the start of Python and the "
            "engine, which more workers do not shorten: this job is too small for them."
        ]
    found: list[str] = []
    if ranks > 1 and engine < GOOD * ranks * farm:
        found += _idle(run, ranks, tasks, farm, engine)
    cpu = run.get("cpu_seconds") or 0.0
    if 0.0 < cpu < KEPT_BUSY * engine:
        found.append(
            f"The engine computed for only {cpu / engine:.0%} of its time and waited for the rest: there are "
            "more workers than cores, other programs on this machine, or a slow disk under scratch_dir."
        )
    return found


def _idle(run: Mapping[str, Any], ranks: int, tasks: int, farm: float, engine: float) -> list[str]:
    """Why workers had nothing to compute for much of the time."""
    if tasks < ranks:
        return [f"There were {tasks} tasks for {ranks} workers: {ranks - tasks} had nothing to compute."]
    longest = run.get("longest_task_seconds") or 0.0
    if longest > DOMINANT * farm and longest > 2 * engine / tasks:
        return [
            f"One task, {run['longest_task']}, took {format_measured(longest)} of "
            f"{format_measured(farm)}: the other workers waited for it. Fewer workers with more threads each "
            "(threads_per_worker) shorten it."
        ]
    if engine / tasks < SHORT:
        return [
            f"Tasks took {format_measured(engine / tasks)} on average: handing them out weighs against "
            "computing them. Fewer workers are as fast."
        ]
    if tasks < 2 * ranks:
        return [
            f"There were {tasks} tasks for {ranks} workers, less than two each: when most workers had ended, "
            "the last tasks were still being computed."
        ]
    return []
