"""Taking in what an earlier run left beside its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import FAILURE, ROW, payload_lengths, split_keys
from qcmb_mpi.store.reader import Reader
from qcmb_mpi.store.rescue import read_blocks
from qcmb_mpi.store.writer import Writer

__all__ = ["take_in"]

# Bytes appended between two writes.
_PORTION = 64 << 20


def take_in(writer: Writer, reader: Reader, files: Sequence[Path]) -> int:
    """Append what rescue files hold and the checkpoint does not, and remove them once it is safe.

    Parameters
    ----------
    writer, reader
        Of the same checkpoint.
    files
        Rescue files; blocks in them that are not whole are skipped.

    Returns
    -------
    int
        Number of finished tasks taken in.

    Raises
    ------
    OSError, RuntimeError
        They could not be written; the rescue files are still there.
    """
    rows, _ = reader.table("results", ROW)
    known = set(rows["key"][reader.has_payload(rows)].tolist())
    known_failures = set(reader.table("failures", FAILURE)[0].tolist())
    known_records = {key for index, _ in reader.records() for key in index["key"].tolist()}
    found = portion = 0
    for batch in (batch for file in files for batch in read_blocks(file)):
        rows = batch.rows.copy()
        if rows.dtype == ROW:
            new = _are_new(rows["key"].tolist(), known)
            n_gradient, n_hessian = payload_lengths(rows)
            gradients = batch.first[np.repeat(new, n_gradient)]
            writer.place(rows[new], gradients, batch.second[np.repeat(new, n_hessian)])
            found += int(new.sum())
        elif rows.dtype == FAILURE:
            writer.place_failures(rows[_are_new(rows.tolist(), known_failures)])
        else:
            new = _are_new(rows["key"].tolist(), known_records)
            parts = np.split(batch.first, np.cumsum(rows["length"])[:-1])
            chosen = [part.tobytes() for part, wanted in zip(parts, new, strict=True) if wanted]
            writer.place_records(split_keys(rows["key"][new]), chosen)
        portion += batch.nbytes
        if portion > _PORTION:
            writer.write()
            portion = 0
    writer.write()
    writer.sync()
    for file in files:
        file.unlink(missing_ok=True)
    return found


def _are_new(names: list[Any], known: set[Any]) -> NDArray[np.bool_]:
    """Which of some names are not among the known ones; they are added to them."""
    new = np.zeros(len(names), np.bool_)
    for i, name in enumerate(names):
        if name not in known:
            known.add(name)
            new[i] = True
    return new
