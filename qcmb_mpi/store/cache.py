"""A folder of answers that jobs share: looked through at the start of a job, contributed to now and then.

Every contribution is a file of its own (:mod:`qcmb_mpi.store.segment`), written under a temporary name and
renamed, so that any number of jobs on any number of hosts need no lock and a killed one leaves nothing
half done.  When there are many small files, one job merges them and removes them after the merged one is
in place; who meets a file that vanishes looks again at what is there.  A lock keeps two jobs from merging
the same files; should both do so all the same, answers are there twice and nothing is lost.

After the job has begun no failure here ends it: what cannot be read is computed, what cannot be
written is not shared, and a warning says so.  Knows task numbers through their keys; how a job's answers
are kept is the archive's business.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import StoreError
from qcmb_mpi.logs import log
from qcmb_mpi.store.format import (
    ENERGY_ONLY,
    FROM_CACHE,
    FROM_CACHE_THREADED,
    HESSIAN_ONLY,
    Rows,
    join_keys,
    split_keys,
)
from qcmb_mpi.store.lock import WriterLock
from qcmb_mpi.store.rescue import Batch
from qcmb_mpi.store.segment import Damaged, Piece, Segment, chosen, match, write_segment
from qcmb_mpi.store.task_keys import Keys

__all__ = ["Cache"]


EVERY = 60.0  # s between two contributions at least
SHARE = 0.05  # of the job's time so far, between two: a long job leaves a hundred files, not thousands
MOST_BYTES = 64 << 20  # of what waits to be contributed, above which that is done at once
MOST_ROWS = 50_000  # rows waiting, likewise: a tenth of a second, which nobody has to wait for
PORTION = 1 << 21  # tasks looked up at once
SLAB = 1 << 16  # rows taken out of a file at once
MANY = 16  # small files that are worth merging
FULL = 256 << 20  # bytes of a file that is not merged any more
PART = 4  # times the size of the largest file merged, at least, is the size of the merged one
TIDYING = 0.02  # of the job's time that merging may take
FORSAKEN = 3600.0  # s after which a temporary file has no writer any more
_ENDING = ".answers"
_TEMPORARY = ".writing"

Tasks = NDArray[np.int64]


class Cache:
    """A folder of answers, as one job uses it.

    Parameters
    ----------
    folder
        Made if it is not there but the folder around it is.
    keys
        Of the job's tasks, as the cache knows them: with the versions of the programs.
    repeats
        Whether this job's answers repeat to the last bit: each is computed on one thread.

    Raises
    ------
    StoreError
        The folder cannot be made, read or written.
    """

    def __init__(self, folder: Path, keys: Keys, repeats: bool):
        self._folder = folder
        self._keys = keys
        self._mark = FROM_CACHE if repeats else FROM_CACHE_THREADED
        self._began = time.monotonic()
        self._due = self._began + EVERY
        self._waiting: list[tuple[Tasks, Batch]] = []
        self._bytes = self._n_rows = 0
        self._warned: set[str] = set()
        try:
            if folder.exists() and not folder.is_dir():
                raise StoreError(f"{folder}: this is a file; --cache-dir wants a folder.")
            folder.mkdir(exist_ok=True)
            os.listdir(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise StoreError(
                f"{folder}: cannot be used as the cache ({error.strerror}). Make the folder one that can be "
                "read and written, name another with --cache-dir, or leave it out."
            ) from None

    # -- taking ----------------------------------------------------------------------------------

    def find(self, tasks: Tasks) -> Iterator[tuple[Tasks, Batch]]:
        """Answers to some tasks, as far as they are here.

        Yields
        ------
        tasks, batch
            Some of the tasks, each at most once, and their rows (with the cache's keys) and derivatives;
            in one batch all rows have derivatives of the same kinds.
        """
        for begin in range(0, len(tasks) if self._names() else 0, PORTION):
            yield from self._find(tasks[begin : begin + PORTION])

    def _find(self, tasks: Tasks) -> Iterator[tuple[Tasks, Batch]]:
        keys = self._keys.of(tasks)
        order = np.argsort(keys[:, 0], kind="stable")
        tasks, keys = tasks[order], keys[order]
        lows = np.ascontiguousarray(keys[:, 0])
        missing = np.ones(len(tasks), dtype=bool)
        for path in self._paths():
            try:
                with Segment(path) as segment:
                    wanted, places = match(lows, segment.lows())
                    new = missing[wanted]
                    wanted, places = wanted[new], places[new]
                    for which, batch in _take(segment, places, keys[wanted]):
                        missing[wanted[which]] = False
                        yield tasks[wanted[which]], batch
            except (OSError, Damaged) as error:
                self._ignore(path, error)

    def lacks(self, tasks: Tasks) -> NDArray[np.bool_]:
        """Which of some tasks have no answer here."""
        lacking = np.ones(len(tasks), dtype=bool)
        if self._names():
            lows = self._keys.of(tasks)[:, 0]
            order = np.argsort(lows, kind="stable")
            lows = lows[order]
            for path in self._paths():
                try:
                    with Segment(path) as segment:
                        lacking[order[match(lows, segment.lows())[0]]] = False
                except (OSError, Damaged) as error:
                    self._ignore(path, error)
        return lacking

    def _names(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._folder) if name.endswith(_ENDING)}
        except OSError as error:
            self._warn(f"{self._folder}: the cache cannot be read any more ({error.strerror}); not used")
            return set()

    def _paths(self) -> Iterator[Path]:
        """All files of answers; also those that appear meanwhile, into which others may be merged."""
        seen: set[str] = set()
        while new := sorted(self._names() - seen):
            seen.update(new)
            yield from (self._folder / name for name in new)

    def _ignore(self, path: Path, error: Exception) -> None:
        """Go on without a file, or without what is damaged in it."""
        if path.exists():
            self._warn(
                f"{path}: {getattr(error, 'strerror', None) or error}; what cannot be read there is computed "
                "again. The file may be removed."
            )

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)

    # -- giving ----------------------------------------------------------------------------------

    def add(self, tasks: Tasks, batch: Batch) -> None:
        """Take in answers that this job has computed; they are contributed when that is due.

        Parameters
        ----------
        tasks : (n,) int64
        batch
            Their rows and derivatives, which nobody changes any more.
        """
        self._waiting.append((tasks, batch))
        self._bytes += batch.nbytes
        self._n_rows += len(tasks)
        if time.monotonic() >= self._due or self._bytes > MOST_BYTES or self._n_rows > MOST_ROWS:
            self.contribute()

    def contribute(self) -> None:
        """Put what was taken in into the folder."""
        waiting, self._waiting, self._bytes, self._n_rows = self._waiting, [], 0, 0
        if waiting:
            tasks = np.concatenate([some for some, _ in waiting])
            rows = np.concatenate([batch.rows for _, batch in waiting])
            rows["key"] = join_keys(self._keys.of(tasks))
            rows["rank"] = np.where(rows["rank"] == FROM_CACHE_THREADED, FROM_CACHE_THREADED, self._mark)
            batch = Batch(
                rows,
                np.concatenate([batch.first for _, batch in waiting]),
                np.concatenate([batch.second for _, batch in waiting]),
            )
            new = _firsts(rows)
            if not new.all():
                batch = chosen(batch, new)
            self._write(batch.rows, iter([(slice(0, len(batch.rows)), batch.first, batch.second)]))
        now = time.monotonic()
        self._due = now + max(EVERY, SHARE * (now - self._began))

    def _write(self, rows: Rows, pieces: Iterator[Piece]) -> bool:
        """A new file of answers, whole or not at all; whether that went well."""
        path = self._folder / f"{secrets.token_hex(8)}{_ENDING}"
        temporary = path.with_suffix(_TEMPORARY)
        try:
            write_segment(temporary, rows, pieces)
            os.rename(temporary, path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)  # before anything that is in the new file is removed elsewhere
            finally:
                os.close(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            self._warn(
                f"{self._folder}: the cache cannot be written ({error.strerror or error}); answers are not "
                "shared from now on as long as that lasts. The job goes on."
            )
            return False
        return True

    def close(self, tidy: bool) -> None:
        """Contribute what is left, and merge small files where there is time to ``tidy``."""
        self.contribute()
        if tidy:
            self._tidy()

    # -- merging ---------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """Merge small files if there are many, and remove what killed jobs have left."""
        if not self._small():
            return
        try:
            lock = WriterLock(self._folder / "merging")
        except StoreError:  # somebody is at it
            return
        begin = time.monotonic()
        patience = TIDYING * (begin - self._began)
        try:
            while self._merge(self._small()) and time.monotonic() < begin + patience:
                pass
            self._sweep()
        except OSError as error:
            self._warn(f"{self._folder}: files of the cache could not be merged ({error.strerror or error})")
        finally:
            lock.release()

    def _small(self) -> list[Path]:
        """Small files, none far larger than the others, that are worth merging; none if they are few."""
        entries: list[tuple[int, Path]] = []
        for name in self._names():
            path = self._folder / name
            with contextlib.suppress(OSError):
                entry = path.stat()
                if entry.st_uid == os.geteuid():  # others' files could not be removed
                    entries.append((entry.st_size, path))
        entries.sort()
        sizes = np.array([size for size, _ in entries], dtype=np.int64)
        totals = np.cumsum(sizes)
        # each file is rewritten a few times only, since what it is merged into is some times larger
        ends = np.flatnonzero((PART * sizes <= totals) & (totals <= FULL)) + 1
        end = int(ends.max(initial=0))
        return [path for _, path in entries[:end]] if end >= MANY else []

    def _merge(self, paths: list[Path]) -> bool:
        """Put what some files hold into one and remove them; whether that was done."""
        batches: list[Batch] = []
        merged: list[Path] = []
        for path in paths:
            try:
                with Segment(path) as segment:
                    batches += [batch for _, batch in _take(segment, np.arange(segment.n))]
                merged.append(path)
            except (OSError, Damaged) as error:
                self._ignore(path, error)
        if len(merged) < 2:
            return False
        rows = np.concatenate([batch.rows for batch in batches])
        new = _firsts(rows)
        edges = np.cumsum([len(batch.rows) for batch in batches])[:-1]
        kept = [chosen(batch, some) for batch, some in zip(batches, np.split(new, edges), strict=True)]
        if not self._write(rows[new], _pieces(kept)):
            return False
        for path in merged:
            with contextlib.suppress(OSError):
                path.unlink()
        return True

    def _sweep(self) -> None:
        """Remove temporary files that nobody writes any more."""
        now = os.stat(self._folder).st_mtime  # just changed: the file system's clock, not ours
        for name in os.listdir(self._folder):
            path = self._folder / name
            with contextlib.suppress(OSError):
                if name.endswith(_TEMPORARY) and now - path.stat().st_mtime > FORSAKEN:
                    path.unlink()


def _take(
    segment: Segment, places: Tasks, keys: NDArray[np.uint64] | None = None
) -> Iterator[tuple[Tasks, Batch]]:
    """Whole answers out of a file, those with derivatives of the same kinds together.

    Parameters
    ----------
    places : (n,) int64
        Rows wanted, ascending.
    keys : (n, 2) uint64, optional
        Their keys; rows with another are left out.

    Yields
    ------
    which, batch
        Indices into ``places``, and rows with their derivatives.

    Raises
    ------
    OSError, Damaged
        In the end, if something could not be read.
    """
    damaged = 0
    for begin in range(0, len(places), SLAB):
        rows, good = segment.rows(places[begin : begin + SLAB])
        damaged += int(len(good) - good.sum())
        if keys is not None:
            good &= (split_keys(rows["key"]) == keys[begin : begin + SLAB]).all(axis=1)
        kinds = rows["gradient_offset"]
        for kind in (kinds >= 0, kinds == ENERGY_ONLY, kinds == HESSIAN_ONLY):
            some = np.flatnonzero(good & kind)
            for which, whole, batch in segment.batches(rows[some]):
                damaged += int(len(whole) - whole.sum())
                if whole.any():
                    yield begin + some[which][whole], batch
    if damaged:
        raise Damaged(f"{damaged} of its answers are damaged")


def _firsts(rows: Rows) -> NDArray[np.bool_]:
    """Which rows are the first with their key (or with its low word, which is a hash as well)."""
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(split_keys(rows["key"])[:, 0], return_index=True)[1]] = True
    return first


def _pieces(batches: list[Batch]) -> Iterator[Piece]:
    begin = 0
    for batch in batches:
        end = begin + len(batch.rows)
        yield slice(begin, end), batch.first, batch.second
        begin = end
