"""Two jobs, one checkpoint."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest
from checkpoints import HERE, JOB, make_rows

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store import lock
from qcmb_mpi.store.checkpoint import Checkpoint, WriteFailed
from qcmb_mpi.store.snapshot import read


@pytest.fixture
def path(tmp_path):
    return tmp_path / "job.h5"


def no_flock(fd):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_second_writer_is_told_who_the_first_is(path, monkeypatch, overwrite):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    with Checkpoint.open(path, **JOB) as checkpoint:
        checkpoint.append(make_rows(0, 3))
        checkpoint.save()
        with pytest.raises(StoreError, match=f"process {os.getpid()} on host .*, job 4711"):
            Checkpoint.open(path, **JOB, overwrite=overwrite)
        checkpoint.append(make_rows(3, 3))
    assert len(read(path).rows) == 6


def test_two_names_of_one_file(path):
    other = path.parent / "other.h5"
    other.symlink_to(path)
    with Checkpoint.open(path, **JOB), pytest.raises(StoreError, match="being written"):
        Checkpoint.open(other, **JOB)


RACER = """
import time
from qcmb_mpi.errors import StoreError
from qcmb_mpi.store import lock
if sys.argv[3] == "heartbeat":
    def no_flock(fd):
        raise OSError(37, "No locks available")
    lock._flock = no_flock
time.sleep(max(0, float(sys.argv[2]) - time.time()))
try:
    checkpoint = Checkpoint.open(sys.argv[1], **JOB)
except StoreError as error:
    print("refused", error)
else:
    time.sleep(1.5)
    checkpoint.append(make_rows(0, 1)); checkpoint.close(); print("won")
"""


@pytest.mark.parametrize("kind", ["flock", "heartbeat"])
def test_of_many_starters_one_wins(path, kind):
    head = f"import sys; sys.path.insert(0, {HERE!r})\nfrom checkpoints import *\n"
    command = [sys.executable, "-c", head + RACER, str(path), str(time.time() + 1.5), kind]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    results = [racer.communicate(timeout=60) for racer in racers]
    assert sorted(out.split()[0] for out, _ in results) == ["refused"] * 3 + ["won"], results
    assert os.listdir(path.parent) == [path.name]


def test_heartbeat_is_renewed_and_a_stale_one_taken_over(path, monkeypatch):
    monkeypatch.setattr(lock, "_flock", no_flock)
    monkeypatch.setattr(lock, "SETTLE", 0.01)
    checkpoint = Checkpoint.open(path, **JOB)
    file = path.parent / "job.h5.lock"
    assert json.loads(file.read_text())["pid"] == os.getpid()
    os.utime(file, (time.time() - 50,) * 2)
    with pytest.raises(StoreError, match=r"being written by process .* seen alive 50 s ago"):
        Checkpoint.open(path, **JOB)
    monkeypatch.setattr(lock, "BEAT_EVERY", 0.0)
    checkpoint.save()
    assert time.time() - file.stat().st_mtime < 30
    os.utime(file, (time.time() - 100,) * 2)
    second = lock.WriterLock(path)
    # The first one wakes up: it must write no more, and must not take the other's lock away.
    checkpoint.append(make_rows(0, 2))
    with pytest.raises(WriteFailed, match=r"taken over|Stale"):
        checkpoint.save()
    assert file.exists()
    second.release()
    assert not file.exists()


def test_a_killed_holder_hinders_nobody(path):
    file = path.parent / "job.h5.lock"
    file.write_text(json.dumps({"host": "gone", "pid": 1, "job": None, "started": "then"}))
    Checkpoint.open(path, **JOB).close()
    assert not file.exists()


def test_a_lock_removed_by_its_last_holder_is_not_taken_for_ours(path, monkeypatch):
    file = path.parent / "job.h5.lock"
    real = lock._flock
    calls = []

    def late(fd):
        if not calls:
            file.unlink()
        calls.append(fd)
        real(fd)

    monkeypatch.setattr(lock, "_flock", late)
    held = lock.WriterLock(path)
    assert len(calls) == 2
    assert held._is_at_path(held._fd)
    held.release()
    assert not file.exists()
