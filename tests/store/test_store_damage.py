"""Truncated and bit-flipped checkpoints: resumed, salvaged, or refused in words; never a wrong number."""

import contextlib
import os
import shutil

import numpy as np
import pytest
from checkpoints import JOB, check_derivatives, make_rows, numbers, values
from damage import ask_forked, damage

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store import salvage
from qcmb_mpi.store.checkpoint import Checkpoint
from qcmb_mpi.store.snapshot import read

ROUNDS = int(os.environ.get("QCMB_MPI_FUZZ", "60"))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A checkpoint with 1,000 rows, left open in one copy and closed in the other."""
    folder = tmp_path_factory.mktemp("original")
    path = folder / "closed.h5"
    checkpoint = Checkpoint.open(path, **JOB)
    for first in range(0, 400, 40):
        checkpoint.append(make_rows(first, 40))
    for first in range(400, 800, 40):
        checkpoint.append(make_rows(first, 40, 9), values(first, 40, 9))
    for first in range(800, 1000, 40):
        checkpoint.append(make_rows(first, 40, 6, 36), values(first, 40, 6), values(first, 40, 36))
        checkpoint.save()
    checkpoint.append_records(np.arange(20, dtype=np.uint64).reshape(10, 2), [b"record" * 50] * 10)
    checkpoint.save(sync=True)
    shutil.copy(path, folder / "open.h5")
    checkpoint.close()
    return folder


def resume(path):
    """Resume it; the rows found, or None where it was refused in words."""
    try:
        with Checkpoint.open(path, **JOB) as checkpoint:
            rows = checkpoint.rows()
            found = numbers(rows)
            assert len(set(found.tolist())) == len(found)
            assert set(found.tolist()) <= set(range(1000))
            check_derivatives(checkpoint, rows)
            assert len(found) == 1000 or checkpoint.warnings
            checkpoint.append(make_rows(2000, 20))
    except StoreError as error:
        refused = str(error)
    else:
        assert len(read(path).rows) >= len(found) + 20
        return found
    assert str(path) in refused
    return None


@pytest.mark.slow
def test_fuzz(original, tmp_path, monkeypatch):
    spawned = salvage._ask_child
    random = np.random.default_rng(2026)
    kept = {"cut": [], "flip": []}
    for i in range(ROUNDS):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = folder / "job.h5"
        shutil.copy(original / ("open.h5" if i % 2 else "closed.h5"), path)
        kind = damage(path, random)
        monkeypatch.setattr(salvage, "_ask_child", ask_forked if i % 20 else spawned)
        if i % 10 == 0:
            with contextlib.suppress(StoreError):
                numbers(read(path).rows)
        found = resume(path)
        kept[kind].append(0 if found is None else len(found))
        shutil.rmtree(folder)
    print({kind: (len(n), np.mean(n), sum(x == 0 for x in n)) for kind, n in kept.items()})
    assert np.mean(kept["flip"]) > 500


def test_a_flip_in_a_derivative_costs_that_task_alone(original, tmp_path):
    path = tmp_path / "job.h5"
    shutil.copy(original / "closed.h5", path)
    content = bytearray(path.read_bytes())
    at = content.find(values(500, 1, 9).tobytes())
    content[at + 11] ^= 4
    path.write_bytes(content)
    with Checkpoint.open(path, **JOB) as checkpoint:
        assert set(range(1000)) - set(numbers(checkpoint.rows()).tolist()) == {500}
        assert "1 of 1000 rows" in checkpoint.warnings[0]
    snapshot = read(path)
    with pytest.raises(StoreError, match="derivatives in this checkpoint are damaged"):
        list(snapshot.stream(snapshot.rows))


def test_a_cut_file_gives_what_is_left_of_it(original, tmp_path):
    path = tmp_path / "job.h5"
    shutil.copy(original / "closed.h5", path)
    os.truncate(path, path.stat().st_size - 1)
    found = resume(path)
    assert len(found) > 900
    assert (tmp_path / "job.h5.damaged").exists()


def test_energies_are_found_without_the_structure(tmp_path):
    path = tmp_path / "job.h5"
    with Checkpoint.open(path, **JOB) as checkpoint:
        checkpoint.append(make_rows(0, 1000))
    content = bytearray(path.read_bytes())
    content[48:3000] = bytes(2952)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read"):
        read(path)
    with Checkpoint.open(path, **JOB) as checkpoint:
        assert len(numbers(checkpoint.rows())) == 1000
        assert "1000 finished tasks were salvaged" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes"),
        ("import time; time.sleep(60)", "end"),
    ],
)
def test_a_library_that_crashes_or_hangs_does_not_take_us_along(original, tmp_path, monkeypatch, code, words):
    path = tmp_path / "job.h5"
    shutil.copy(original / "closed.h5", path)
    monkeypatch.setattr(salvage, "START", 1.0)
    monkeypatch.setattr(salvage, "_PROGRAM", code)
    with pytest.raises(StoreError, match=words):
        Checkpoint.open(path, **JOB)
    assert path.exists()
