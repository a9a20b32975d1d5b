"""`status` sees a job from outside: running, killed, gone on with, finished; and tells what a file is not."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from clusters import GFN2, many_body, waters
from program import Job, Mpi, Program
from toy import Toy

from qcmb_mpi.archiving import job_keys
from qcmb_mpi.expansion.plan import plan
from qcmb_mpi.inputs.load import from_model
from qcmb_mpi.report.busy import busy, pace
from qcmb_mpi.report.status import QUIET, Status, gather, state_of
from qcmb_mpi.report.status_text import status_text
from qcmb_mpi.store.format import FAILURE, ROW, join_keys
from qcmb_mpi.store.signs import Signs

N_ATOMS = 5
N_TASKS = 5 + 10 + 10
PACE = 1.0  # seconds of each of the first tasks, in jobs that are ended long before their last one
LINGER = 5.0  # seconds of each later one, however slow the machine is that looks at the job


def look(program: Program, name: str = "input.checkpoint.h5") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(program.succeed("status", name, "--json").out)
    return content


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time of modification."""
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()
    }


def rows_in(path: Path) -> int:
    """Rows of a file that may not be there yet."""
    try:
        with h5py.File(path, "r", swmr=True, locking=False) as file:
            return len(file["results"])
    except OSError:  # or is just being made
        return 0


def begun(program: Program, toy: Toy, n_done: int, ranks: int | None = None, pace: float = LINGER) -> Job:
    """A job that has computed and saved some tasks; those it has not begun yet take ``pace`` seconds."""
    checkpoint = program.folder / "input.checkpoint.h5"
    job = program.start("input.json", ranks=ranks, **toy.variables)
    job.wait_until(lambda: rows_in(checkpoint) >= n_done)
    toy.takes(pace)
    return job


@pytest.mark.slow
@pytest.mark.parametrize(
    "ranks",
    [pytest.param(None, id="local"), pytest.param(2, id="two ranks", marks=pytest.mark.mpi)],
)
def test_a_job_is_seen_running_killed_gone_on_with_and_finished(
    program: Program, mpi: Mpi, ranks: int | None
) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(n_workers=2)
    toy.takes(PACE)
    job = begun(program, toy, 3, ranks)
    running = look(program)
    assert running["state"] == "running"
    assert not running["finished"]
    assert (running["total"], running["failed_attempts"]) == (N_TASKS, 0)
    assert 3 <= running["done"] < N_TASKS
    assert running["run"]["host"] == socket.gethostname()
    assert running["run"]["pid"] in job.processes()
    assert running["run"]["ranks"] == 2
    assert running["run"]["last_sign_seconds"] < 10.0
    assert running["pace"]["recent_per_second"] > 0.0

    job.kill()
    before = contents(program.folder)
    killed = look(program)
    assert (killed["state"], killed["finished"], killed["seconds_left"]) == ("killed", False, None)
    assert running["done"] <= killed["done"] < N_TASKS
    assert contents(program.folder) == before  # nothing was written, nothing removed
    text = program.succeed("status", "input.checkpoint.h5").out
    assert "KILLED" in text
    assert "the same command goes on from here" in text

    toy.takes(0.0)
    program.succeed("input.json", **toy.variables)
    finished = look(program)
    assert (finished["state"], finished["finished"], finished["done"]) == ("finished", True, N_TASKS)
    total = {sums["nbody"]: sums["total"] for sums in finished["sums"]}
    properties = program.read("input.result.json")["properties"]
    assert total[3].hex() == properties["nocp_corrected_total_energy"].hex()
    assert "input.checkpoint.h5.status.json" not in program.files()


