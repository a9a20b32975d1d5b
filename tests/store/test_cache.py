"""The folder of answers that jobs share: what is put in comes out, whatever happens to files and writers."""

import logging
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import HERE, check_derivatives, make_rows, numbers, values

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store import cache as module
from qcmb_mpi.store.cache import Cache
from qcmb_mpi.store.format import ENERGY_ONLY, HESSIAN_ONLY, payload_lengths, split_keys
from qcmb_mpi.store.rescue import Batch
from qcmb_mpi.store.segment import match

#: Keys of tasks as the rows of the tests have them.
ALL_KEYS = split_keys(make_rows(0, 1_000_000)["key"])
KEYS = SimpleNamespace(of=lambda tasks: ALL_KEYS[tasks])
LENGTHS = {"energy": (0, 0), "gradient": (6, 0), "Hessian": (0, 36), "both": (6, 36)}


def open_cache(folder, repeats=True):
    return Cache(folder, KEYS, repeats)


def batch_of(first, n, kind="energy"):
    n_gradient, n_hessian = LENGTHS[kind]
    rows = make_rows(first, n, n_hessian or n_gradient)
    rows["gradient_offset"] = {"both": 0, "Hessian": HESSIAN_ONLY}.get(kind, ENERGY_ONLY)
    rows["note"] = b"sturdier"
    rows["wall"] = 2.5
    return Batch(rows, values(first, n, n_gradient), values(first, n, n_hessian))


def contribute(folder, first, n, kind="energy", repeats=True):
    """What one job does; the file it leaves."""
    before = set(files(folder))
    cache = open_cache(folder, repeats)
    cache.add(np.arange(first, first + n), batch_of(first, n, kind))
    cache.close(tidy=False)
    (new,) = set(files(folder)) - before
    return folder / new


def files(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def found(folder, tasks):
    """Which of some tasks are found; everything about them is checked."""
    everything = []
    for some, batch in open_cache(folder).find(np.asarray(tasks)):
        assert np.array_equal(numbers(batch.rows), some)
        assert set(batch.rows["note"]) == {b"sturdier"}
        assert set(batch.rows["wall"]) == {2.5}
        whole = slice(0, len(some))
        stream = SimpleNamespace(stream=lambda *_, b=batch, w=whole: [(w, b.first, b.second)])
        check_derivatives(stream, batch.rows)
        everything += some.tolist()
    return everything


@pytest.mark.parametrize("kind", LENGTHS)
def test_what_one_job_contributes_another_finds(tmp_path, kind):
    folder = tmp_path / "cache"
    contribute(folder, 0, 500, kind)
    contribute(folder, 400, 300, kind)
    wanted = np.random.default_rng(3).permutation(1000)[:600]
    assert sorted(found(folder, wanted)) == sorted(wanted[wanted < 700].tolist())


def test_a_batch_has_one_kind_of_derivatives(tmp_path):
    cache = open_cache(tmp_path)
    for i, kind in enumerate(["both", "Hessian", "gradient", "both", "Hessian"]):
        cache.add(np.arange(10 * i, 10 * i + 10), batch_of(10 * i, 10, kind))
    cache.contribute()
    assert len(files(tmp_path)) == 1
    for _, batch in open_cache(tmp_path).find(np.arange(50)):
        lengths = payload_lengths(batch.rows)
        assert len({(g > 0, h > 0) for g, h in zip(*lengths, strict=True)}) == 1
    assert sorted(found(tmp_path, range(50))) == list(range(50))


def test_two_tasks_of_one_key_are_both_answered(tmp_path):
    contribute(tmp_path, 0, 5)
    contribute(tmp_path, 7, 300)
    assert sorted(found(tmp_path, [3, 3, 9, 9, 9, 8])) == [3, 3, 8, 9, 9, 9]


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (3, 400), (400, 3), (200, 200)])
def test_matching_is_intersection(n, m):
    random = np.random.default_rng(n + m)
    wanted = np.sort(random.integers(0, 500, n, np.uint64))
    lows = np.unique(random.integers(0, 500, m, np.uint64))
    first, second = match(wanted, lows)
    assert np.array_equal(first, np.flatnonzero(np.isin(wanted, lows)))
    assert np.array_equal(lows[second], wanted[first])


