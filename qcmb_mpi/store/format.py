"""The layout of a checkpoint: row types, names, checksums.

Pure numpy; nothing here opens a file or knows what a key stands for.

Every row carries a CRC32 of its own bytes, and rows that point at derivatives, input or records carry
a second one of that payload.  They are separate so that energies can be trusted without reading
gigabytes of Hessians, and a damaged Hessian is found when it is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DERIVED",
    "ENERGY_ONLY",
    "FAILURE",
    "FORMAT",
    "FORMAT_VERSION",
    "FROM_CACHE",
    "FROM_CACHE_THREADED",
    "HESSIAN_ONLY",
    "RECORD",
    "ROW",
    "Rows",
    "address",
    "claim",
    "crc",
    "is_row",
    "join_keys",
    "payload_lengths",
    "seal",
    "split_keys",
]

FORMAT = "qcmb_mpi.checkpoint"
FORMAT_VERSION = 1

ENERGY_ONLY = -1
"""``gradient_offset`` of a row whose ``offset`` addresses ``/gradients`` (or nothing: length 0)."""
HESSIAN_ONLY = -2
"""``gradient_offset`` of a row whose ``offset`` addresses ``/hessians`` and that has no gradient."""

FROM_CACHE = -1
"""``rank`` of an answer that another job computed and a cache passed on."""
FROM_CACHE_THREADED = -2
"""The same, computed on several threads: its last bits may not repeat."""
DERIVED = -3
"""``rank`` of an answer that follows by symmetry from that of an equivalent task; it took no time."""

Rows = NDArray[np.void]
"""A structured array of one of the types below."""

ROW = np.dtype(
    [
        ("key", "V16"),
        ("energy", "<f8"),
        ("wall", "<f8"),
        ("cpu", "<f8"),
        ("rank", "<i4"),
        ("host", "S32"),
        ("attempt", "<i4"),
        ("finished", "<f8"),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("gradient_offset", "<i8"),
        ("note", "S64"),
        ("payload", "<u4"),
        ("checksum", "<u4"),
    ]
)
"""One finished task.

``key`` is a sum of content hashes; ``energy`` in Eh; ``wall`` and ``cpu`` in s; ``finished`` in unix
seconds; ``rank`` below zero says that this job has not computed it, but where it came from; ``offset``
and ``length`` address ``/gradients`` [Eh/bohr] or ``/hessians`` [Eh/bohr^2] in float64 values.
``gradient_offset`` >= 0 says that ``offset`` addresses ``/hessians`` and where the gradient of the same
task (``sqrt(length)`` values) is.  ``note`` says what was done beyond the plain algorithm.  ``payload`` is
the CRC32 of the gradient's bytes followed by the Hessian's; ``checksum`` that of all other bytes of the
row.
"""

FAILURE = np.dtype(
    [
        ("key", "V16"),
        ("attempt", "<i4"),
        ("rank", "<i4"),
        ("host", "S32"),
        ("kind", "S24"),
        ("message", "S512"),
        ("finished", "<f8"),
        ("checksum", "<u4"),
    ]
)
"""One failed attempt."""

RECORD = np.dtype(
    [("key", "V16"), ("offset", "<i8"), ("length", "<i8"), ("payload", "<u4"), ("checksum", "<u4")]
)
"""Where the full record of a task is in the flat bytes of ``/records``."""


def crc(data: Any, start: int = 0) -> int:
    """CRC32 of anything with contiguous bytes."""
    return zlib.crc32(data, start)


def _sums(rows: Rows) -> Iterator[int]:
    size = rows.dtype.itemsize
    view = memoryview(np.ascontiguousarray(rows).tobytes())
    end = size - 4
    crc32 = zlib.crc32
    return (crc32(view[at : at + end]) for at in range(0, size * len(rows), size))


def seal(rows: Rows) -> None:
    """Fill ``checksum``, the last field, in place."""
    rows["checksum"] = np.fromiter(_sums(rows), np.uint32, len(rows))


def is_row(rows: Rows) -> NDArray[np.bool_]:
    """Which of them are whole: a key that is not zero and a checksum that fits.

    Parameters
    ----------
    rows : (n,) structured
        Of a type whose fields begin with ``key`` and end with ``checksum``.
    """
    rows = np.ascontiguousarray(rows)
    key = split_keys(rows["key"])
    good: NDArray[np.bool_] = (key[:, 0] | key[:, 1]) != 0
    good &= np.fromiter(_sums(rows), np.uint32, len(rows)) == rows["checksum"]
    return good


def split_keys(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Keys as stored, ``(n,) V16``, to pairs of words ``(n, 2) uint64`` (low, high)."""
    return np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)


def join_keys(words: NDArray[np.uint64]) -> NDArray[np.void]:
    """Pairs of words ``(n, 2) uint64`` (low, high) to keys as stored, ``(n,) V16``."""
    return np.ascontiguousarray(words, "<u8").reshape(-1, 2).view("V16").reshape(-1)


def claim(rows: Rows, gradients: NDArray[np.int64], hessians: NDArray[np.int64]) -> None:
    """Fill ``length`` and ``gradient_offset``, in place, with what each row has.

    Parameters
    ----------
    rows : (n,) ROW
    gradients, hessians : (n,) int64
        Values of each row's gradient and Hessian.  Until offsets are known (:func:`address`), 0 as
        ``gradient_offset`` says that there is a gradient beside the Hessian.
    """
    rows["length"] = np.where(hessians > 0, hessians, gradients)
    beside = np.where(gradients > 0, 0, HESSIAN_ONLY)
    rows["gradient_offset"] = np.where(hessians > 0, beside, ENERGY_ONLY)


def address(rows: Rows, gradients: int, hessians: int) -> None:
    """Fill ``offset`` and ``gradient_offset``, in place, for derivatives laid end to end.

    Parameters
    ----------
    rows : (n,) ROW
        ``length`` and ``gradient_offset`` say what they have.
    gradients, hessians
        Where the first row's values will be.
    """
    n_gradient, n_hessian = payload_lengths(rows)
    g_offset = gradients + np.cumsum(n_gradient) - n_gradient
    h_offset = hessians + np.cumsum(n_hessian) - n_hessian
    kind = rows["gradient_offset"]
    rows["offset"] = np.where(n_hessian > 0, h_offset, np.where(n_gradient > 0, g_offset, 0))
    rows["gradient_offset"] = np.where(kind >= 0, g_offset, kind)


def payload_lengths(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of float64 values each row has in ``/gradients`` and in ``/hessians``.

    Returns
    -------
    gradient, hessian : (n,) int64
    """
    length = rows["length"].astype(np.int64)
    where = rows["gradient_offset"]
    root = np.rint(np.sqrt(length.astype(np.float64))).astype(np.int64)
    gradient = np.where(where >= 0, root, np.where(where == ENERGY_ONLY, length, 0))
    hessian = np.where(where == ENERGY_ONLY, 0, length)
    return gradient, hessian
