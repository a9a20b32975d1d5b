"""Reading a checkpoint for ``status`` and ``report``: live, finished, or left by a killed writer.

Needs nothing but the file, changes nothing, takes no lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store.format import FAILURE, ROW, Rows
from qcmb_mpi.store.hdf5 import open_for_reading
from qcmb_mpi.store.reader import Floats, Reader
from qcmb_mpi.store.salvage import examine
from qcmb_mpi.store.superblock import Superblock

__all__ = ["Snapshot", "read"]

# A live file may be met in the middle of a write, which takes milliseconds.
_TRIES = 5
_PAUSE = 0.2


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A checkpoint at one moment.

    Attributes
    ----------
    path
        The file.
    fingerprint
        Parts of the problem and their digests.
    versions
        Program versions.
    created
        When the file was begun, ISO 8601.
    n_tasks
        Number of tasks the last run wanted.
    input_text
        The normalised input as JSON.
    rows : (n,) ROW
        Finished tasks whose row is whole; their derivatives are checked only when read.
    failures : (m,) FAILURE
        Failed attempts.
    warnings
        What is damaged, in sentences for the user.
    """

    path: Path
    fingerprint: dict[str, str]
    versions: dict[str, str]
    created: str
    n_tasks: int
    input_text: str
    rows: Rows
    failures: Rows
    warnings: list[str] = field(default_factory=list)

    def stream(self, rows: Rows, values: int = 1 << 22) -> Iterator[tuple[slice, Floats, Floats]]:
        """Derivatives of some of the rows in pieces of about ``values`` float64 values.

        Yields
        ------
        which, gradients, hessians
            ``which`` is the slice of ``rows`` these belong to; values [Eh/bohr] and [Eh/bohr^2] laid
            end to end in their order.

        Raises
        ------
        StoreError
            They are damaged.
        """
        with open_for_reading(str(self.path)) as file:
            reader = Reader(file)
            if not reader.has_payload(rows).all():
                raise StoreError(
                    f"{self.path}: derivatives in this checkpoint are damaged. Run the same input again: "
                    "what is damaged is computed anew."
                )
            yield from reader.stream(rows, values)

    def records(self) -> Iterator[tuple[Rows, bytes]]:
        """Full records of the finished tasks: row of ``/records_index`` and bytes, one by one."""
        with open_for_reading(str(self.path)) as file:
            yield from Reader(file).each_record()


def read(path: str | os.PathLike[str]) -> Snapshot:
    """Look into a checkpoint, whether or not another process is writing it.

    Raises
    ------
    StoreError
        There is no such file, it is not a checkpoint, or it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise StoreError(f"{path}: this is a folder; expected the name of a checkpoint in it.")
    if not path.is_file():
        raise StoreError(
            f"{path}: there is no such checkpoint. A job makes it as soon as it begins to compute."
        )
    if not path.stat().st_size:
        raise StoreError(f"{path}: is empty (0 bytes); a run begins it anew.")
    last = ""
    for _ in range(_TRIES):
        finding = examine(path)
        if finding.state == "foreign":
            raise StoreError(f"{path}: this HDF5 file is not a checkpoint of qcmb_mpi.")
        if finding.state == "newer":
            raise StoreError(f"{path}: this checkpoint was written by a later version of qcmb_mpi; use that.")
        last = finding.reason
        if finding.state == "good":
            try:
                with open_for_reading(str(path)) as file:
                    return _snapshot(path, Reader(file))
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                last = str(error).split("\n")[0]
        block = Superblock.of(str(path))
        if block is None or not block.flags:
            # Nobody writes it: it will not become better.
            break
        time.sleep(_PAUSE)
    raise StoreError(
        f"{path}: this file cannot be read as a checkpoint ({last}). If it is one, run the same input again: "
        "what can be salvaged is."
    )


def _snapshot(path: Path, reader: Reader) -> Snapshot:
    attributes = reader.attributes()
    text = reader.input_text()
    if text is None:
        raise ValueError("the input kept in it is damaged")
    rows, damaged = reader.table("results", ROW)
    warnings = [f"{path}: {damaged} rows are damaged or not complete"] if damaged else []
    return Snapshot(
        path=path,
        fingerprint=attributes["fingerprint"],
        versions=attributes["versions"],
        created=str(attributes.get("created", "")),
        n_tasks=int(attributes["n_tasks"]),
        input_text=text,
        rows=rows,
        failures=reader.table("failures", FAILURE)[0],
        warnings=warnings,
    )
