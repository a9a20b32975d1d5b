"""Jobs on machines that are not what they should be: too little memory, a broken rank, too little time."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import pytest
from clusters import many_body
from program import Job, Mpi, Program

PLUGIN = Path(__file__).parent / "data" / "whims.py"
GIB = 2**30


class Whims:
    """Jobs of a line of atoms with the engine of :file:`data/whims.py`."""

    def __init__(self, program: Program, n_atoms: int, max_nbody: int, **settings: object):
        self._program = program
        self._folder = program.folder / "whims"
        self._folder.mkdir()
        shutil.copy(PLUGIN, program.folder / "whims.py")
        for name, value in settings.items():
            (self._folder / name).write_text(str(value))
        molecule = {
            "symbols": ["He"] * n_atoms,
            "geometry": [x for i in range(n_atoms) for x in (5.0 * i, 0.0, 0.0)],
            "fragments": [[i] for i in range(n_atoms)],
        }
        level = {"program": "whims", "method": "whims"}
        section = {"plugins": ["whims.py"]}
        keywords = {"bsse_type": ["nocp"], "max_nbody": max_nbody, "return_total_data": True}
        program.write("input.json", many_body(molecule, level=level, execution=section, **keywords))

    def run(self, *flags: str, **options: Any) -> Any:
        return self._program.run("input.json", *flags, WHIMS=str(self._folder), **options)

    def start(self, *flags: str, **options: Any) -> Job:
        return self._program.start("input.json", *flags, WHIMS=str(self._folder), **options)

    def log(self) -> list[tuple[str, int, float, float]]:
        path = self._folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(n, int(m), float(b), float(e)) for n, m, b, e in map(str.split, lines)]


def test_what_runs_out_of_memory_comes_back_alone_with_the_memory_of_all(program: Program) -> None:
    whims = Whims(program, 4, 3, needs=2 * GIB, pace=0.05)
    finished = whims.run("--n-workers", "2", QCMB_MPI_MEMORY_PER_WORKER=str(GIB))
    assert finished.code == 0, finished
    log = whims.log()
    wide = [entry for entry in log if entry[0].count("-") == 2]
    assert [memory for _, memory, _, _ in wide] == [2 * GIB] * 4
    assert {memory for name, memory, _, _ in log if name.count("-") < 2} == {GIB}
    for name, _, begin, end in wide:
        assert not [e for e in log if e[0] != name and e[2] < end and e[3] > begin], f"{name} was not alone"


@pytest.mark.mpi
def test_a_rank_where_everything_fails_is_set_aside_and_costs_no_task_its_retries(
    program: Program, mpi: Mpi
) -> None:
    whims = Whims(program, 12, 2, broken_rank=2, pace=0.05)
    finished = whims.run("--max-retries", "1", ranks=3, mpi=mpi)
    assert finished.code == 0, finished
    assert "rank 2 on" in finished.err, finished
    assert "set aside" in finished.err, finished
    assert len(whims.log()) == 12 + 66
    with h5py.File(program.folder / "input.checkpoint.h5", "r", locking=False) as file:
        ranks = file["failures"]["rank"].tolist()
    assert set(ranks) == {2}
    assert 3 <= len(ranks) < 20  # what it held when that was proven, and no more


@pytest.mark.mpi
@pytest.mark.parametrize("killed", [[2], [1, 3]], ids=["one", "two"])
def test_killed_ranks_cost_their_tasks_in_flight_and_nothing_else(
    program: Program, mpi: Mpi, killed: list[int]
) -> None:
    if not mpi.open_mpi:
        pytest.skip("MPICH ends a job that has lost a rank")
    whims = Whims(program, 10, 2, pace=0.2)
    job = whims.start(ranks=4, tolerant=True, mpi=mpi)
    job.wait_until(lambda: len(whims.log()) >= 12)
    for pid, rank in rank_processes(job).items():
        if rank in killed:
            os.kill(pid, signal.SIGKILL)
    finished = job.wait()
    assert finished.code == 0, finished
    for rank in killed:
        assert f"rank {rank} on" in finished.err, finished
        assert "has died" in finished.err, finished
    assert "Traceback" not in finished.err, finished
    computed = [entry[0] for entry in whims.log()]
    assert len(set(computed)) == 10 + 45
    assert len(computed) <= 55 + 10 * len(killed)  # what was on its way: a second of work at most


def rank_processes(job: Job) -> dict[int, int]:
    """Ranks of a job's rank processes, which alone have the launcher's variables."""
    found = {}
    for pid in job.processes():
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        for entry in environ:
            if entry.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[pid] = int(entry.partition(b"=")[2])
    return found


@pytest.mark.slow
def test_a_time_limit_may_follow_from_what_other_tasks_took(program: Program) -> None:
    whims = Whims(program, 6, 2, hangs="4-5", pace=0.02)
    finished = whims.run("--timeout-factor", "3")
    assert finished.code == 0, finished
    assert finished.seconds < 60, finished
    with h5py.File(program.folder / "input.checkpoint.h5", "r", locking=False) as file:
        assert file["failures"]["kind"].tolist() == [b"timeout"]


@pytest.mark.slow
def test_a_task_that_would_outlast_the_wall_time_is_not_begun(program: Program) -> None:
    whims = Whims(program, 3, 1, pace=8)
    script = program.write(
        "short_saving.py",
        "import sys, qcmb_mpi.job, qcmb_mpi.stopping\n"
        "qcmb_mpi.job.SAVING, qcmb_mpi.stopping.GRACE = 1.0, 0.5\n"
        "from qcmb_mpi.cli import main\n"
        "sys.exit(main())\n",
    )
    flags = ("input.json", "--n-workers", "1", "--walltime", "16")
    finished = program.run(*flags, script=script, WHIMS=str(program.folder / "whims"))
    assert finished.code == 75, finished
    assert "no task that is left would end before the wall time" in finished.err, finished
    assert finished.seconds < 15, finished
    assert len(whims.log()) == 1
