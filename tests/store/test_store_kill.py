"""SIGKILL of the writer at any instant: what was reported saved is there."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from checkpoints import HERE, JOB, check_derivatives, numbers

from qcmb_mpi.store.checkpoint import Checkpoint
from qcmb_mpi.store.snapshot import read

ROUNDS = int(os.environ.get("QCMB_MPI_KILLS", "20"))

# Appends batches of one kind or another for ever, and says how far it is saved after each save.
WRITER = """
checkpoint = Checkpoint.open(sys.argv[1], **{**JOB, "n_tasks": int(sys.argv[2])})
done = len(checkpoint.rows())
print(done, flush=True)
sizes = np.random.default_rng(int(sys.argv[2])).integers(1, 40, 10**5).tolist()
for i, n in enumerate(sizes):
    kind = i % 3
    if kind == 0: checkpoint.append(make_rows(done, n))
    if kind == 1: checkpoint.append(make_rows(done, n, 36), values(done, n, 36))
    if kind == 2: checkpoint.append(make_rows(done, n, 6, 36), values(done, n, 6), values(done, n, 36))
    done += n
    checkpoint.save(sync=i % 50 == 0)
    print(done, flush=True)
"""


@pytest.mark.slow
def test_every_saved_row_survives(tmp_path):
    path = tmp_path / "job.h5"
    random = np.random.default_rng(11)
    head = f"import sys; sys.path.insert(0, {HERE!r})\nfrom checkpoints import *\n"
    for i in range(ROUNDS):
        command = [sys.executable, "-c", head + WRITER, str(path), str(1000 + i)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
            # Some are killed while they open, most while they write.
            if random.random() < 0.8:
                writer.stdout.readline()
            time.sleep(random.uniform(0, 0.15))
            writer.send_signal(signal.SIGKILL)
            out, err = writer.communicate()
        assert not err, err.decode()
        lines = out.split(b"\n")
        acknowledged = int(lines[-2]) if len(lines) > 1 else 0
        if not path.exists():
            continue
        if i % 7 == 0:
            assert set(range(acknowledged)) <= set(numbers(read(path).rows).tolist())
        with Checkpoint.open(path, **{**JOB, "n_tasks": 1000 + i}) as checkpoint:
            rows = checkpoint.rows()
            found = numbers(rows)
            # What follows is numbered by the count, so nothing may be missing or double before.
            assert len(found) >= acknowledged
            assert np.array_equal(found, np.arange(len(found)))
            if i % 5 == 4 or i == ROUNDS - 1:
                check_derivatives(checkpoint, rows[-3000:])
        assert not [name for name in os.listdir(tmp_path) if "damaged" in name]
    assert len(found) > 0


@pytest.mark.parametrize("flags", [1, 5])
def test_left_open_in_either_mode(tmp_path, flags):
    from qcmb_mpi.store import superblock

    path = tmp_path / "job.h5"
    Checkpoint.open(path, **JOB).close()
    block = superblock.Superblock.of(str(path))
    fields = list(superblock._LAYOUT.unpack(block.head))
    assert block.whole
    assert block.flags == 0
    fields[4] = flags
    text = superblock._LAYOUT.pack(*fields)[:-4]
    with open(path, "r+b") as file:
        file.write(text + superblock._lookup3(text).to_bytes(4, "little"))
    assert read(path).n_tasks == 1000
    with Checkpoint.open(path, **JOB) as checkpoint:
        assert "did not close" in checkpoint.warnings[0]
