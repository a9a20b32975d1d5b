"""Appending, saving, resuming; what plain h5py sees."""

import json
import os

import h5py
import numpy as np
import pytest
from checkpoints import JOB, check_derivatives, make_rows, numbers, run_child, values

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store.checkpoint import Checkpoint, WriteFailed
from qcmb_mpi.store.format import FAILURE
from qcmb_mpi.store.memory import Memory
from qcmb_mpi.store.rescue import Batch, leave_batches
from qcmb_mpi.store.snapshot import read
from qcmb_mpi.store.status import read_status, status_path, write_status


@pytest.fixture
def path(tmp_path):
    return tmp_path / "job.checkpoint.h5"


def fill(checkpoint):
    """Tasks 0-9: energies, 10-19: gradients, 20-29: Hessians and gradients, 30-34: Hessians only."""
    checkpoint.append(make_rows(0, 10))
    checkpoint.append(make_rows(10, 10, 6), values(10, 10, 6))
    checkpoint.append(make_rows(20, 10, 6, 36), values(20, 10, 6), values(20, 10, 36))
    checkpoint.append(make_rows(30, 5, hessian=36), hessians=values(30, 5, 36))
    failure = np.zeros(1, FAILURE)
    failure["key"] = make_rows(77, 1)["key"]
    failure["message"] = b"did not converge"
    checkpoint.append_failures(failure)
    checkpoint.append_records(np.arange(4, dtype=np.uint64).reshape(2, 2) + np.uint64(1), [b"one", b"three"])


def test_what_was_saved_is_there_again(path):
    with Checkpoint.open(path, **JOB) as checkpoint:
        fill(checkpoint)
        assert checkpoint.pending == 35
        checkpoint.save()
        assert checkpoint.pending == 0
    assert os.listdir(path.parent) == [path.name]
    with Checkpoint.open(path, **JOB) as checkpoint:
        rows = checkpoint.rows()
        assert numbers(rows).tolist() == list(range(35))
        check_derivatives(checkpoint, rows)
        check_derivatives(checkpoint, rows[np.random.default_rng(0).permutation(35)])
        assert np.array_equal(checkpoint.read_gradients(rows[12:14]), values(12, 2, 6))
        assert np.array_equal(checkpoint.read_hessians(rows[21:22]), values(21, 1, 36))
        row = rows[15]
        assert np.array_equal(checkpoint.gradients(row["offset"], row["length"]), values(15, 1, 6))
        checkpoint.append(make_rows(35, 5))
        assert len(checkpoint.rows()) == 40
        assert checkpoint.warnings == []
    snapshot = read(path)
    assert len(snapshot.rows) == 40
    assert snapshot.failures["message"].tolist() == [b"did not converge"]
    assert [content for _, content in snapshot.records()] == [b"one", b"three"]
    assert json.loads(snapshot.input_text)["max_nbody"] == 2


def test_plain_h5py_reads_a_live_file(path):
    with Checkpoint.open(path, **JOB) as checkpoint:
        fill(checkpoint)
        checkpoint.save()
        program = """
import h5py
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    assert file.attrs["format"] == "qcmb_mpi.checkpoint" and file.attrs["format_version"] == 1
    rows = file["results"][:]
    names = "key energy wall cpu rank host attempt finished offset length".split()
    assert list(rows.dtype.names[:10]) == names and rows.dtype["key"].itemsize == 16
    row = rows[15]
    second = file["gradients"][row["offset"] : row["offset"] + row["length"]][1]
    print(len(rows), second, file["input"][()].decode())
"""
        child = run_child(program, path, env={**os.environ, "HDF5_USE_FILE_LOCKING": "FALSE"})
        assert child.stdout.startswith("35 15.0009"), child.stderr
        assert json.loads(child.stdout.split(maxsplit=2)[2])["molecule"] == "water"
        assert len(read(path).rows) == 35
        checkpoint.append(make_rows(35, 5))
        checkpoint.save()
        assert len(read(path).rows) == 40


def test_lengths_must_fit(path):
    with Checkpoint.open(path, **JOB) as checkpoint:
        with pytest.raises(ValueError, match="5 gradient"):
            checkpoint.append(make_rows(0, 1, 6), np.zeros(5))
        assert checkpoint.pending == 0


def test_another_problem_is_refused_with_the_difference(path):
    Checkpoint.open(path, **JOB).close()
    other = {**JOB, "fingerprint": {"molecule": "m2", "levels": "l1"}}
    with pytest.raises(StoreError, match=r"differ in molecule \(m1 there, m2 here\)"):
        Checkpoint.open(path, **other)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("size", [20, 100_000])
def test_the_same_problem_may_grow(path, size):
    with Checkpoint.open(path, **JOB) as checkpoint:
        fill(checkpoint)
    text = json.dumps({"more": "x" * size})
    with Checkpoint.open(path, **{**JOB, "n_tasks": 5000, "input_text": text}) as checkpoint:
        assert len(checkpoint.rows()) == 35
        checkpoint.append(make_rows(35, 1))
    snapshot = read(path)
    assert (snapshot.n_tasks, snapshot.input_text, len(snapshot.rows)) == (5000, text, 36)