@pytest.mark.slow
def test_the_writer_is_not_disturbed_by_one_who_looks_all_the_time(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(n_workers=2)
    toy.takes(0.5)
    job = begun(program, toy, 1, pace=0.5)
    watch = program.start("status", "input.checkpoint.h5", "--json", "--watch", "0.1")
    assert job.wait().code == 0
    watched = watch.wait()
    assert (watched.code, watched.err) == (0, "")
    seen = [json.loads(line) for line in watched.out.splitlines()]
    assert [s["state"] for s in seen[:-1]] == ["running"] * (len(seen) - 1)
    assert seen[0]["state"] == "running"
    assert seen[-1]["state"] == "finished"
    done = [s["done"] for s in seen]
    assert done == sorted(done)
    assert program.read("input.result.json")["provenance"]["tasks_computed"] == N_TASKS


@pytest.mark.slow
def test_ctrl_c_leaves_the_watch_and_not_the_job(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(n_workers=1)
    toy.takes(LINGER)
    job = begun(program, toy, 1)
    watch = program.start("status", "input.checkpoint.h5", "--watch", "60")
    watch.wait_until(lambda: "Tasks:" in watch.texts()[0])
    watch.signal(signal.SIGINT)
    left = watch.wait()
    assert (left.code, left.err) == (0, ""), left
    assert "RUNNING" in left.out
    assert look(program)["state"] == "running"
    job.kill()


@pytest.mark.slow
def test_a_stopped_job_says_why_and_the_stop_says_where_to_look(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(n_workers=1)
    toy.takes(PACE)
    job = begun(program, toy, 1)
    job.signal(signal.SIGTERM)
    ended = job.wait()
    assert ended.code == 75
    assert "python -m qcmb_mpi status input.checkpoint.h5" in ended.err
    stopped = look(program)
    assert (stopped["state"], stopped["run"]["reason"]) == ("stopped", "signal SIGTERM")
    toy.takes(0.0)
    program.succeed("input.json", **toy.variables)
    assert look(program)["state"] == "finished"


@pytest.mark.slow
def test_tasks_that_failed_for_good_are_named(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(max_retries=1)
    toy.goes_wrong({"0-2": ["unconverged", "always"], "1-3": ["raise"], "4": ["input", "always"]})
    assert program.run("input.json", **toy.variables).code == 1
    status = look(program)
    assert (status["state"], status["finished"]) == ("failed", False)
    assert (status["done"], status["failed_for_good"], status["failed_attempts"]) == (N_TASKS - 2, 2, 4)
    failing = {task["label"]: task for task in status["failing"]}
    assert set(failing) == {'["(auto)", [1, 3], [1, 3]]', '["(auto)", [5], [5]]'}
    assert all(task["for_good"] for task in failing.values())
    pair = failing['["(auto)", [1, 3], [1, 3]]']
    assert (pair["kind"], pair["attempts"]) == ("convergence", 2)
    assert "SCF did not converge" in pair["message"]
    text = program.succeed("status", "input.checkpoint.h5").out
    assert "2 tasks failed for good" in text
    toy.goes_wrong({})
    program.succeed("input.json", **toy.variables)
    after = look(program)
    assert (after["state"], after["failing"], after["failed_attempts"]) == ("finished", [], 4)


# ---- what a file may be instead ----


def test_an_input_file_leads_to_its_checkpoint(program: Program, finished: Path) -> None:
    refused = program.run("status", "input.json")
    assert refused.code == 2
    assert f"Did you mean {finished.name}?" in refused.err


def make_other(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1.0


WRONG = {
    "missing": (lambda path: None, "there is no such checkpoint"),
    "folder": (lambda path: path.mkdir(), "this is a folder"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("{}\n" * 100), "cannot be read as a checkpoint"),
    "other": (make_other, "cannot be read as a checkpoint"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("flags", [(), ("--watch",)], ids=["once", "watch"])
def test_what_is_no_checkpoint_is_refused_with_one_message(
    program: Program, what: str, flags: tuple[str, ...]
) -> None:
    make, words = WRONG[what]
    make(program.folder / "x.h5")
    before = program.files()
    finished = program.run("status", "x.h5", *flags)
    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.startswith("qcmb_mpi: x.h5: ")
    assert words in finished.err
    assert finished.err.count("\n") == 1
    assert program.files() == before


@pytest.fixture
def finished(program: Program) -> Path:
    """A checkpoint of a finished job of ten tasks."""
    program.write("input.json", many_body(waters(4), level=GFN2, bsse_type=["nocp"], max_nbody=2))
    program.succeed("input.json")
    return program.folder / "input.checkpoint.h5"


def test_a_later_format_is_refused(program: Program, finished: Path) -> None:
    with h5py.File(finished, "r+", locking=False) as file:
        file.attrs["format_version"] = 99
    refused = program.run("status", finished.name)
    assert refused.code == 2
    assert "later version of qcmb_mpi" in refused.err


@pytest.mark.slow
def test_a_checkpoint_cut_short_is_refused_and_one_with_damaged_rows_is_read_with_a_note(
    program: Program, finished: Path
) -> None:
    content = finished.read_bytes()
    with h5py.File(finished, "r", locking=False) as file:
        row = bytes(file["results"][3].tobytes())
    at = content.index(row) + 20
    finished.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    status = look(program)
    assert (status["done"], status["total"], status["finished"]) == (9, 10, False)
    assert "1 rows are damaged" in status["notes"][0]
    finished.write_bytes(content[: len(content) // 2])
    refused = program.run("status", finished.name)
    assert refused.code == 2
    assert "cut short" in refused.err


def test_an_interval_that_is_no_number_is_refused(program: Program, finished: Path) -> None:
    refused = program.run("status", finished.name, "--watch", "often")
    assert refused.code == 2
    assert "expected seconds" in refused.err


# ---- the numbers ----

WRITER = {"host": "node1", "pid": 7, "job": None, "started": "2026-01-01 00:00:00"}


@pytest.mark.parametrize(
    ("signs", "complete", "state"),
    [
        (Signs(WRITER, True, None, 1.0, False), False, "running"),
        (Signs(WRITER, None, None, 1.0, False), False, "running"),
        (Signs(WRITER, None, None, QUIET + 1, False), False, "silent"),
        (Signs(WRITER, True, {"state": "running"}, QUIET + 1, False), False, "silent"),
        (Signs(WRITER, True, {"state": "assembling"}, QUIET + 1, False), True, "running"),
        (Signs({}, None, None, QUIET + 1, False), False, "silent"),
        (Signs(WRITER, False, None, 1.0, False), True, "killed"),
        (Signs(None, None, {"state": "running"}, 1.0, False), False, "killed"),
        (Signs(None, None, {"state": "running"}, 1.0, True), False, "stopped"),
        (Signs(None, None, {"state": "failed"}, 1.0, True), False, "failed"),
        (Signs(None, None, None, 1.0, False, (Path("x.rescue"),)), False, "stopped"),
        (Signs(None, None, {"state": "assembling"}, 1.0, True), True, "finished"),
    ],
)
def test_the_state_follows_from_the_signs(signs: Signs, complete: bool, state: str) -> None:
    assert state_of(signs, complete) == state


def rows_at(finished: list[float], wall: float = 1.0, rank: int = 0, host: str = "n1") -> np.ndarray:
    rows = np.zeros(len(finished), ROW)
    rows["finished"], rows["wall"], rows["rank"], rows["host"] = finished, wall, rank, host.encode()
    return rows


def test_pauses_between_runs_do_not_count_as_work() -> None:
    rows = rows_at([*range(1, 11), *range(100001, 100011)])
    assert pace(rows, None).sessions == 2
    assert pace(rows, None).working_seconds == 20.0
    assert pace(rows, None).overall_per_second == 1.0


def test_the_recent_pace_falls_when_nothing_arrives_any_more() -> None:
    rows = rows_at(list(range(1, 601)))
    assert pace(rows, 600.0).recent_per_second == pytest.approx(1.0)
    assert pace(rows, 750.0).recent_per_second == pytest.approx(0.5)
    assert pace(rows, None).recent_per_second is None


def test_the_busy_fraction_by_rank_and_host() -> None:
    rows = np.concatenate(
        [
            rows_at([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], rank=0),
            rows_at([1, 2, 3, 4, 10], rank=1),
            rows_at([10.0], 10.0, rank=2, host="n2"),
        ]
    )
    told = busy(rows, None)
    assert [(r.rank, r.host, r.busy) for r in told.ranks] == [
        (0, "n1", 1.0),
        (1, "n1", 0.5),
        (2, "n2", 1.0),
    ]
    assert [(h.host, h.ranks, h.tasks, h.busy) for h in told.hosts] == [
        ("n1", 2, 15, 0.75),
        ("n2", 1, 1, 1.0),
    ]
    running = busy(rows[rows["finished"] <= 5.0], 10.0)  # a long task may be under way
    assert [(r.busy, r.silent_seconds) for r in running.ranks] == [(1.0, 5.0), (1.0, 6.0)]


def test_nothing_done_yet_has_no_pace() -> None:
    nothing = np.zeros(0, ROW)
    assert pace(nothing, 5.0).overall_per_second is None
    assert busy(nothing, 5.0).overall is None


def of_waters(done: np.ndarray, treatments: list[str], signs: Signs = Signs(), **more: Any) -> Status:  # noqa: B008
    """The status of three waters of which some tasks are done, each with an energy of minus its electrons."""
    content = many_body(waters(3), level=GFN2, bsse_type=treatments, max_nbody=3, return_total_data=True)
    problem = from_model(content).problem
    table = plan(problem.expansion)
    keys, _ = job_keys(problem, table)
    rows = np.zeros(int(done.sum()), ROW)
    rows["key"] = join_keys(keys.of(np.flatnonzero(done)))
    rows["energy"] = [-10.0 * table.block_of(task).n_real for task in np.flatnonzero(done).tolist()]
    rows["finished"], rows["wall"] = 1000.0 + np.arange(len(rows)), 1.0
    failures = np.zeros(0, FAILURE)
    return gather(
        problem, table, keys, rows, failures, signs, checkpoint="x.h5", created="", now=2000.0, **more
    )


def test_a_sum_appears_when_its_last_task_is_done() -> None:
    done = np.ones(7, bool)
    done[5:] = False
    status = of_waters(done, ["nocp"])
    assert (status.state, status.done, status.total) == ("stopped", 5, 7)
    assert status.by_nbody == {
        "1": {"done": 3, "total": 3},
        "2": {"done": 2, "total": 3},
        "3": {"done": 0, "total": 1},
    }
    # through all three bodies it is the energy of the whole: only that task lacks
    assert [(s.nbody, s.missing, s.total) for s in status.sums] == [(1, 0, -30.0), (2, 1, None), (3, 1, None)]
    assert "1 task missing" in status_text(status)
    done[5] = True
    assert [s.total for s in of_waters(done, ["nocp"]).sums] == [-30.0, -30.0, None]


def test_each_treatment_is_told_by_itself() -> None:
    status = of_waters(np.ones(13, bool), ["nocp", "cp"])
    assert {(s.treatment, s.nbody) for s in status.sums} == {
        (t, n) for t in ("nocp", "cp") for n in (1, 2, 3)
    }
    assert status.finished
    assert len(status.slowest) == 5


def test_the_jobs_own_estimate_of_the_time_left_comes_first() -> None:
    done = np.arange(7) < 4
    told = {"state": "running", "time": 1003.0, "seconds_left": 77.0, "host": "node1", "pid": 7}
    assert of_waters(done, ["nocp"], Signs(WRITER, None, told, 1.0, False)).seconds_left == 77.0
    del told["seconds_left"]
    assert of_waters(done, ["nocp"], Signs(WRITER, None, told, 1.0, False)).seconds_left == pytest.approx(3.0)
    assert of_waters(done, ["nocp"]).seconds_left is None


@pytest.mark.slow
def test_two_levels_that_say_the_same_share_their_answers(program: Program) -> None:
    levels = {1: "a", 2: "b"}
    content = many_body(waters(2), level=GFN2, bsse_type=["nocp"], max_nbody=2, return_total_data=True)
    specification = content["specification"]
    one = specification["specification"]
    specification["specification"] = dict.fromkeys(levels.values(), one)
    specification["keywords"]["levels"] = levels
    program.write("input.json", content)
    program.succeed("input.json")
    status = look(program)
    assert status["done"] == status["total"]
    assert status["state"] == "finished"
