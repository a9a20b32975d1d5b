"""Rows on their way to a checkpoint that cannot be written: a file of self-checking blocks.

Written when HDF5 cannot be trusted any more (a full disk, a deleted file) and by the salvage of a
damaged checkpoint; read by the next run.  Knows nothing of HDF5.

Layout: blocks one after the other, each a header (magic, kind, number of bytes of the rows and of the
two payloads, CRC32) followed by those bytes.  Blocks that are not whole are skipped.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import FAILURE, RECORD, ROW, Rows, crc

__all__ = ["Batch", "leave_batches", "read_blocks", "rescue_paths", "write_blocks"]

_HEADER = struct.Struct("<8s8sQQQI")
_MAGIC = b"qcmbresc"
_TYPES = {b"results": ROW, b"failures": FAILURE, b"records": RECORD}


def _empty() -> NDArray[Any]:
    return np.zeros(0)


@dataclass(frozen=True)
class Batch:
    """Rows of one table together with what they point at, in the order of the rows.

    Attributes
    ----------
    rows : (n,) structured
        Rows of ``/results``, ``/failures`` or ``/records_index``.
    first : (k,) float64 or uint8
        Gradients [Eh/bohr], or the bytes of the records.
    second : (m,) float64
        Hessians [Eh/bohr^2].
    """

    rows: Rows
    first: NDArray[Any] = field(default_factory=_empty)
    second: NDArray[Any] = field(default_factory=_empty)

    @property
    def nbytes(self) -> int:
        """Memory held in bytes."""
        return int(self.rows.nbytes + self.first.nbytes + self.second.nbytes)


def write_blocks(file: BinaryIO, batches: Iterator[Batch] | list[Batch]) -> int:
    """Append blocks to an open file.

    Returns
    -------
    int
        Number of rows of ``/results`` written.
    """
    names = {dtype: name for name, dtype in _TYPES.items()}
    written = 0
    for batch in batches:
        name = names[batch.rows.dtype]
        parts = [np.ascontiguousarray(x).tobytes() for x in (batch.rows, batch.first, batch.second)]
        file.write(_HEADER.pack(_MAGIC, name, *map(len, parts), _block_crc(name, parts)))
        for part in parts:
            file.write(part)
        written += len(batch.rows) if batch.rows.dtype == ROW else 0
    return written


def read_blocks(path: str | os.PathLike[str]) -> Iterator[Batch]:
    """The whole blocks of a file; what lies between them, if anything, is skipped."""
    if not os.path.getsize(path):
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_MAGIC)
        while at >= 0:
            batch, end = _block_at(content, at)
            if batch is not None:
                yield batch
            at = content.find(_MAGIC, end)


def _block_at(content: mmap.mmap, at: int) -> tuple[Batch | None, int]:
    """The block at a place, None if it is not whole, and where to look for the next."""
    begin = at + _HEADER.size
    if begin > len(content):
        return None, at + 1
    _, padded, *sizes, check = _HEADER.unpack_from(content, at)
    dtype = _TYPES.get(padded.rstrip(b"\0"))
    if dtype is None or begin + sum(sizes) > len(content) or sizes[0] % dtype.itemsize:
        return None, at + 1
    ends = [begin + sum(sizes[: i + 1]) for i in range(3)]
    parts = [content[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    if check != _block_crc(padded, parts):
        return None, at + 1
    first: NDArray[Any] = np.frombuffer(parts[1], "u1" if dtype == RECORD else "<f8")
    return Batch(np.frombuffer(parts[0], dtype), first, np.frombuffer(parts[2], "<f8")), ends[2]


def _block_crc(name: bytes, parts: list[bytes]) -> int:
    check = crc(struct.pack("<8s3Q", name, *map(len, parts)))
    for part in parts:
        check = crc(part, check)
    return check


def rescue_paths(path: Path, scratch_dir: Path | None) -> list[Path]:
    """Where rows of the checkpoint ``path`` may have been left, in the order of preference."""
    path = path.absolute()
    # The scratch folder is shared by many jobs: the name there tells checkpoints of one name apart.
    mark = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    elsewhere = scratch_dir or Path(tempfile.gettempdir())
    return [Path(f"{path}.rescue"), elsewhere / f"{path.name}.{mark}.rescue"]


def leave_batches(
    path: Path, scratch_dir: Path | None, batches: Callable[[], Iterator[Batch]]
) -> Path | None:
    """Write batches to the first place that takes them, behind what is there already.

    Parameters
    ----------
    batches
        Begins them anew for every place.

    Returns
    -------
    Path or None
        Where they are; None if no place took them.
    """
    for target in rescue_paths(path, scratch_dir):
        before = 0
        try:
            before = target.stat().st_size if target.exists() else 0
            with open(target, "ab") as file:
                write_blocks(file, batches())
                file.flush()
                os.fsync(file.fileno())
            return target
        except OSError:
            try:
                # What does not fit must not stay in the way of what is there.
                os.truncate(target, before) if before else os.unlink(target)
            except OSError:
                pass
    return None
