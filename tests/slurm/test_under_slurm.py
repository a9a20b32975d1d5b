"""Jobs made by ``jobscript slurm`` under a real Slurm with two nodes, both on this machine.

Nothing stands in for anything: sbatch, time limit, signals, requeueing, srun and mpiexec are real.
Where the environment has REQUIRE_SLURM, no Slurm is a failure; elsewhere the tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from program import Mpi, Program, bits_of, environment
from toy import Toy
from virtual_slurm import NODES, VirtualSlurm, missing

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

N_ATOMS = 6
N_TASKS = 6 + 15 + 20
LONG = 2.0  # s for which a task lasts until it has been seen that a job is stopped and goes on
PATIENCE = 300.0  # s for a job with all its rounds

#: Notes on which node the runners of a rank are.  Launchers hand the first node's variables to all ranks,
#: but what Slurm itself started there has those of its node: the highest ancestor that has any.
WHERE = """
import os
from pathlib import Path

process, node = os.getpid(), None
while process > 1:
    for variable in Path(f"/proc/{process}/environ").read_text().split("\\0"):
        name, _, value = variable.partition("=")
        node = value if name == "SLURMD_NODENAME" else node
    process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
(Path(os.environ["TOY_FOLDER"]) / f"node-{node}").touch()
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[VirtualSlurm]:
    if lacking := missing():
        reason = f"no Slurm here ({', '.join(lacking)} not found): apt-get install slurm-wlm munge"
        if os.environ.get("REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with VirtualSlurm(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class QueuedJob:
    """A chain of atoms with its job script, in the queue."""

    def __init__(self, slurm: VirtualSlurm, program: Program):
        self._slurm = slurm
        self._program = program
        self.toy = Toy(program, N_ATOMS, "toy_program")
        self.toy.write_input(name="chain.json")
        self.toy.takes(LONG)
        program.write("where.py", WHERE)

    def make_script(self, limit: str, *flags: str) -> None:
        self._program.succeed(
            *("jobscript", "slurm", "chain.json", "--nodes", "2", "--ntasks-per-node", "1", "--time", limit),
            *("--plugin", "toy_program", "--plugin", "where", *flags),
        )

    def submit(self, **variables: str) -> None:
        said = self._slurm.ask(
            *("sbatch", "chain.slurm.sh"),
            cwd=self._program.folder,
            **{**environment(), **self.toy.variables, **variables},
        )
        self.number = said.split()[-1]

    def wait_until(self, condition: Callable[[], bool], alive: bool = True) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert not (alive and self.over()), f"it has ended too early\n{self.all_logs()}"
            assert time.monotonic() < end, f"it never happened\n{self.all_logs()}"
            time.sleep(0.2)

    def wait_until_it_computes(self) -> None:
        before = len(self.toy.tries())
        self.wait_until(lambda: len(self.toy.tries()) > before + 2)

    def wait_until_it_goes_on(self) -> None:
        """Until it has been stopped and started anew; from then on all is done quickly."""
        before = self.restarts()
        self.wait_until(lambda: self.restarts() > before)
        self.toy.takes(0.0)

    def ends_as(self, state: str) -> None:
        """Wait for the end; it must be this one."""
        self.wait_until(self.over, alive=False)
        assert self.state()["JobState"] == state, self.all_logs()

    def state(self) -> dict[str, str]:
        return self._slurm.job(self.number)

    def over(self) -> bool:
        return self.state()["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    def restarts(self) -> int:
        return int(self.state()["Restarts"])

    def signal_script(self, name: str) -> None:
        self._slurm.ask("scancel", "--batch", "--signal", name, self.number)

    def cancel(self) -> None:
        self._slurm.ask("scancel", self.number)

    def log(self) -> str:
        path = self._program.folder / f"chain-{self.number}.log"
        return path.read_text() if path.exists() else ""

    def all_logs(self) -> str:
        return f"{self.state()}\n{self.log()}\n{self._slurm.logs()}"

    def nodes(self) -> set[str]:
        """Those that runners were on."""
        return {path.name.removeprefix("node-") for path in self.toy.folder.glob("node-*")}

    def check_result(self, serial: Any) -> None:
        """All is there, from both nodes and more than one round, and the bits are those of a serial run."""
        with h5py.File(self._program.folder / "chain.checkpoint.h5", "r", locking=False) as file:
            rows = file["results"][...]
        result = self._program.read("chain.result.json")
        assert len(rows) == N_TASKS
        assert set(rows["rank"]) == {0, 1}
        assert self.nodes() == set(NODES)
        assert result["provenance"]["tasks_reused"] > 0
        assert bits_of(result) == serial


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of the chain without queue and MPI."""
    program = Program(tmp_path_factory.mktemp("serial"))
    toy = Toy(program, N_ATOMS, "toy_program")
    toy.write_input()
    program.succeed("input.json", "--no-checkpoint", "--no-parallel", **toy.variables)
    assert not program.close()
    return bits_of(program.read("input.result.json"))


@pytest.fixture
def job(slurm: VirtualSlurm, program: Program, mpi: Mpi) -> QueuedJob:
    return QueuedJob(slurm, program)


def test_a_job_goes_on_after_its_time_limit(job: QueuedJob, serial: Any) -> None:
    job.make_script("00:02:00")
    job.toy.takes(6.0)  # more than two minutes of work, less than the ten seconds of grace for a task
    job.submit(QCMB_MPI_WALLTIME="10:00:00")  # so that it hears of the limit from Slurm's signal alone
    job.wait_until_it_computes()
    job.wait_until_it_goes_on()
    job.ends_as("COMPLETED")
    log = job.log()
    assert "stopping (signal SIGUSR1)" in log
    assert "round 1 of at most 20, 2 ranks" in log
    assert "round 2 of at most 20, 2 ranks" in log
    job.check_result(serial)


def test_a_notice_reaches_the_ranks(job: QueuedJob, mpi: Mpi, serial: Any) -> None:
    # Open MPI's ranks need an srun with PMIx, which Debian's has not.
    launcher = "mpiexec" if mpi.open_mpi else "srun --mpi=pmi2"
    job.make_script("00:10:00", "--launcher", launcher)
    job.submit()
    job.wait_until_it_computes()
    job.signal_script("USR1")
    job.wait_until_it_goes_on()
    job.ends_as("COMPLETED")
    assert "stopping (signal SIGUSR1)" in job.log()
    job.check_result(serial)


def test_a_cancelled_job_stays_away_and_goes_on_when_submitted_again(job: QueuedJob, serial: Any) -> None:
    job.make_script("00:10:00")
    job.submit()
    job.wait_until_it_computes()
    job.cancel()
    job.ends_as("CANCELLED")
    assert job.restarts() == 0
    assert "done and saved" in job.log()
    job.toy.takes(0.0)
    job.submit()
    job.ends_as("COMPLETED")
    job.check_result(serial)


def test_srun_without_pmi_is_found_out_before_anything_is_computed(job: QueuedJob) -> None:
    job.make_script("00:10:00", "--launcher", "srun")
    job.submit()
    job.ends_as("FAILED")
    assert job.state()["ExitCode"] == "2:0"
    log = job.log()
    assert "srun started 2 processes" in log
    assert "not started" in log
    assert job.toy.tries() == {}
