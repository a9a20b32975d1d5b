"""What disks do to running jobs: whatever it is, the job ends in words and the same command goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from program import PATIENCE, Finished, Mpi, Program, bits_of
from sleeper import Sleeper, bits_undisturbed

STOPPED = 75
KILOBYTE = 1024

#: A file system without locks, for every Python that is started with this on its path.
NO_LOCKS = """
import errno, fcntl
def flock(fd, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a file system is not permitted here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of the result with nothing in its way."""
    return bits_undisturbed(Program(tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture
def disk(program: Program) -> Iterator[Path]:
    """A small file system of its own in the job's folder."""
    folder = program.folder / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Fill a file system to the last byte."""
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        while file.write(bytes(KILOBYTE)):
            pass


def has_stopped(finished: Finished, *words: str) -> None:
    assert finished.code == STOPPED, finished
    assert "Traceback" not in finished.err, finished
    assert "The same command goes on from there" in finished.err, finished
    for word in words:
        assert word in finished.err, finished


def goes_on(program: Program, job: Sleeper) -> Any:
    """The same command computes what was on its way when the job ended, and what it never began."""
    begun = len(job.tries())
    on_their_way = 2 * (1 + 0.4 / job.seconds)  # two workers, and what they have not handed over yet
    job.forget()
    job.takes(0)
    finished = job.start().wait()
    assert finished.code == 0, finished
    result = program.read(str(job.result))
    reused = result["provenance"]["tasks_reused"]
    assert begun - on_their_way <= reused <= begun
    assert sum(job.tries().values()) == job.n_tasks - reused
    assert len(set(job.saved())) == len(job.saved()) == job.n_tasks
    assert not list(program.folder.rglob("*.rescue"))
    return bits_of(result)


WAYS = [
    pytest.param({}, id="local"),
    pytest.param({"ranks": 2}, id="two ranks", marks=pytest.mark.mpi),
]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_disk_that_fills_up_under_a_job(
    program: Program, mpi: Mpi, disk: Path, way: dict[str, int]
) -> None:
    job = Sleeper(program, n_atoms=13, folder=disk)
    scratch = program.folder / "scratch"
    scratch.mkdir()
    job.write_input(0.02, n_workers=2, scratch_dir=str(scratch))
    running = job.start_and_wait_for(10, lambda: len(job.saved()) > 0, **way)
    fill(disk)
    finished = running.wait()
    has_stopped(finished, "No space left on device", str(scratch))
    assert len(job.tries()) < job.n_tasks
    assert not running.left_behind()
    assert not (disk / "input.checkpoint.h5.lock").exists()
    (disk / "filler").unlink()
    goes_on(program, job)


@pytest.fixture
def turning_disk(program: Program) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """An ext4 file system, a function that makes the kernel turn it read-only, and one that repairs it."""
    image, folder = program.folder / "image", program.folder / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4 here")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)

    def mount_it() -> None:
        mount("-o", "loop,errors=remount-ro", str(image), str(folder))

    def turn() -> None:
        device = Path(os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test\n")

    def repair() -> None:
        subprocess.run(["umount", str(folder)], check=True)
        subprocess.run(["e2fsck", "-fy", str(image)], check=False, capture_output=True)
        mount_it()

    mount_it()
    number = os.stat(folder).st_dev
    yield folder, turn, repair
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_turns_read_only_under_a_job(
    program: Program, turning_disk: Any, undisturbed: Any
) -> None:
    folder, turn, repair = turning_disk
    job = Sleeper(program, folder=folder)
    job.variables["TMPDIR"] = str(program.folder)
    job.write_input(0.2, n_workers=2)
    os.sync()
    running = job.start_and_wait_for(4, lambda: len(job.saved()) > 0)
    turn()
    finished = running.wait()
    # what is said of the result, which cannot be written either, must not hide what is to be done
    has_stopped(finished, "Read-only file system", "rescue", "could not be written to")
    assert not running.left_behind()
    again = job.start().wait()
    assert again.code == 2, again
    assert "Read-only file system" in again.err, again
    repair()
    assert goes_on(program, job) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_checkpoint_that_is_deleted_under_a_job(program: Program, undisturbed: Any, what: str) -> None:
    folder = program.folder / "work"
    folder.mkdir()
    job = Sleeper(program, folder=folder)
    job.variables["TMPDIR"] = str(program.folder)
    job.write_input(0.2, n_workers=2)
    content = (folder / "input.json").read_text()
    running = job.start_and_wait_for(4, lambda: len(job.saved()) > 0)
    if what == "file":
        job.checkpoint.unlink()
    else:
        shutil.rmtree(folder)
    finished = running.wait()
    has_stopped(finished, "deleted or replaced", "all its finished tasks are in", ".rescue")
    assert not running.left_behind()
    folder.mkdir(exist_ok=True)
    (folder / "input.json").write_text(content)
    assert goes_on(program, job) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "locks"),
    [
        pytest.param({}, True, id="local, with locks"),
        pytest.param({"ranks": 2}, False, id="two ranks, without locks", marks=pytest.mark.mpi),
    ],
)
def test_of_two_jobs_on_one_checkpoint_one_computes_and_the_other_says_who(
    program: Program, mpi: Mpi, way: dict[str, int], locks: bool
) -> None:
    job = Sleeper(program)
    job.write_input(0, n_workers=2)
    job.say("hold")
    path = [str(program.folder / "no_locks"), os.environ.get("PYTHONPATH", "")]
    (program.folder / "no_locks").mkdir()
    program.write("no_locks/sitecustomize.py", "" if locks else NO_LOCKS)
    job.variables["PYTHONPATH"] = ":".join(filter(None, path))
    jobs = [job.start(**way) for _ in range(2)]
    end = time.monotonic() + PATIENCE
    while all(running.running() for running in jobs) and time.monotonic() < end:
        time.sleep(0.02)
    job.release()
    winner, loser = sorted((running.wait() for running in jobs), key=lambda finished: finished.code)
    assert (winner.code, loser.code) == (0, 2), (winner, loser)
    assert "this checkpoint " in loser.err, loser
    assert " by process " in loser.err, loser
    assert "--checkpoint" in loser.err, loser
    assert "Traceback" not in loser.err, loser
    assert set(job.tries().values()) == {1}
    assert len(job.tries()) == len(set(job.saved())) == len(job.saved()) == job.n_tasks
    assert not [name for name in program.files() if "lock" in name.replace("no_locks", "")]


@pytest.mark.slow
def test_a_lock_without_flock_is_renewed_while_a_long_task_has_nothing_to_save(program: Program) -> None:
    job = Sleeper(program, n_atoms=1, max_nbody=1)
    job.write_input(60)
    (program.folder / "no_locks").mkdir()
    program.write(
        "no_locks/sitecustomize.py",
        NO_LOCKS + "import qcmb_mpi.store.lock as lock\nlock.BEAT_EVERY = 0.5\n",
    )
    path = [str(program.folder / "no_locks"), os.environ.get("PYTHONPATH", "")]
    job.variables["PYTHONPATH"] = ":".join(filter(None, path))
    running = job.start_and_wait_for(1)
    lock = program.folder / "input.checkpoint.h5.lock"
    long_ago = time.time() - 50
    os.utime(lock, (long_ago, long_ago))
    running.wait_until(lambda: lock.stat().st_mtime > long_ago + 10, seconds=20)
    second = job.start().wait()
    assert second.code == 2, second
    assert "is being written by process" in second.err, second
    running.kill()
