"""From a path to a file that may be written: lock, create or examine, repair or salvage.

Everything that can be wrong with an existing file is met here and ends in a warning or a
:class:`StoreError`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import StoreError
from qcmb_mpi.store.format import FORMAT, ROW
from qcmb_mpi.store.hdf5 import open_for_writing
from qcmb_mpi.store.layout import make_file, update_input
from qcmb_mpi.store.lock import WriterLock
from qcmb_mpi.store.rescue import read_blocks, rescue_paths
from qcmb_mpi.store.salvage import Finding, examine, salvage
from qcmb_mpi.store.status import status_path
from qcmb_mpi.store.superblock import repair

__all__ = ["Opened", "open_locked"]

# A checkpoint says what it is within its first bytes.
_HEAD = 1 << 16


@dataclass
class Opened:
    """A file open for writing, and what else was found.

    Attributes
    ----------
    file
        The ``h5py.File`` in single-writer/multiple-reader mode.
    warnings
        Sentences for the user.
    leftovers
        Files with rows that have to be taken in.
    """

    file: Any
    warnings: list[str] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)


def open_locked(
    path: Path,
    lock: WriterLock,
    *,
    fingerprint: Mapping[str, str],
    input_text: str,
    n_tasks: int,
    versions: Mapping[str, str],
    overwrite: bool,
    scratch_dir: Path | None,
) -> Opened:
    """Create or go on with a checkpoint whose lock is held.

    Raises
    ------
    StoreError
        As :meth:`qcmb_mpi.store.checkpoint.Checkpoint.open`.
    """
    salvaged = Path(f"{path}.salvage")
    sources = [*rescue_paths(path, scratch_dir), salvaged]
    warnings: list[str] = []

    def create() -> None:
        make_file(
            str(path), fingerprint=fingerprint, input_text=input_text, n_tasks=n_tasks, versions=versions
        )

    try:
        if overwrite:
            _check_replaceable(path)
            for stale in (*sources, status_path(path)):
                stale.unlink(missing_ok=True)
            create()
        elif not path.exists():
            create()
        elif path.is_dir():
            raise StoreError(f"{path}: this is a folder; --checkpoint wants the name of a file.")
        elif path.stat().st_size == 0:
            warnings.append(f"{path}: was empty (0 bytes) and has been begun anew")
            create()
        else:
            finding = examine(path)
            _check_usable(path, finding, fingerprint)
            if finding.state == "damaged":
                warnings += _replace_damaged(path, salvaged, finding, fingerprint)
                create()
            elif repair(str(path)):
                warnings.append(f"{path}: its last writer did not close it; every row it saved is there")
        file = open_for_writing(str(path))
        update_input(file, input_text, n_tasks)
        file.swmr_mode = True
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise StoreError(
            f"{path}: cannot be opened for writing ({reason}). Make room or permit writing there, or name "
            "another file with --checkpoint."
        ) from None
    return Opened(file, warnings, [source for source in sources if source.exists()])


def _check_replaceable(path: Path) -> None:
    """``--overwrite`` drops checkpoints, not whatever a mistyped name leads to."""
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            if FORMAT.encode() in file.read(_HEAD):
                return
    elif not path.exists() or path.is_file():
        return
    raise StoreError(
        f"{path}: this is not a checkpoint of qcmb_mpi and is not overwritten. Remove it yourself, or name "
        "another file with --checkpoint."
    )


def _check_usable(path: Path, finding: Finding, fingerprint: Mapping[str, str]) -> None:
    if finding.state == "foreign":
        raise StoreError(
            f"{path}: this HDF5 file is not a checkpoint of qcmb_mpi. Name another file with --checkpoint."
        )
    if finding.state == "newer":
        raise StoreError(f"{path}: this checkpoint was written by a later version of qcmb_mpi; use that.")
    there = finding.fingerprint
    if there:
        names = sorted(set(there) | set(fingerprint))
        parts = [
            f"{name} ({there.get(name, 'none')} there, {fingerprint.get(name, 'none')} here)"
            for name in names
            if there.get(name) != fingerprint.get(name)
        ]
        if parts:
            raise StoreError(
                f"{path}: this checkpoint belongs to another problem; they differ in {', '.join(parts)}. "
                "Name another file with --checkpoint, or begin again with --overwrite."
            )


def _replace_damaged(path: Path, target: Path, finding: Finding, fingerprint: Mapping[str, str]) -> list[str]:
    """Get the rows out of a damaged file and put it aside.

    Returns
    -------
    list of str
        What was lost.
    """
    got = salvage(path, target)
    _check_usable(path, got, fingerprint)
    batches = read_blocks(target) if target.exists() else iter(())
    whole = sum(len(batch.rows) for batch in batches if batch.rows.dtype == ROW)
    if not whole and not got.fingerprint:
        target.unlink(missing_ok=True)
        raise StoreError(
            f"{path}: this file cannot be used as a checkpoint ({finding.reason}), and no finished task "
            "could be read from it. Name another file with --checkpoint, or begin again with --overwrite."
        )
    aside = Path(f"{path}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = Path(f"{path}.damaged-{number}")
    os.rename(path, aside)
    total = f" of {got.rows}" if got.rows else ""
    return [
        f"{path}: was damaged ({finding.reason}); {whole}{total} finished tasks were salvaged, the others "
        f"are computed again; the damaged file is kept as {aside.name}"
    ]