def test_overwrite_begins_again(path):
    with Checkpoint.open(path, **JOB) as checkpoint:
        fill(checkpoint)
    leave_batches(path, None, lambda: iter([Batch(make_rows(50, 3))]))
    other = {**JOB, "fingerprint": {"molecule": "m2"}}
    with Checkpoint.open(path, **other, overwrite=True) as checkpoint:
        assert len(checkpoint.rows()) == 0
    assert os.listdir(path.parent) == [path.name]


def make_text(path):
    path.write_text("results of years\n" * 1000)


def make_hdf5(path):
    with h5py.File(path, "w") as file:
        file["results"] = np.arange(5)


@pytest.mark.parametrize("make", [make_text, make_hdf5, lambda path: path.mkdir()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_are_refused_and_kept(path, make, overwrite):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=str(path)):
        Checkpoint.open(path, **JOB, overwrite=overwrite)
    with pytest.raises(StoreError, match=str(path)):
        read(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert os.listdir(path.parent) == [path.name]


def test_an_empty_file_is_begun_anew(path):
    path.touch()
    with Checkpoint.open(path, **JOB) as checkpoint:
        assert "empty" in checkpoint.warnings[0]
        checkpoint.append(make_rows(0, 3))
    assert len(read(path).rows) == 3


def test_rescued_rows_are_taken_in_once(path):
    with Checkpoint.open(path, **JOB) as checkpoint:
        fill(checkpoint)
        known = checkpoint.rows()
    old = Batch(known[8:12], values(10, 2, 6))
    new = Batch(make_rows(40, 3, 6), values(40, 3, 6))
    place = leave_batches(path, None, lambda: iter([old, new]))
    with open(place, "ab") as file:
        file.write(b"qcmbresc torn")
    leave_batches(path, None, lambda: iter([Batch(make_rows(50, 2)), Batch(make_rows(50, 2))]))
    with Checkpoint.open(path, **JOB) as checkpoint:
        rows = checkpoint.rows()
        assert numbers(rows).tolist() == [*range(35), 40, 41, 42, 50, 51]
        check_derivatives(checkpoint, rows)
        assert "5 finished tasks taken in" in checkpoint.warnings[0]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("replace", [False, True])
def test_deleted_while_writing_everything_is_kept(path, replace):
    checkpoint = Checkpoint.open(path, **JOB)
    fill(checkpoint)
    checkpoint.save(sync=True)
    path.unlink()
    if replace:
        make_text(path)
    checkpoint.append(make_rows(35, 2))
    with pytest.raises(WriteFailed, match=r"deleted|No such file") as failure:
        checkpoint.save()
    assert f"{path}.rescue" in str(failure.value)
    checkpoint.close()
    with pytest.raises(WriteFailed):
        checkpoint.save()
    path.unlink(missing_ok=True)
    with Checkpoint.open(path, **JOB) as again:
        rows = again.rows()
        assert numbers(rows).tolist() == list(range(37))
        check_derivatives(again, rows)
        assert len(again.failures()) == 1
    assert [content for _, content in read(path).records()] == [b"one", b"three"]
    assert os.listdir(path.parent) == [path.name]


def test_a_sync_that_fails_rescues_all_since_the_last_good_one(path, monkeypatch, tmp_path):
    checkpoint = Checkpoint.open(path, **JOB, scratch_dir=tmp_path)
    checkpoint.append(make_rows(0, 10))
    checkpoint.save(sync=True)
    checkpoint.append(make_rows(10, 10))
    checkpoint.save()
    checkpoint.append(make_rows(20, 5))

    def fail():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoint._writer, "sync", fail)
    with pytest.raises(WriteFailed, match=r"Input/output error.*last 15 finished tasks"):
        checkpoint.save(sync=True)
    with Checkpoint.open(path, **JOB) as again:
        assert sorted(numbers(again.rows())) == list(range(25))


def test_status_is_replaced_whole(path):
    assert read_status(path) is None
    assert write_status(path, {"done": 1})
    assert write_status(path, {"done": 2})
    assert read_status(path) == {"done": 2}
    # half of one that a killed writer has left does not stay
    status_path(path).with_name(f"{status_path(path).name}.new").write_text('{"do')
    assert write_status(path, {"done": 3})
    assert read_status(path) == {"done": 3}
    assert len(os.listdir(path.parent)) == 1
    assert not write_status(path / "nowhere", {})


@pytest.mark.parametrize("kind", [Checkpoint, Memory])
def test_one_append_may_mix_rows_with_and_without_derivatives(kind, tmp_path):
    store = Memory() if kind is Memory else Checkpoint.open(tmp_path / "x.h5", **JOB)
    parts = [make_rows(0, 2, 6, 36), make_rows(2, 1, hessian=36), make_rows(3, 1), make_rows(4, 2, 6, 36)]
    store.append(
        np.concatenate(parts),
        np.concatenate([values(0, 2, 6), values(4, 2, 6)]),
        np.concatenate([values(0, 2, 36), values(2, 1, 36), values(4, 2, 36)]),
    )
    store.save()
    rows = store.rows()[::-1]  # each found by its address, not by its place
    pieces = [piece[1:] for piece in store.stream(rows)]
    gradients, hessians = (np.concatenate(part) for part in zip(*pieces, strict=True))
    assert gradients.tolist() == [*values(5, 1, 6), *values(4, 1, 6), *values(1, 1, 6), *values(0, 1, 6)]
    assert hessians.reshape(-1, 36).tolist() == [values(n, 1, 36).tolist() for n in (5, 4, 2, 1, 0)]
    store.close()
