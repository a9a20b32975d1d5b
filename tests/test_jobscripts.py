"""The job scripts, run under bash with stand-ins for the launcher and the queueing system.

Those in jobscripts/ are what the command writes (docs/generate.py), so that they stand for all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "jobscripts").glob("*.sh"))

# Ends `check` with CHECK_CODE and `run` with RUN_CODE; waits for SIGUSR1 first where RUN_WAITS is set.
MPIEXEC = """#!/bin/bash
echo "mpiexec $*" >>"$CALLS"
echo "OMP_NUM_THREADS=$OMP_NUM_THREADS" >>"$CALLS"
if read -r line; then echo "stdin has $line" >>"$CALLS"; fi
if [ "${*: -1}" = check ]; then
    if [ -n "${CHECK_WAITS:-}" ]; then echo ready >>"$CALLS"; exec sleep 20; fi
    exit "${CHECK_CODE:-0}"
fi
if [ -n "${RUN_WAITS:-}" ]; then
    trap 'echo "got USR1" >>"$CALLS"; stop=1' USR1
    echo ready >>"$CALLS"
    until [ -n "${stop:-}" ]; do sleep 0.02; done
    sleep 0.1
fi
exit "${RUN_CODE:-0}"
"""
RECORD = '#!/bin/bash\necho "${0##*/} $*" >>"$CALLS"\n'
QSTAT = '#!/bin/bash\n[ -n "${QSTAT_LIMIT:-}" ] || exit 1\necho "    Resource_List.walltime = $QSTAT_LIMIT"\n'


class Job:
    """One run of a script in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.calls_file = folder / "calls"
        self.calls_file.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in {
            "mpiexec": MPIEXEC,
            "python3": "",
            "scontrol": RECORD,
            "qsub": RECORD,
            "qstat": QSTAT,
        }.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        (folder / "nodes").write_text("n1\nn1\nn2\nn2\n")
        (folder / "input.json").touch()
        for script in SCRIPTS:
            shutil.copy(script, folder)

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        environ: Mapping[str, str] = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            **(SLURM if script == "slurm.sh" else PBS),
            **variables,
        }
        if script != "slurm.sh":
            environ = {
                "PBS_O_WORKDIR": str(self.folder),
                "PBS_NODEFILE": str(self.folder / "nodes"),
                **environ,
            }
        return subprocess.Popen(
            ["bash", str(self.folder / script)],
            env=environ,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str, **variables: str) -> tuple[int, str]:
        process = self.start(script, **variables)
        said, _ = process.communicate("input of the shell\n", timeout=30)
        return process.returncode, said

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()

    def wait_for(self, call: str) -> None:
        for _ in range(1000):
            if call in self.calls():
                return
            time.sleep(0.01)
        raise AssertionError(f"no {call!r} in {self.calls()}")


