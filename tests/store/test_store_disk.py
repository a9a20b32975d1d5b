"""Disks that are full and folders that cannot be written, with real file systems."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from checkpoints import JOB, check_derivatives, make_rows, numbers, run_child

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store.checkpoint import Checkpoint

KILOBYTE = 1024

# Writes until it cannot; says how much was acknowledged.  Ends as any program does.
FILLER = """
from qcmb_mpi.store.checkpoint import WriteFailed
checkpoint = Checkpoint.open(sys.argv[1], **JOB, scratch_dir=sys.argv[2])
n, length, done, saved = int(sys.argv[3]), int(sys.argv[4]), 0, 0
try:
    while True:
        checkpoint.append(make_rows(done, n, length), values(done, n, length))
        done += n
        checkpoint.save()
        saved = done
except WriteFailed as failure:
    print(saved, done, failure)
try:
    checkpoint.save()
except WriteFailed as failure:
    pass
checkpoint.close()
sys.exit(75)
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1.5 MB; ``small_disk(size)`` makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, str(disk)], capture_output=True).returncode

    if mount("-t", "tmpfs", "-o", "size=1500k", "tmpfs"):
        pytest.skip("mounting a file system is not permitted here")
    yield disk, lambda options: mount("-o", f"remount,{options}")
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(("n", "length"), [(1, 0), (16, 0), (1000, 0), (10, 9), (300, 9), (1, 20000)])
def test_a_full_disk_stops_the_job_and_loses_nothing(small_disk, tmp_path, n, length):
    disk, remount = small_disk
    path = disk / "job.h5"
    child = run_child(FILLER, path, tmp_path, n, length)
    assert child.returncode == 75, child.stderr
    assert child.stderr == ""
    _saved, done, message = child.stdout.split(maxsplit=2)
    assert "No space left on device" in message
    assert "rescue" in message
    assert not (disk / "job.h5.lock").exists()
    # Still full, to the last byte: refused, and nothing is lost by trying.
    with contextlib.suppress(OSError), open(disk / "more", "wb", buffering=0) as file:
        while file.write(bytes(KILOBYTE)):
            pass
    before = set(os.listdir(disk))
    with pytest.raises(StoreError, match=r"No space left.*Make room"):
        Checkpoint.open(path, **JOB, scratch_dir=tmp_path)
    assert set(os.listdir(disk)) == before
    remount("size=8m")
    with Checkpoint.open(path, **JOB, scratch_dir=tmp_path) as checkpoint:
        rows = checkpoint.rows()
        assert set(numbers(rows).tolist()) == set(range(int(done)))
        assert len(rows) == int(done)
        check_derivatives(checkpoint, rows)
        checkpoint.append(make_rows(int(done), 10))
    assert not [name for name in os.listdir(tmp_path) if "rescue" in name]


@pytest.fixture
def folder():
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def as_nobody(program, *arguments):
    """Run a program without root's rights, everything imported before they are given up."""
    head = (
        "import logging, os\nfrom qcmb_mpi.errors import StoreError\nfrom qcmb_mpi.store.hdf5 import hdf5\n"
    )
    return run_child(head + "hdf5(); os.setgid(65534); os.setuid(65534)\n" + program, *arguments)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
class TestReadOnlyFolder:
    def test_from_the_start(self, folder):
        program = "try: Checkpoint.open(sys.argv[1], **JOB)\nexcept StoreError as error: print(error)"
        os.chmod(folder, 0o555)
        child = as_nobody(program, folder / "job.h5")
        assert "cannot write here" in child.stdout, child.stderr

    def test_read_only_file(self, folder):
        path = folder / "job.h5"
        Checkpoint.open(path, **JOB).close()
        program = "try: Checkpoint.open(sys.argv[1], **JOB)\nexcept StoreError as error: print(error)"
        child = as_nobody(program, path)
        assert "cannot be opened for writing (Permission denied)" in child.stdout, child.stderr

    def test_while_writing(self, folder):
        """The open file can still be written; what cannot is left alone."""
        program = """
checkpoint = Checkpoint.open(sys.argv[1], **JOB)
os.chmod(os.path.dirname(sys.argv[1]), 0o555)
checkpoint.append(make_rows(0, 5))
checkpoint.close()
print("closed")
"""
        os.chown(folder, 65534, 65534)
        child = as_nobody(program, folder / "job.h5")
        assert child.stdout == "closed\n", child.stderr
        os.chmod(folder, 0o755)
        with Checkpoint.open(folder / "job.h5", **JOB) as checkpoint:
            assert len(checkpoint.rows()) == 5


@pytest.fixture
def failing_disk(tmp_path):
    """An ext4 file system in a file, and a function after which it answers with I/O errors."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    mount = ["mount", "-o", "loop", str(image), str(disk)]
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("making a file system is not permitted here")

    def again():
        subprocess.run(["umount", str(disk)], check=True)
        subprocess.run(mount, check=True)

    yield disk, again
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fails(failing_disk, tmp_path):
    """Linux lets ext4 answer every write with an error from one moment to the next."""
    disk, again = failing_disk
    path = disk / "job.h5"
    program = """
import fcntl, os, struct
from qcmb_mpi.store.checkpoint import WriteFailed
checkpoint = Checkpoint.open(sys.argv[1], **JOB, scratch_dir=sys.argv[2])
checkpoint.append(make_rows(0, 500)); checkpoint.save(sync=True)
folder = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
EXT4_IOC_SHUTDOWN = 0x8004587D
fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", 0))
checkpoint.append(make_rows(500, 50))
try:
    checkpoint.save(sync=True)
except WriteFailed as failure:
    print(failure)
sys.exit(75)
"""
    child = run_child(program, path, tmp_path)
    assert child.returncode == 75, child.stderr
    assert child.stderr == ""
    assert "Input/output error" in child.stdout
    assert str(tmp_path) in child.stdout
    again()
    with Checkpoint.open(path, **JOB, scratch_dir=tmp_path) as checkpoint:
        assert sorted(numbers(checkpoint.rows())) == list(range(550))
