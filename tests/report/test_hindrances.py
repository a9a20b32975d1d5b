"""The summary of a run says why more workers did not help, and keeps silent where they did."""

from __future__ import annotations

from typing import Any

import pytest

from qcmb_mpi.report.hindrances import hindrances
from qcmb_mpi.report.summary import where_time_went


def run(**changes: Any) -> dict[str, Any]:
    """Statistics of a good run: 1000 tasks of 0.1 s on 4 workers."""
    good = {
        "ranks": 4,
        "threads_per_rank": 1,
        "tasks_computed": 1000,
        "tasks_reused": 0,
        "wall_seconds": 27.0,
        "farm_seconds": 25.5,
        "engine_seconds": 100.0,
        "cpu_seconds": 99.0,
        "master_seconds": 0.2,
        "longest_task": '["(auto)", [1, 2], [1, 2]]',
        "longest_task_seconds": 0.3,
    }
    return {**good, **changes}


def test_a_good_run_needs_no_explanation() -> None:
    assert hindrances(run()) == []


def test_a_run_that_computed_nothing_needs_none() -> None:
    assert hindrances(run(tasks_computed=0, farm_seconds=0.0, engine_seconds=0.0, cpu_seconds=0.0)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"tasks_computed": 3, "engine_seconds": 60.0, "cpu_seconds": 60.0, "longest_task_seconds": 25.0},
            "3 tasks for 4 workers: 1 had nothing to compute",
        ),
        (
            {"engine_seconds": 40.0, "cpu_seconds": 40.0, "longest_task_seconds": 20.0},
            'One task, ["(auto)", [1, 2], [1, 2]], took 20 s of 26 s: the other workers waited',
        ),
        (
            {"tasks_computed": 100_000, "engine_seconds": 50.0, "cpu_seconds": 50.0},
            "Tasks took 0.5 ms on average",
        ),
        (
            {"tasks_computed": 6, "engine_seconds": 60.0, "cpu_seconds": 60.0, "longest_task_seconds": 11.0},
            "6 tasks for 4 workers, less than two each",
        ),
        ({"cpu_seconds": 40.0}, "computed for only 40% of its time"),
        ({"wall_seconds": 60.0}, "34 s of 1 min 00 s were the start of Python"),
    ],
)
def test_what_kept_a_run_from_being_faster_is_said(changes: dict[str, Any], words: str) -> None:
    found = hindrances(run(**changes))
    assert len(found) == 1
    assert words in found[0]
    assert found[0] in where_time_went(run(**changes)).splitlines()


def test_one_worker_is_not_told_of_others() -> None:
    one = run(ranks=1, engine_seconds=15.0, cpu_seconds=15.0, wall_seconds=60.0, longest_task_seconds=14.0)
    assert hindrances(one) == []
