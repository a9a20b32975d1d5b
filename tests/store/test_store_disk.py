"""Disks that are full and folders that cannot be written, with real file systems."""

import os
import subprocess

import pytest
from checkpoints import HERE, JOB, check_derivatives, make_rows, numbers, run_child

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
    saved, done, message = child.stdout.split(maxsplit=2)
    assert "No space left on device" in message
    assert "rescue" in message
    assert not (disk / "job.h5.lock").exists()
    with pytest.raises(StoreError, match="No space left|Make room"):
        for _ in range(3):
            # What little room there is may suffice for the last rows.
            Checkpoint.open(path, **JOB, scratch_dir=tmp_path).close()
            (disk / "more").write_bytes(bytes(4 * KILOBYTE))
    remount("size=8m")
    with Checkpoint.open(path, **JOB, scratch_dir=tmp_path) as checkpoint:
        rows = checkpoint.rows()
        assert set(numbers(rows).tolist()) == set(range(int(done)))
        assert len(rows) == int(done)
        check_derivatives(checkpoint, rows)
        checkpoint.append(make_rows(int(done), 10))
    assert not [name for name in os.listdir(tmp_path) if "rescue" in name]


# As a user without root's rights, to whom a folder can be closed.
LOCKED_OUT = """
import os
os.setuid(65534)
"""


def as_nobody(program, *arguments):
    head = f"import sys; sys.path.insert(0, {HERE!r})\nfrom checkpoints import *\n"
    head += "import os; os.setgid(65534); os.setuid(65534)\nfrom qcmb_mpi.errors import StoreError\n"
    return run_child("import os\n" + head + program, *arguments)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
class TestReadOnlyFolder:
    def test_from_the_start(self, tmp_path):
        program = "try: Checkpoint.open(sys.argv[1], **JOB)\nexcept StoreError as error: print(error)"
        os.chmod(tmp_path, 0o555)
        child = as_nobody(program, tmp_path / "job.h5")
        assert "cannot write here" in child.stdout, child.stderr

    def test_read_only_file(self, tmp_path):
        path = tmp_path / "job.h5"
        Checkpoint.open(path, **JOB).close()
        os.chmod(tmp_path, 0o777)
        program = "try: Checkpoint.open(sys.argv[1], **JOB)\nexcept StoreError as error: print(error)"
        child = as_nobody(program, path)
        assert "cannot be opened for writing (Permission denied)" in child.stdout, child.stderr

    def test_while_writing(self, tmp_path):
        """The open file can still be written; what cannot is left alone."""
        os.chmod(tmp_path, 0o777)
        program = """
checkpoint = Checkpoint.open(sys.argv[1], **JOB)
os.chmod(os.path.dirname(sys.argv[1]), 0o555)
checkpoint.append(make_rows(0, 5))
checkpoint.close()
print("closed")
"""
        folder = tmp_path / "mine"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        child = as_nobody(program, folder / "job.h5")
        assert child.stdout == "closed\n", child.stderr
        os.chmod(folder, 0o755)
        with Checkpoint.open(folder / "job.h5", **JOB) as checkpoint:
            assert len(checkpoint.rows()) == 5


def test_a_file_system_that_turns_read_only(small_disk, tmp_path):
    """As Linux does after an error of the disk: writes fail from one moment to the next."""
    disk, _ = small_disk
    path = disk / "job.h5"
    program = """
import subprocess
from qcmb_mpi.store.checkpoint import WriteFailed
checkpoint = Checkpoint.open(sys.argv[1], **JOB, scratch_dir=sys.argv[2])
checkpoint.append(make_rows(0, 5)); checkpoint.save(sync=True)
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]), -1))
done = 5
try:
    while True:
        checkpoint.append(make_rows(done, 50)); done += 50; checkpoint.save()
except WriteFailed as failure:
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    print(done, failure)
"""
    child = run_child("import os\n" + program, path, tmp_path)
    assert "File too large" in child.stdout, child.stderr
    with Checkpoint.open(path, **JOB, scratch_dir=tmp_path) as checkpoint:
        assert set(numbers(checkpoint.rows()).tolist()) == set(range(int(child.stdout.split()[0])))
