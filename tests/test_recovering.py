"""docs/recovering.md quotes the program: every message there is what it prints when that goes wrong."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clusters import GFN2, HF, many_body, waters
from program import Finished, Program
from toy import Toy

from qcmb_mpi.errors import LauncherError
from qcmb_mpi.expansion.plan import plan
from qcmb_mpi.farm.launcher import Launch, check_world
from qcmb_mpi.farm.schedule import LOST_LIMIT, State
from qcmb_mpi.inputs import from_model
from qcmb_mpi.unfinished import failed_for_good

pytestmark = pytest.mark.slow  # jobs that go wrong in every way take half a minute

PAGE = Path(__file__).parent.parent / "docs" / "recovering.md"
QUOTES = re.findall(
    r"^<!-- printed: (.*?) -->\n```text\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
)


def alike(text: str) -> str:
    """Without what differs from job to job: folders, hosts, numbers, and the spaces between words."""
    text = re.sub(r"/\S*/", "", " ".join(text.split()))
    text = re.sub(r"\bon (host )?[\w.-]+(?=,? (since|is gone))", "on HOST", text)
    text = re.sub(r"\b[0-9a-f]{16}\b", "DIGEST", text)
    return re.sub(r"\d[\d.:-]*", "0", text)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """What jobs that go wrong in all these ways have printed, and their exit codes."""
    told: dict[str, Finished] = {}
    _failing_tasks(Program(tmp_path_factory.mktemp("kinds")), told)
    _interrupted(Program(tmp_path_factory.mktemp("story")), told)
    _refused(Program(tmp_path_factory.mktemp("refused")), told)
    told["no world"] = _no_world()
    told["set aside"] = _set_aside()
    if full := _full_disk(tmp_path_factory.mktemp("full")):
        told["full disk"] = full
    return told


def _failing_tasks(program: Program, told: dict[str, Finished]) -> None:
    toy = Toy(program, 4)
    toy.write_input(2, max_retries=0, timeout_per_task=1.0)
    words = ("input", "unconverged", "killed", "segfault", "hang", "nan")
    tasks = ("0-1", "0-2", "0-3", "1-2", "1-3", "2-3")
    toy.goes_wrong({task: [word] for task, word in zip(tasks, words, strict=True)})
    told["tasks failed"] = program.run("input.json", **toy.variables)
    program.close()


def _interrupted(program: Program, told: dict[str, Finished]) -> None:
    """One job, disturbed again and again."""
    toy = Toy(program, 12)
    toy.write_input(2, n_workers=2)
    toy.takes(2.0)
    checkpoint = program.folder / "input.checkpoint.h5"
    job = program.start("input.json", **toy.variables)
    job.wait_until(lambda: len(toy.tries()) > 1)
    told["held"] = program.run("input.json", **toy.variables)
    job.signal(signal.SIGTERM)
    told["stopped"] = job.wait()
    told["wall time"] = program.run("input.json", "--walltime", "1", **toy.variables)

    job = program.start("input.json", **toy.variables)
    before = len(toy.tries())
    job.wait_until(lambda: len(toy.tries()) > before)
    job.signal(signal.SIGKILL)
    job.wait()
    job.left_behind()
    told["killed"] = program.run("status", "input.checkpoint.h5")

    toy.takes(0.0)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-600])
    told["damaged"] = program.run("input.json", **toy.variables)
    program.close()


def _refused(program: Program, told: dict[str, Finished]) -> None:
    job = many_body(waters(2), level=GFN2, bsse_type=["nocp"])
    other = many_body(waters(2), level={**GFN2, "method": "GFN1-xTB"}, bsse_type=["nocp"])
    program.write("input.json", job)
    program.write("notes.txt", "not a checkpoint")
    program.succeed("input.json")
    told["no cache"] = program.call("input.json", "--cache-dir", "notes.txt")
    told["no checkpoint"] = program.call("input.json", "--checkpoint", "notes.txt")
    program.write("input.json", other)
    told["another problem"] = program.call("input.json")
    program.write("input.json", many_body(waters(2), level={**GFN2, "program": "psi4"}, bsse_type=["nocp"]))
    told["no such program"] = program.call("input.json")
    program.write("input.json", many_body(waters(2), level=GFN2, bsse_type=["nocp"], max_nbdy=2))
    told["wrong input"] = program.call("input.json")
    program.write("cycles.json", many_body(waters(1), level={**HF, "keywords": {"max_cycle": 1}}))
    told["no convergence"] = program.run("cycles.json", "--max-retries", "0")
    program.close()


def _no_world() -> Finished:
    with pytest.raises(LauncherError) as raised:
        check_world(Launch("slurm", 4, 0), 1, "MPICH Version: 5.0.2")
    return Finished(raised.value.exit_code, "", f"qcmb_mpi: {raised.value}", 0.0)


def _set_aside() -> Finished:
    """A task whose ranks were lost: only some MPI libraries go on after that."""
    problem = from_model(many_body(waters(2), level=GFN2, bsse_type=["nocp"])).problem
    table = plan(problem.expansion)
    schedule = SimpleNamespace(
        state=np.array([State.DONE, State.DONE, State.FAILED]), losses=lambda task: LOST_LIMIT
    )
    (failure,) = failed_for_good(problem, table, schedule, {})  # type: ignore[arg-type]
    return Finished(1, "", f"{failure.label}: {failure.kind}: {failure.message}", 0.0)


def _full_disk(folder: Path) -> Finished | None:
    """A job on a file system of its own that fills up; None where none can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk], capture_output=True
    ).returncode:
        return None
    program = Program(disk)
    try:
        toy = Toy(program, 12)
        toy.write_input(2, n_workers=2, checkpoint_interval=1)
        toy.takes(0.3)
        job = program.start("input.json", **toy.variables, TMPDIR=str(folder))
        job.wait_until(lambda: len(toy.tries()) > 3)
        with contextlib.suppress(OSError), open(disk / "fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return job.wait()
    finally:
        program.close()
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize(("case", "quote"), QUOTES, ids=[case for case, _ in QUOTES])
def test_the_page_quotes_what_is_printed(printed: dict[str, Finished], case: str, quote: str) -> None:
    name, _, code = case.partition(", exit code ")
    if name == "full disk" and name not in printed:
        pytest.skip("mounting a file system is not permitted here")
    finished = printed[name]
    assert finished.code == int(code), finished
    pattern = re.escape(alike(quote)).replace("\\ …\\ ", r"\ (.* )?").replace("…", ".*")
    assert re.search(pattern, alike(finished.out + finished.err)), f"{finished}"


def test_every_case_is_quoted(printed: dict[str, Finished]) -> None:
    assert set(printed) | {"full disk"} == {case.partition(",")[0] for case, _ in QUOTES}
