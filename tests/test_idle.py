"""Ranks that wait use no processor: it may be somebody else's, and the job pays for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from program import Job, Mpi, Program, find_mpi
from sleeper import Sleeper

RANKS = 4
SETTLES = 1.5  # s after which a rank that waits may be expected to have calmed down
LONG = 6.0  # s that the only task takes
WINDOW = 3.0  # s of measuring
ALLOWED = 0.02  # of a core, each rank

OTHER = os.environ.get("QCMB_MPI_OTHER_PYTHON")


def seconds_of(job: Job) -> dict[int, float]:
    """Processor time that each process of a job has used, to the nanosecond where the kernel keeps that."""
    used = {}
    for pid in job.processes():
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            used[pid] = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("which", ["this MPI", "the other MPI"])
def test_ranks_that_wait_for_the_last_task_use_no_processor(program: Program, mpi: Mpi, which: str) -> None:
    if which == "the other MPI":
        if OTHER is None:
            pytest.skip("QCMB_MPI_OTHER_PYTHON names no python with another MPI library")
        other = find_mpi(OTHER)
        assert other is not None
        mpi = other
    job = Sleeper(program, n_atoms=1, max_nbody=1)
    job.write_input(LONG)
    running = job.start_and_wait_for(1, ranks=RANKS, mpi=mpi)
    time.sleep(SETTLES)
    before, begin = seconds_of(running), time.monotonic()
    time.sleep(WINDOW)
    after, wall = seconds_of(running), time.monotonic() - begin
    assert running.wait().code == 0
    assert len(before) > 2 * RANKS, "ranks, the parents of runners, and the launcher"
    used = {pid: (after[pid] - before[pid]) / wall for pid in before if pid in after}
    assert max(used.values()) < ALLOWED, used
    assert sum(used.values()) < RANKS * ALLOWED, used
