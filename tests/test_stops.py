"""Signals that ask a job to stop, from its first moment on; a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import time

import pytest
from program import Mpi, Program
from sleeper import Sleeper

STOPPED = 75
SOON = 20.0  # s in which a job has to be over on a busy machine; it takes a second or two on a quiet one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param("SIGTERM", {}, id="SIGTERM, local"),
        pytest.param("SIGINT", {}, id="SIGINT, local"),
        pytest.param("SIGUSR1", {}, id="SIGUSR1, local"),
        pytest.param("SIGUSR1", {"ranks": 3}, id="SIGUSR1, three ranks", marks=pytest.mark.mpi),
    ],
)
def test_a_signal_before_the_first_task_stops_the_job_as_one_later_does(
    program: Program, mpi: Mpi, name: str, way: dict[str, int]
) -> None:
    job = Sleeper(program)
    job.write_input(0)
    job.say("import", "1.0")
    running = job.start(**way)
    running.wait_until(lambda: (job.folder / "importing").exists())
    running.signal(signal.Signals[name])
    finished = running.wait(SOON)
    assert finished.code == STOPPED, finished
    assert f"stopped early (signal {name}) before the first task" in finished.err, finished
    assert "Traceback" not in finished.err, finished
    assert not running.left_behind()
    assert job.tries() == {}


def test_a_second_interrupt_before_the_first_task_ends_the_job_at_once(program: Program) -> None:
    job = Sleeper(program)
    job.write_input(0)
    job.say("import", "60")
    running = job.start()
    running.wait_until(lambda: (job.folder / "importing").exists())
    running.signal(signal.SIGINT)
    time.sleep(0.2)  # one that has not been taken yet is not counted again
    running.signal(signal.SIGINT)
    finished = running.wait(8)
    assert finished.code == STOPPED, finished
    assert finished.err == "qcmb_mpi: interrupted; what was saved stays\n"
    assert not running.left_behind()


@pytest.mark.mpi
def test_two_interrupts_at_the_terminal_end_an_mpi_job_at_once(program: Program, mpi: Mpi) -> None:
    job = Sleeper(program)
    job.write_input(0.2)
    running = job.start_and_wait_for(6, lambda: job.checkpoint.exists(), ranks=2)
    running.wait_until(lambda: len(job.saved()) > 0)
    job.say("hold")
    running.interrupt()
    time.sleep(0.5)
    running.interrupt()
    # a single one waits ten seconds for what is being computed; the exit code is the launcher's own
    finished = running.wait(8)
    assert "Traceback" not in finished.err, finished
    assert not job.result.exists(), "nothing says that it had finished"
    assert not running.left_behind()
    job.release()
    job.finish()
