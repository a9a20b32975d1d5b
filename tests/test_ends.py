"""How jobs end: whoever is killed, stopped or interrupted, nothing finished is lost or stays behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from program import Finished, Job, Mpi, Program, bits_of, descendants
from sleeper import Sleeper, bits_undisturbed

STOPPED = 75
SOON = 20.0  # s in which a job has to be over on a busy machine; it takes a second or two on a quiet one

WAYS = [
    pytest.param({}, id="local"),
    pytest.param({"ranks": 3}, id="three ranks", marks=pytest.mark.mpi),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of the result when nobody is killed."""
    return bits_undisturbed(Program(tmp_path_factory.mktemp("undisturbed")))


# ---- killed -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.mpi
def test_whichever_process_of_a_job_is_killed_the_others_end_and_the_next_run_goes_on(
    program: Program, mpi: Mpi, undisturbed: Any
) -> None:
    job = Sleeper(program)
    job.write_input(0.2)
    victims = {
        "rank 0": lambda running: running.ranks()[0],
        "a worker": lambda running: running.ranks()[2],
        "the launcher": lambda running: running.pid,
    }
    saved = 0
    for name, victim in victims.items():
        running = job.start_and_wait_for(6, lambda: job.checkpoint.exists(), ranks=3)
        running.wait_until(lambda saved=saved: len(job.saved()) > saved)
        saved = len(job.saved())
        os.kill(victim(running), signal.SIGKILL)
        finished = running.wait(SOON)
        assert finished.code != 0, name
        assert "Traceback" not in finished.err, finished
        assert not running.left_behind(), name
        assert len(job.saved()) >= saved, name
    assert 0 < saved < job.n_tasks
    assert bits_of(job.finish(ranks=2)) == undisturbed


@pytest.mark.slow
def test_a_local_job_that_is_killed_takes_its_runners_with_it(program: Program, undisturbed: Any) -> None:
    job = Sleeper(program)
    job.write_input(0.2, n_workers=2)
    running = job.start_and_wait_for(6, lambda: job.checkpoint.exists())
    running.wait_until(lambda: len(job.saved()) > 0)
    running.signal(signal.SIGKILL)
    assert running.wait(SOON).code == -signal.SIGKILL
    assert not running.left_behind()
    assert bits_of(job.finish()) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_where_the_parent_of_runners_is_killed_another_takes_over(
    program: Program, mpi: Mpi, undisturbed: Any, way: dict[str, int]
) -> None:
    job = Sleeper(program)
    job.write_input(0.2, n_workers=2)
    job.say("litter")
    running = job.start_and_wait_for(4, **way)
    rank = len(running.ranks()) - 1
    orphans = descendants(running.nursery(rank))
    os.kill(running.nursery(rank), signal.SIGKILL)
    finished = running.wait()
    assert finished.code == 0, finished
    assert finished.err.count("was killed, probably for want of memory; it is started anew") == 1, finished
    assert not [pid for pid in orphans if Path(f"/proc/{pid}").exists()]
    tries = job.tries().values()
    assert set(tries) == {1, 2}
    assert sum(tries) <= job.n_tasks + 2, "only what was being computed is computed again"
    assert bits_of(program.read("input.result.json")) == undisturbed


def test_a_parent_of_runners_that_is_killed_again_and_again_ends_the_job_with_all_saved(
    program: Program, undisturbed: Any
) -> None:
    job = Sleeper(program)
    job.write_input(0.2, n_workers=2, max_retries=9)
    running = job.start_and_wait_for(2)
    for _ in range(3):
        begun = sum(job.tries().values())
        os.kill(running.nursery(0), signal.SIGKILL)
        running.wait_until(lambda begun=begun: sum(job.tries().values()) > begun + 3 or not running.running())
    finished = running.wait(SOON)
    assert finished.code == STOPPED, finished
    assert "was killed or ended 3 times (out of memory?)" in finished.err, finished
    assert not running.left_behind()
    assert len(job.saved()) >= sum(job.tries().values()) - 6, "all but what was being computed"
    assert bits_of(job.finish()) == undisturbed


