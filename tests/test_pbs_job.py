"""A job made by ``jobscript pbs``, from its first round to its result: bash, MPI and the program are real.

There is no PBS to be had from Debian or PyPI, so qsub and qstat stand in for it: the former starts the
script again with the variables that PBS would set, the latter tells a time limit.
"""

from __future__ import annotations

from typing import Any

import pytest
from program import Finished, Job, Mpi, Program, bits_of, environment
from toy import Toy

pytestmark = pytest.mark.mpi

#: Notes its arguments, and runs the next round as PBS would: from its own copy of the script.
QSUB = """#!/bin/bash
echo "$*" >>"$STAND_IN/qsub"
echo 01:00:00 >"$STAND_IN/limit"
echo "$SECONDS_OF_A_TASK_LATER" >"$TOY_FOLDER/seconds"
cp "${*: -1}" "$STAND_IN/copy"
exec env "$2" PBS_O_WORKDIR="$PWD" bash "$STAND_IN/copy"
"""
QSTAT = """#!/bin/bash
echo "Job Id: $2"
echo "    Resource_List.walltime = $(cat "$STAND_IN/limit")"
"""
#: The program keeps half a minute of what it is told, so this leaves it next to nothing.
SHORT = "00:00:31"


class PbsJob:
    """A chain of atoms with its job script, and what stands in for PBS, in a folder of its own."""

    def __init__(self, program: Program, mpi: Mpi):
        self.program = program
        self.toy = Toy(program, plugin="toy_program")
        self.toy.write_input(name="chain.json")
        self.stand_in = program.folder / "pbs"
        self.stand_in.mkdir()
        for name, text in {"qsub": QSUB, "qstat": QSTAT}.items():
            path = self.stand_in / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        (self.stand_in / "nodes").write_text("localhost\nlocalhost\n")
        program.succeed(
            *("jobscript", "pbs", "chain.json", "--nodes", "1", "--ntasks-per-node", "2"),
            *("--time", "00:10:00", "--plugin", "toy_program"),
            mpi=mpi,
        )

    def run(self, limit: str, later: float) -> Finished:
        """Run the script with a time limit; in later rounds tasks take another time."""
        (self.stand_in / "limit").write_text(limit)
        environ = {**environment(), **self.toy.variables}
        environ |= {
            "PATH": f"{self.stand_in / 'bin'}:{environ['PATH']}",
            "PBS_JOBID": "7.server",
            "PBS_O_WORKDIR": str(self.program.folder),
            "PBS_NODEFILE": str(self.stand_in / "nodes"),
            "STAND_IN": str(self.stand_in),
            "SECONDS_OF_A_TASK_LATER": str(later),
        }
        job = Job(["bash", "chain.pbs.sh"], self.program.folder, environ)
        finished = job.wait(300)
        assert not job.left_behind()
        return finished

    def submissions(self) -> list[str]:
        path = self.stand_in / "qsub"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def job(program: Program, mpi: Mpi) -> PbsJob:
    return PbsJob(program, mpi)


@pytest.fixture
def serial(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of the chain without queue and MPI."""
    program = Program(tmp_path_factory.mktemp("serial"))
    toy = Toy(program, plugin="toy_program")
    toy.write_input()
    program.succeed("input.json", "--no-checkpoint", "--no-parallel", **toy.variables)
    return bits_of(program.read("input.result.json"))


@pytest.mark.slow
def test_a_job_submits_itself_again_until_it_is_done(job: PbsJob, serial: Any) -> None:
    job.toy.takes(1.0)
    finished = job.run(SHORT, later=0.0)
    assert finished.code == 75, finished  # that of the first round
    assert "stopping (the wall time is nearly over)" in finished.err
    assert job.submissions() == ["-v ROUND=2 chain.pbs.sh"]
    assert "round 2 of at most 20, 2 ranks" in finished.out
    result = job.program.read("chain.result.json")
    assert result["provenance"]["ranks"] == 2
    assert bits_of(result) == serial
