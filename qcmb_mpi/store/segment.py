"""One file of a cache: rows and derivatives that one job has contributed, never changed once it is there.

Layout: a header (magic, version, numbers of rows, gradient and Hessian values, checksums), the low words
of all keys in ascending order, the rows in the same order, gradients, Hessians.  Rows are those of a
checkpoint, and so is what they say about their derivatives.  Read without memory mapping: a file that
another host removes meanwhile must end in an error, not in a signal.

Knows nothing of the folder the file is in, nor of what a key means.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import ROW, Rows, address, crc, is_row, payload_lengths, seal, split_keys
from qcmb_mpi.store.reader import Floats, Reader, payload_sums
from qcmb_mpi.store.rescue import Batch

__all__ = ["Damaged", "Segment", "chosen", "match", "write_segment"]

_HEADER = struct.Struct("<8sIQQQII")
_MAGIC = b"qcmbseg\0"
_VERSION = 1
_BEGIN = 64  # bytes before the keys
_WORD = np.dtype("<u8")
_FLOAT = np.dtype("<f8")
_SLAB = 1 << 16  # rows handled at once
_GAP = 64  # rows worth reading in vain

Piece = tuple[slice, Floats, Floats]
Places = NDArray[np.int64]


class Damaged(Exception):
    """This is not a whole segment; the message says why."""


class _Section:
    """Values of one kind in an open file, to be sliced like an HDF5 dataset."""

    def __init__(self, fd: int, begin: int, dtype: np.dtype[Any], n: int):
        self._fd = fd
        self.begin = begin
        self.dtype = dtype
        self.shape = (n,)
        self.end = begin + n * dtype.itemsize

    def __getitem__(self, which: slice) -> NDArray[Any]:
        first, last, _ = which.indices(self.shape[0])
        values = np.empty(max(0, last - first), self.dtype)
        view = values.view(np.uint8).data if len(values) else memoryview(b"")
        at = self.begin + first * self.dtype.itemsize
        while len(view):
            got = os.preadv(self._fd, [view], at)
            if not got:
                raise OSError("it ends too early")
            view, at = view[got:], at + got
        return values


class Segment:
    """A segment open for reading; a context manager.

    Raises
    ------
    OSError
        It cannot be read, or is not there any more.
    Damaged
        It is not whole.

    Attributes
    ----------
    n
        Number of rows.
    n_bytes
        Size of the file.
    """

    def __init__(self, path: Path):
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = os.pread(self._fd, _HEADER.size, 0)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise Damaged("it does not begin as a file of the cache")
            _, version, self.n, n_gradients, n_hessians, self._lows_crc, check = _HEADER.unpack(head)
            if check != crc(head[:-4]):
                raise Damaged("its header is damaged")
            if version != _VERSION:
                raise Damaged("it was written by another version of qcmb_mpi")
            sections, self.n_bytes = _sections(self._fd, self.n, n_gradients, n_hessians)
            if os.fstat(self._fd).st_size != self.n_bytes:
                raise Damaged("it is not complete")
        except BaseException:
            os.close(self._fd)
            raise
        self._lows = sections.pop("lows")
        self._reader = Reader(sections)

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def lows(self) -> NDArray[np.uint64]:
        """Low words of all keys, ascending, ``(n,) uint64``."""
        lows = self._lows[:]
        if crc(lows) != self._lows_crc:
            raise Damaged("its keys are damaged")
        return lows

    def rows(self, places: Places) -> tuple[Rows, NDArray[np.bool_]]:
        """Some rows, and which of them are whole; their derivatives are checked by :meth:`batches`."""
        rows = self._reader.gather("results", places, np.ones(len(places), np.int64), _GAP)
        return rows, is_row(rows)

    def batches(self, rows: Rows) -> Iterator[tuple[slice, NDArray[np.bool_], Batch]]:
        """Some whole rows with their derivatives, a part of them at a time.

        Yields
        ------
        which, whole, batch
            The slice of ``rows`` looked at, which of these have the derivatives they were written with,
            and those.
        """
        for which, gradients, hessians in self._reader.stream(rows):
            part = rows[which]
            whole = payload_sums(part, gradients, hessians) == part["payload"]
            yield (
                which,
                whole,
                Batch(part, gradients, hessians)
                if whole.all()
                else chosen(Batch(part, gradients, hessians), whole),
            )


def chosen(batch: Batch, which: NDArray[np.bool_]) -> Batch:
    """Some rows of ``/results`` with their derivatives."""
    n_gradient, n_hessian = payload_lengths(batch.rows)
    return Batch(
        batch.rows[which],
        batch.first[np.repeat(which, n_gradient)],
        batch.second[np.repeat(which, n_hessian)],
    )


def _sections(fd: int, n: int, n_gradients: int, n_hessians: int) -> tuple[dict[str, _Section], int]:
    """The parts of a file, and where it ends."""
    sections, end = {}, _BEGIN
    for name, dtype, size in (
        ("lows", _WORD, n),
        ("results", ROW, n),
        ("gradients", _FLOAT, n_gradients),
        ("hessians", _FLOAT, n_hessians),
    ):
        sections[name] = _Section(fd, end, dtype, size)
        end = sections[name].end
    return sections, end


def match(wanted: NDArray[np.uint64], lows: NDArray[np.uint64]) -> tuple[Places, Places]:
    """Where the same number is in two ascending arrays.

    Parameters
    ----------
    wanted : (n,) uint64
        May hold a number several times.
    lows : (m,) uint64
        Each once.

    Returns
    -------
    in_wanted, in_lows : (k,) int64
        Both ascending; every place in ``wanted`` at most once.
    """
    if len(lows) == 0 or len(wanted) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if len(lows) >= len(wanted):
        place = np.minimum(np.searchsorted(lows, wanted), len(lows) - 1)
        found = np.flatnonzero(lows[place] == wanted)
        return found, place[found]
    first = np.searchsorted(wanted, lows)
    hits = np.flatnonzero(wanted[np.minimum(first, len(wanted) - 1)] == lows)
    first = first[hits]
    counts = np.searchsorted(wanted, lows[hits], "right") - first
    begins = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(first - begins, counts), np.repeat(hits, counts)


def write_segment(path: Path, rows: Rows, pieces: Iterable[Piece]) -> None:
    """Write a new file, and wait until it is on the disk.

    Parameters
    ----------
    rows : (n,) ROW
        In any order, each key once.  Offsets and checksums are filled in here, in place.
    pieces
        Slices of ``rows`` with their gradients [Eh/bohr] and Hessians [Eh/bohr^2], laid end to end in
        the order of the rows; all of them, one after the other.

    Raises
    ------
    OSError
    """
    n_gradient, n_hessian = payload_lengths(rows)
    sections, _ = _sections(-1, len(rows), int(n_gradient.sum()), int(n_hessian.sum()))
    address(rows, 0, 0)
    lows = split_keys(rows["key"])[:, 0]
    order = np.argsort(lows, kind="stable")
    lows = np.ascontiguousarray(lows[order], _WORD)
    rows["payload"] = 0
    with open(path, "xb") as file:
        at = [sections["gradients"].begin, sections["hessians"].begin]
        for which, *flat in pieces:
            if any(map(len, flat)):
                rows["payload"][which] = payload_sums(rows[which], *flat)
            for i, values in enumerate(flat):
                if len(values):
                    file.seek(at[i])
                    file.write(np.ascontiguousarray(values, _FLOAT).data)
                    at[i] = file.tell()
        seal(rows)
        file.seek(0)
        head = _HEADER.pack(
            _MAGIC, _VERSION, len(rows), int(n_gradient.sum()), int(n_hessian.sum()), crc(lows), 0
        )[:-4]
        file.write((head + crc(head).to_bytes(4, "little")).ljust(_BEGIN, b"\0"))
        file.write(lows.data)
        for begin in range(0, len(rows), _SLAB):
            file.write(rows[order[begin : begin + _SLAB]].tobytes())
        file.flush()
        os.fsync(file.fileno())
