"""Appending to an open checkpoint: memory first, then derivatives, then the rows that point at them.

Knows where things go in the file; what to do when that fails is :mod:`qcmb_mpi.store.checkpoint`'s.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import FAILURE, RECORD, ROW, Rows, address, crc, join_keys, payload_lengths, seal
from qcmb_mpi.store.hdf5 import hdf5
from qcmb_mpi.store.layout import TABLES, Column
from qcmb_mpi.store.reader import Floats, payload_sums
from qcmb_mpi.store.rescue import Batch

__all__ = ["Writer"]


class Writer:
    """The datasets of a file in single-writer mode.

    Parameters
    ----------
    path
        Name of the file, to see whether it is still there.
    file
        The ``h5py.File``.

    Attributes
    ----------
    pending
        What was taken in and not written yet.
    """

    def __init__(self, path: Path, file: Any):
        self.pending: list[Batch] = []
        self._path = path
        self._file = file
        self._fd = int(file.id.get_vfd_handle())
        self._columns = {name: Column(file, name) for name in TABLES}
        self._ends = {name: self._columns[name].extent for name in ("gradients", "hessians", "records")}

    def place(self, rows: Rows, gradients: Floats, hessians: Floats) -> None:
        """Take in rows, giving them their places in the file and their checksums.

        Parameters
        ----------
        rows : (n,) ROW
            ``length`` and ``gradient_offset`` say what they have (any place that is not negative says
            that there is a gradient beside the Hessian).
        gradients, hessians
            Laid end to end in the order of the rows.
        """
        rows["offset"] = 0
        rows["payload"] = 0
        if len(gradients) or len(hessians) or rows["length"].any():
            n_gradient, n_hessian = payload_lengths(rows)
            if len(gradients) != n_gradient.sum() or len(hessians) != n_hessian.sum():
                raise ValueError(
                    f"{len(gradients)} gradient and {len(hessians)} Hessian values for rows that claim "
                    f"{n_gradient.sum()} and {n_hessian.sum()}"
                )
            address(rows, self._ends["gradients"], self._ends["hessians"])
            rows["payload"] = payload_sums(rows, gradients, hessians)
            self._ends["gradients"] += len(gradients)
            self._ends["hessians"] += len(hessians)
        seal(rows)
        self.pending.append(Batch(rows.copy(), gradients, hessians))

    def place_failures(self, failures: Rows) -> None:
        """Take in failed attempts, ``(n,) FAILURE``; checksums are filled in."""
        seal(failures)
        self.pending.append(Batch(failures.copy()))

    def place_records(self, keys: NDArray[np.uint64], records: Sequence[bytes]) -> None:
        """Take in full records of tasks with ``(n, 2) uint64`` keys."""
        index = np.zeros(len(records), RECORD)
        index["key"] = join_keys(keys)
        lengths = np.array([len(record) for record in records], np.int64)
        index["length"] = lengths
        index["offset"] = self._ends["records"] + np.cumsum(lengths) - lengths
        index["payload"] = [crc(record) for record in records]
        seal(index)
        content = np.frombuffer(b"".join(records), np.uint8)
        self._ends["records"] += len(content)
        self.pending.append(Batch(index, content))

    def check_alive(self) -> None:
        """See whether the file still has its name.

        Raises
        ------
        FileNotFoundError
            Somebody removed it or put another in its place; what is written is lost on closing.
        """
        mine = os.fstat(self._fd)
        if mine.st_nlink == 0 or not os.path.samestat(mine, os.stat(self._path)):
            raise FileNotFoundError(errno.ENOENT, "it was deleted or replaced while it was being written")

    def write(self) -> list[Batch]:
        """Hand everything pending to the operating system.

        Returns
        -------
        list of Batch
            What was written.

        Raises
        ------
        OSError, RuntimeError
            HDF5 failed (h5py raises either for the same cause): it must not be used any more.
        """
        rows, failures, records = (
            [batch for batch in self.pending if batch.rows.dtype == kind] for kind in (ROW, FAILURE, RECORD)
        )
        self._extend("gradients", [batch.first for batch in rows])
        self._extend("hessians", [batch.second for batch in rows])
        self._extend("records", [batch.first for batch in records])
        for name, batches in (("results", rows), ("failures", failures), ("records_index", records)):
            if batches:
                self._columns[name].append(np.concatenate([batch.rows for batch in batches]))
        hdf5().h5f.flush(self._file.id)
        written, self.pending = self.pending, []
        return written

    def _extend(self, name: str, parts: list[NDArray[Any]]) -> None:
        parts = [part for part in parts if len(part)]
        if parts:
            self._columns[name].append(np.concatenate(parts))
            self._columns[name].flush()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file properly."""
        self._columns.clear()
        self._file.close()

    def abandon(self) -> None:
        """Close the file without writing to it.

        HDF5 fails on closing a file it cannot write and crashes when the process ends.  So its
        descriptor is made to lead to a file in memory: there HDF5 may finish as it likes, and the
        checkpoint stays as a killed writer leaves it, which the next run repairs.
        """
        memory = os.memfd_create("qcmb_mpi")
        # Sparse, and large enough for whatever HDF5 reads back.
        os.ftruncate(memory, os.fstat(self._fd).st_size)
        os.dup2(memory, self._fd, inheritable=False)
        os.close(memory)
        self._columns.clear()
        try:
            self._file.close()
        except (OSError, RuntimeError):
            pass