def test_contributions_wait_for_a_minute_and_grow_rarer(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    cache = open_cache(tmp_path)
    times = []
    for second in range(0, 24 * 3600, 30):
        clock[0] = 1000.0 + second
        n = len(files(tmp_path))
        cache.add(np.array([second]), batch_of(second, 1))
        if len(files(tmp_path)) > n:
            times.append(second)
    assert min(np.diff(times)) >= 60
    assert times[0] == 60
    assert len(times) < 150


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 90_000), ("MOST_ROWS", 499)])
def test_much_waiting_is_contributed_before_the_minute(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(module, limit, value)
    cache = open_cache(tmp_path)
    cache.add(np.arange(100), batch_of(0, 100))
    assert files(tmp_path) == []
    cache.add(np.arange(100, 500), batch_of(100, 400))
    assert len(files(tmp_path)) == 1


def test_whether_bits_repeat_is_passed_on(tmp_path):
    contribute(tmp_path, 0, 2, repeats=True)
    contribute(tmp_path, 2, 2, repeats=False)
    ranks = {}
    for tasks, batch in open_cache(tmp_path).find(np.arange(4)):
        ranks.update(zip(tasks.tolist(), batch.rows["rank"].tolist(), strict=True))
    assert ranks == {0: -1, 1: -1, 2: -2, 3: -2}


# -- damage ----------------------------------------------------------------------------------------


def damage(path, at, n=3):
    content = bytearray(path.read_bytes())
    for i in range(n):
        content[at + i] ^= 0x55
    path.write_bytes(content)


WAYS = {
    "empty": lambda path, size: path.write_bytes(b""),
    "text": lambda path, size: path.write_text("hello\n" * 100),
    "cut off": lambda path, size: os.truncate(path, size - 8),
    "head": lambda path, size: damage(path, 12),
    "keys": lambda path, size: damage(path, 64 + 8 * 20),
    "a folder": lambda path, size: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_is_named_and_left_out(tmp_path, caplog, way):
    contribute(tmp_path, 0, 100, "gradient")
    bad = contribute(tmp_path, 100, 100, "gradient")
    WAYS[way](bad, bad.stat().st_size)
    with caplog.at_level(logging.WARNING):
        assert sorted(found(tmp_path, range(200))) == list(range(100))
    assert len(caplog.records) == 1
    assert str(bad) in caplog.text


@pytest.mark.parametrize("part", ["row", "derivatives"])
def test_one_damaged_answer_costs_only_that_one(tmp_path, caplog, part):
    bad = contribute(tmp_path, 0, 100, "gradient")
    damage(bad, {"row": 64 + 8 * 100 + 30, "derivatives": bad.stat().st_size - 10}[part])
    with caplog.at_level(logging.WARNING):
        assert len(found(tmp_path, range(100))) == 99
    assert str(bad) in caplog.text


def test_a_file_that_vanishes_into_a_merged_one_is_found_there(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "MANY", 4)
    for i in range(8):
        contribute(tmp_path, 10 * i, 10)
    cache = open_cache(tmp_path)
    search = cache.find(np.arange(80))
    first = next(search)[0].tolist()
    open_cache(tmp_path).close(tidy=True)
    assert len(files(tmp_path)) == 1
    rest = [task for some, _ in search for task in some.tolist()]
    assert sorted(first + rest) == list(range(80))
    assert not caplog.records


# -- merging ---------------------------------------------------------------------------------------


def test_many_small_files_become_one_and_nothing_is_lost(tmp_path):
    for i in range(module.MANY):
        contribute(tmp_path, 50 * i, 60, list(LENGTHS)[i % 4])
    before = sorted(found(tmp_path, range(2000)))
    cache = open_cache(tmp_path)
    cache.close(tidy=False)
    assert len(files(tmp_path)) == module.MANY
    cache.close(tidy=True)
    assert len(files(tmp_path)) == 1
    assert sorted(found(tmp_path, range(2000))) == before


def test_a_large_file_is_not_rewritten_for_a_few_small_ones(tmp_path):
    large = contribute(tmp_path, 0, 3000)
    for i in range(module.MANY):
        contribute(tmp_path, 3000 + 3 * i, 3)
    before = large.stat()
    open_cache(tmp_path).close(tidy=True)
    assert len(files(tmp_path)) == 2
    assert large.stat() == before


def test_who_finds_another_merging_leaves_it_alone(tmp_path):
    from qcmb_mpi.store.lock import WriterLock

    for i in range(module.MANY):
        contribute(tmp_path, i, 1)
    lock = WriterLock(tmp_path / "merging")
    open_cache(tmp_path).close(tidy=True)
    assert len(files(tmp_path)) == module.MANY + 1
    lock.release()
    open_cache(tmp_path).close(tidy=True)
    assert len(files(tmp_path)) == 1


def test_a_damaged_file_is_not_merged(tmp_path, caplog):
    bad = contribute(tmp_path, 0, 10)
    damage(bad, 64 + 8 * 10 + 30)
    for i in range(1, module.MANY):
        contribute(tmp_path, 10 * i, 10)
    open_cache(tmp_path).close(tidy=True)
    assert len(files(tmp_path)) == 2
    assert bad.exists()
    assert str(bad) in caplog.text
    assert len(found(tmp_path, range(10 * module.MANY))) == 10 * module.MANY - 1


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path):
    for i in range(module.MANY):
        contribute(tmp_path, i, 1)
    old, young = tmp_path / "1.writing", tmp_path / "2.writing"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * module.FORSAKEN,) * 2)
    open_cache(tmp_path).close(tidy=True)
    assert not old.exists()
    assert young.exists()