SLURM = {"SLURM_JOB_ID": "42", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "2"}
PBS = {"PBS_JOBID": "42.server", "QSTAT_LIMIT": "01:00:00"}
AGAIN = {"slurm.sh": "scontrol requeue 42", "pbs.sh": "qsub -v ROUND=2 pbs.sh"}
LAST_ROUND = {"slurm.sh": {"SLURM_RESTART_COUNT": "19"}, "pbs.sh": {"ROUND": "20"}}
both = pytest.mark.parametrize("script", ["slurm.sh", "pbs.sh"])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_shellcheck_accept(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", script], check=True)


@both
def test_finished(script: str, job: Job) -> None:
    code, _ = job.run(script)
    assert code == 0
    check, run = (call for call in job.calls() if call.startswith("mpiexec"))
    hosts = f" --hostfile {job.folder}/nodes" if script == "pbs.sh" else ""
    start = f"mpiexec -n 4{hosts} {job.bin}/python3 -m qcmb_mpi"
    assert check == f"{start} check"
    assert run.startswith(f"{start} run input.json")
    assert AGAIN[script] not in job.calls()
    assert not any("stdin has" in call for call in job.calls())


def test_threads(job: Job) -> None:
    assert job.run("slurm.sh")[0] == 0
    assert "OMP_NUM_THREADS=2" in job.calls()


@both
def test_failed_tasks_end_the_chain(script: str, job: Job) -> None:
    assert job.run(script, RUN_CODE="1")[0] == 1
    assert AGAIN[script] not in job.calls()


@both
def test_stopped_goes_on(script: str, job: Job) -> None:
    assert job.run(script, RUN_CODE="75")[0] == 75
    assert job.calls()[-1] == AGAIN[script]


@both
def test_rounds_are_bounded(script: str, job: Job) -> None:
    code, said = job.run(script, RUN_CODE="75", **LAST_ROUND[script])
    assert code == 75
    assert "not done after 20 rounds" in said
    assert not any(call.startswith(("scontrol", "qsub")) for call in job.calls())


@both
def test_a_failed_resubmission_is_said(script: str, job: Job) -> None:
    for name in ("scontrol", "qsub"):
        (job.bin / name).write_text("#!/bin/bash\nexit 1\n")
    code, said = job.run(script, RUN_CODE="75")
    assert code == 75
    assert "submit it by hand to go on" in said


@both
def test_check_comes_first(script: str, job: Job) -> None:
    code, said = job.run(script, CHECK_CODE="2")
    assert code == 2
    assert "not started" in said
    assert not any("qcmb_mpi run" in call for call in job.calls())


@both
def test_submitted_in_another_folder(script: str, job: Job) -> None:
    (job.folder / "input.json").unlink()
    code, said = job.run(script)
    assert code == 2
    assert f"there is no input.json in {job.folder}" in said
    assert job.calls() == []


def test_a_renamed_pbs_script_says_so_at_once(job: Job) -> None:
    (job.folder / "pbs.sh").rename(job.folder / "other.sh")
    code, said = job.run("other.sh")
    assert code == 2
    assert "there is no pbs.sh" in said
    assert job.calls() == []


@pytest.mark.parametrize(
    ("script", "said"),
    [("slurm.sh", "this script is meant for sbatch"), ("pbs.sh", "this script is meant for qsub")],
)
def test_started_by_hand(script: str, said: str, job: Job) -> None:
    done = subprocess.run(
        ["bash", script],
        cwd=job.folder,
        env={"PATH": f"{job.bin}:{os.environ['PATH']}", "CALLS": str(job.calls_file)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert job.calls() == []


@both
@pytest.mark.parametrize("code", [0, 1, 75])
def test_notice_is_passed_on(script: str, code: int, job: Job) -> None:
    process = job.start(script, RUN_WAITS="yes", RUN_CODE=str(code))
    job.wait_for("ready")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert "got USR1" in job.calls()
    assert (AGAIN[script] in job.calls()) == (code == 75)


@both
def test_notice_during_the_check(script: str, job: Job) -> None:
    process = job.start(script, CHECK_WAITS="yes")
    job.wait_for("ready")
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=15)
    assert process.returncode == 75
    assert not any("qcmb_mpi run" in call for call in job.calls())
    assert AGAIN[script] in job.calls()


@both
def test_cancelled_saves_and_stays_away(script: str, job: Job) -> None:
    process = job.start(script, RUN_WAITS="yes", RUN_CODE="75")
    job.wait_for("ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert "got USR1" in job.calls()
    assert AGAIN[script] not in job.calls()


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ({"QSTAT_LIMIT": "100:02:01"}, 360121),
        ({"QSTAT_LIMIT": "121"}, 121),
        ({"QSTAT_LIMIT": "", "PBS_WALLTIME": "122"}, 122),
        ({"QSTAT_LIMIT": ""}, 86400),
    ],
    ids=["server", "server in seconds", "variable", "as written"],
)
def test_pbs_says_how_much_time_is_left(limit: dict[str, str], seconds: int, job: Job) -> None:
    assert job.run("pbs.sh", **limit)[0] == 0
    run = next(call for call in job.calls() if "qcmb_mpi run" in call)
    flag, left = run.split()[-2:]
    assert flag == "--walltime"
    assert seconds - 20 <= int(left) <= seconds  # less what the check has taken