# ---- stopped by SIGSTOP --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.mpi
def test_a_rank_that_stands_still_holds_up_neither_the_job_nor_its_end(
    program: Program, mpi: Mpi, undisturbed: Any
) -> None:
    job = Sleeper(program)
    job.write_input(0.1, heartbeat=2.0)
    running = job.start_and_wait_for(6, ranks=3)
    for pid in (running.ranks()[1], *running.runners(1)):
        os.kill(pid, signal.SIGSTOP)
    finished = running.wait(SOON)
    assert finished.code == 0, finished
    assert finished.err.count("rank 1 on ") == 1, finished
    assert "gives no sign of life; others get its tasks" in finished.err, finished
    assert "the others do not wait for it" in finished.err, finished
    assert not running.left_behind()
    assert len(set(job.saved())) == len(job.saved()) == job.n_tasks
    assert bits_of(program.read("input.result.json")) == undisturbed


@pytest.mark.slow
@pytest.mark.mpi
def test_a_rank_that_comes_back_is_believed_again_and_counted_once(
    program: Program, mpi: Mpi, undisturbed: Any
) -> None:
    job = Sleeper(program)
    job.write_input(0.2, heartbeat=1.5)
    running = job.start_and_wait_for(6, ranks=2)
    asleep = running.ranks()[1]
    os.kill(asleep, signal.SIGSTOP)  # its runner goes on, and has answers for it when it wakes
    running.wait_until(lambda: "gives no sign of life" in running.texts()[1])
    running.wait_until(lambda: max(job.tries().values()) == 2)
    os.kill(asleep, signal.SIGCONT)
    running.wait_until(lambda: "is back" in running.texts()[1])
    job.takes(0)
    finished = running.wait()
    assert finished.code == 0, finished
    assert "do not wait" not in finished.err, finished
    assert len(set(job.saved())) == len(job.saved()) == job.n_tasks
    assert bits_of(program.read("input.result.json")) == undisturbed
    assert set(job.tries().values()) == {1, 2}


@pytest.mark.slow
@pytest.mark.mpi
def test_a_rank_is_not_taken_for_silent_because_its_task_is_long(program: Program, mpi: Mpi) -> None:
    job = Sleeper(program, n_atoms=2, max_nbody=2)
    job.write_input(3.5, heartbeat=2.5)
    finished = job.start(ranks=3).wait()
    assert finished.code == 0, finished
    assert job.tries() == {"0": 1, "1": 1, "0-1": 1}
    assert "no sign of life" not in finished.err, finished


# ---- nothing stays behind ------------------------------------------------------------------------


def end_well(job: Sleeper, running: Job) -> Finished:
    job.takes(0)
    return running.wait()


def end_by_failure(job: Sleeper, running: Job) -> Finished:
    job.say("failing")
    return running.wait()


def end_by_interrupt(job: Sleeper, running: Job) -> Finished:
    running.signal(signal.SIGINT)
    return running.wait(SOON)


def end_by_two_interrupts(job: Sleeper, running: Job) -> Finished:
    job.say("hold")
    running.signal(signal.SIGINT)
    running.wait_until(lambda: "Ctrl-C stops at once" in running.texts()[1])
    running.signal(signal.SIGINT)
    return running.wait(8)


def end_by_kill(job: Sleeper, running: Job) -> Finished:
    running.signal(signal.SIGKILL)
    return running.wait(SOON)


ENDS = {end_well: 0, end_by_failure: 1, end_by_interrupt: 75, end_by_two_interrupts: 75, end_by_kill: -9}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_no_folder_program_or_lock_is_left_whichever_way_a_job_ends(program: Program, end: Any) -> None:
    job = Sleeper(program, n_atoms=3)
    scratch, temporary = program.folder / "scratch", program.folder / "tmp"
    for folder in (scratch, temporary):
        folder.mkdir()
    job.variables["TMPDIR"] = str(temporary)
    job.write_input(0.3, n_workers=2, scratch_dir=str(scratch), max_retries=0)
    job.say("litter")
    running = job.start_and_wait_for(2)
    assert os.listdir(scratch), "the engine leaves something behind"
    finished = end(job, running)
    assert finished.code == ENDS[end], finished
    assert not running.left_behind()
    assert (os.listdir(scratch), os.listdir(temporary)) == ([], [])
    locks = [] if end is not end_by_kill else ["input.checkpoint.h5.lock"]
    assert [name for name in program.files() if "lock" in name] == locks, (
        "one of a killed process hinders nobody"
    )