# -- writers ---------------------------------------------------------------------------------------

# Contributes and merges for ever, and says what is in the folder for good.
WRITER = """
from pathlib import Path
sys.path.insert(0, {here!r})
import test_cache
from test_cache import *
module.MANY = 5
first = int(sys.argv[2])
cache = open_cache(Path(sys.argv[1]))
for i in range(10**6):
    n = 1 + i % 30
    cache.add(np.arange(first, first + n), batch_of(first, n, list(LENGTHS)[i % 4]))
    cache.close(tidy=i % 3 == 0)
    first += n
    print(first, flush=True)
"""


@pytest.mark.slow
def test_killed_writers_and_mergers_lose_nothing_and_leave_nothing_half_done(tmp_path, caplog):
    random = np.random.default_rng(7)
    head = f"import sys; sys.path.insert(0, {HERE!r})\nfrom checkpoints import *\n"
    starts = {}
    for i in range(int(os.environ.get("QCMB_MPI_KILLS", "4"))):
        firsts = [100_000 * (2 * i), 100_000 * (2 * i + 1)]
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", head + WRITER.format(here=HERE), str(tmp_path / "cache"), str(first)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for first in firsts
        ]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(random.uniform(0.05, 0.4))
        for writer, first in zip(writers, firsts, strict=True):
            writer.send_signal(signal.SIGKILL)
            out, err = writer.communicate()
            assert not err, err.decode()
            starts[first] = int((out.split(b"\n")[-2:-1] or [first])[0] or first)
    wanted = [task for first, end in starts.items() for task in range(first, end)]
    with caplog.at_level(logging.WARNING):
        assert sorted(found(tmp_path / "cache", wanted)) == wanted
    assert not caplog.records
    assert len(wanted) > 50


# -- folders ---------------------------------------------------------------------------------------


def test_a_folder_is_made_but_not_the_one_around_it(tmp_path):
    open_cache(tmp_path / "cache")
    assert (tmp_path / "cache").is_dir()
    with pytest.raises(StoreError, match=r"cannot be used.*No such file"):
        open_cache(tmp_path / "typo" / "cache")


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StoreError, match="this is a file"):
        open_cache(tmp_path / "cache")


def test_a_folder_that_takes_no_files_is_refused():
    with pytest.raises(StoreError, match="cannot be used"):
        open_cache(module.Path("/proc/self"))


def test_a_full_disk_costs_a_warning_and_leaves_no_half_file(tmp_path, caplog):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        contribute(disk, 0, 100)
        cache = open_cache(disk)
        for first in (1000, 3000):
            cache.add(np.arange(first, first + 2000), batch_of(first, 2000))
            cache.contribute()
        assert len(files(disk)) == 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "No space left" in caplog.text
        assert str(disk) in caplog.text
        assert found(disk, range(100)) != []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
