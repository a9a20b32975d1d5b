"""The checkpoint of a running job: append, save, resume.

Append-only; what :meth:`Checkpoint.save` returned for survives SIGKILL at any instant.  After the first
write error HDF5 is not touched again: the rows that may not have arrived go to a rescue file, and the
next run takes them in.  Knows rows, keys and flat arrays; what a key means is the caller's business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store.format import FAILURE, ROW, Rows
from qcmb_mpi.store.leftovers import take_in
from qcmb_mpi.store.lock import WriterLock
from qcmb_mpi.store.opening import open_locked
from qcmb_mpi.store.reader import Floats, Reader
from qcmb_mpi.store.rescue import Batch, leave_batches
from qcmb_mpi.store.writer import Writer

__all__ = ["Checkpoint", "WriteFailed"]

# Rows not yet confirmed by an fsync are kept in memory; beyond this many bytes save() does one.
_UNSYNCED_LIMIT = 64 << 20
_NOTHING: Floats = np.zeros(0)


class WriteFailed(Exception):
    """The checkpoint cannot be written any more; the message says why and where the last rows are."""


class Checkpoint:
    """A checkpoint open for writing; made by :meth:`open`.

    Attributes
    ----------
    path
        The HDF5 file.
    warnings
        What was found damaged, lost or left over, in sentences for the user.
    """

    def __init__(self, path: Path, lock: WriterLock, file: Any, scratch_dir: Path | None):
        self.path = path
        self.warnings: list[str] = []
        self._lock = lock
        self._reader = Reader(file)
        self._scratch = scratch_dir
        self._writer = Writer(path, file)
        self._unsynced: list[Batch] = []
        self._unsynced_bytes = 0
        self._failed = False
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        fingerprint: Mapping[str, str],
        input_text: str,
        n_tasks: int,
        versions: Mapping[str, str],
        overwrite: bool = False,
        scratch_dir: str | os.PathLike[str] | None = None,
    ) -> Checkpoint:
        """Create a checkpoint, or go on with an existing one.

        Parameters
        ----------
        path
            The HDF5 file.
        fingerprint
            Name of each part of the problem and its digest; another one is refused, naming the parts.
        input_text
            The normalised input as JSON.
        n_tasks
            Number of tasks this run wants; may differ from the existing checkpoint's.
        versions
            Program versions, for the record.
        overwrite
            Drop an existing checkpoint and begin again.
        scratch_dir
            Where the last rows go if they cannot be left beside the checkpoint; the system's temporary
            folder if not given.

        Raises
        ------
        StoreError
            Another writer has it, it belongs to another problem, is not a checkpoint, or cannot be
            read, repaired or written.
        """
        # Two names of one file are one checkpoint.
        path = Path(os.path.realpath(path))
        scratch = None if scratch_dir is None else Path(scratch_dir)
        lock = WriterLock(path)
        try:
            opened = open_locked(
                path,
                lock,
                fingerprint=fingerprint,
                input_text=input_text,
                n_tasks=n_tasks,
                versions=versions,
                overwrite=overwrite,
                scratch_dir=scratch,
            )
            checkpoint = cls(path, lock, opened.file, scratch)
            checkpoint.warnings += opened.warnings
            checkpoint._take_in(opened.leftovers)
        except BaseException:
            lock.release()
            raise
        return checkpoint

    def _take_in(self, leftovers: list[Path]) -> None:
        if not leftovers:
            return
        try:
            self._writer.check_alive()
            found = take_in(self._writer, self._reader, leftovers)
        except (OSError, RuntimeError) as error:
            # They are where they were: nothing is lost by leaving.
            self._writer.abandon()
            raise StoreError(
                f"{self.path}: cannot be written ({_reason(error)}). Make room, or name another file with "
                "--checkpoint."
            ) from None
        if found:
            names = ", ".join(map(str, leftovers))
            self.warnings.append(f"{self.path}: {found} finished tasks taken in from {names}")

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing ---------------------------------------------------------------------------------

    def append(self, rows: Rows, gradients: Floats = _NOTHING, hessians: Floats = _NOTHING) -> None:
        """Take in finished tasks; they are in the file after the next :meth:`save`.

        Parameters
        ----------
        rows : (n,) ROW
            ``length`` and ``gradient_offset`` say what each has (:func:`~qcmb_mpi.store.format.claim`).
            Offsets and checksums are filled in here, in place.
        gradients : (sum of their lengths,) float64
            In Eh/bohr, laid end to end in the order of the rows.
        hessians : (sum of their lengths,) float64
            In Eh/bohr^2, likewise.
        """
        gradients = np.array(gradients, np.float64).reshape(-1)
        hessians = np.array(hessians, np.float64).reshape(-1)
        self._writer.place(rows, gradients, hessians)

    def append_failures(self, failures: Rows) -> None:
        """Take in failed attempts, ``(n,) FAILURE``; checksums are filled in."""
        self._writer.place_failures(failures)

    def append_records(self, keys: NDArray[np.uint64], records: Sequence[bytes]) -> None:
        """Take in the full records of finished tasks, compressed or not.

        Parameters
        ----------
        keys : (n, 2) uint64
        records
            Their bytes.
        """
        self._writer.place_records(keys, records)

    @property
    def pending(self) -> int:
        """Finished tasks taken in since the last save."""
        return sum(len(batch.rows) for batch in self._writer.pending if batch.rows.dtype == ROW)

    def save(self, sync: bool = False) -> None:
        """Write what was taken in.

        Parameters
        ----------
        sync
            Also wait until it is on the disk.

        Raises
        ------
        WriteFailed
            Once, on the first error; what may not have arrived was left in a rescue file.
        """
        if self._failed:
            raise WriteFailed(f"{self.path}: not writable since an earlier error")
        try:
            self._lock.beat()
            self._writer.check_alive()
            if self._writer.pending:
                written = self._writer.write()
                self._unsynced += written
                self._unsynced_bytes += sum(batch.nbytes for batch in written)
            if sync or self._unsynced_bytes > _UNSYNCED_LIMIT:
                self._writer.sync()
                self._unsynced = []
                self._unsynced_bytes = 0
        except (OSError, RuntimeError) as error:
            # h5py raises OSError or RuntimeError for the same failure, depending on the call.
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Leave HDF5 alone, save what can be saved elsewhere, and say so."""
        self._failed = True
        batches = self._unsynced + self._writer.pending
        where = None
        everything = isinstance(error, FileNotFoundError)
        if everything:
            where = leave_batches(self.path, self._scratch, self._everything)
        if where is None:
            everything = False
            where = leave_batches(self.path, self._scratch, lambda: iter(batches))
        self._writer.abandon()
        self._lock.release()
        n = sum(len(batch.rows) for batch in batches if batch.rows.dtype == ROW)
        if everything:
            kept = f"all its finished tasks are in {where}"
        elif where is not None:
            kept = f"the last {n} finished tasks are in {where}"
        else:
            kept = f"the last {n} finished tasks could not be kept anywhere and will be computed again"
        raise WriteFailed(
            f"{self.path}: cannot be written ({_reason(error)}); {kept}. The same command goes on from there."
        ) from None

    def _everything(self) -> Iterator[Batch]:
        """All whole rows of a file that has lost its name but can still be read, and the pending ones."""
        rows, _ = self._reader.table("results", ROW)
        rows = rows[self._reader.has_payload(rows)]
        for which, gradients, hessians in self._reader.stream(rows):
            yield Batch(rows[which], gradients, hessians)
        yield Batch(self._reader.table("failures", FAILURE)[0])
        for index, content in self._reader.records():
            yield Batch(index, content)
        yield from self._writer.pending

    # -- reading ---------------------------------------------------------------------------------

    def rows(self) -> Rows:
        """All finished tasks, saved or not, whose row and derivatives are whole, ``(n,) ROW``.

        Others are skipped and mentioned in ``warnings``.
        """
        rows, damaged = self._reader.table("results", ROW)
        total = len(rows) + damaged
        whole = self._reader.has_payload(rows)
        if not whole.all():
            rows = rows[whole]
        if len(rows) < total:
            self.warnings.append(
                f"{self.path}: {total - len(rows)} of {total} rows are damaged or were never completed; "
                "their tasks are computed again"
            )
        pending = [batch.rows for batch in self._writer.pending if batch.rows.dtype == ROW]
        return np.concatenate([rows, *pending])

    @property
    def versions(self) -> dict[str, str]:
        """Program versions of the run that began it."""
        versions: dict[str, str] = self._reader.attributes()["versions"]
        return versions

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and bytes of every saved full record."""
        for row, content in self._reader.each_record():
            yield row["key"].tobytes(), content

    def failures(self) -> Rows:
        """All saved failed attempts, ``(n,) FAILURE``."""
        return self._reader.table("failures", FAILURE)[0]

    def gradients(self, offset: int, length: int) -> Floats:
        """``length`` saved values of ``/gradients`` [Eh/bohr]."""
        return self._reader.flat("gradients", offset, length)

    def hessians(self, offset: int, length: int) -> Floats:
        """``length`` saved values of ``/hessians`` [Eh/bohr^2]."""
        return self._reader.flat("hessians", offset, length)

    def read_gradients(self, rows: Rows) -> Floats:
        """Saved gradients of some rows, laid end to end in their order [Eh/bohr]."""
        return self._reader.derivatives(rows)[0]

    def read_hessians(self, rows: Rows) -> Floats:
        """Saved Hessians of some rows, laid end to end in their order [Eh/bohr^2]."""
        return self._reader.derivatives(rows)[1]

    def stream(self, rows: Rows, values: int = 1 << 22) -> Iterator[tuple[slice, Floats, Floats]]:
        """Saved derivatives of many rows in pieces of about ``values`` float64 values.

        Yields
        ------
        which, gradients, hessians
            ``which`` is the slice of ``rows`` these belong to.
        """
        return self._reader.stream(rows, values)

    def close(self) -> None:
        """Save, sync and close; the file is then readable by anything that reads HDF5.

        Raises
        ------
        WriteFailed
            As :meth:`save` does.
        """
        if self._closed or self._failed:
            return
        self.save(sync=True)
        self._closed = True
        try:
            self._writer.close()
        except (OSError, RuntimeError):
            # Everything is on the disk; what failed is saying so, and the next run repairs that.
            self._writer.abandon()
        finally:
            self._lock.release()


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number:
        return os.strerror(number) if not isinstance(error, FileNotFoundError) else str(error.strerror)
    text = str(error)
    # HDF5 writes its own sentence around the number of the system's error.
    if "errno = " in text:
        return os.strerror(int(text.split("errno = ")[1].split(",")[0]))
    return text.split("\n")[0]
