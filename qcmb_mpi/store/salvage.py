"""Looking at a checkpoint that may be damaged, and getting the rows out of one that is.

A damaged HDF5 file can crash or hang the library, so both happen in a child process with a time limit;
this module is its program too.  What is got out goes to a file of :mod:`qcmb_mpi.store.rescue`.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from qcmb_mpi.store.format import FAILURE, FORMAT_VERSION, ROW, is_row
from qcmb_mpi.store.hdf5 import ALIGNMENT, open_for_reading
from qcmb_mpi.store.layout import TABLES, texts_crc
from qcmb_mpi.store.reader import Reader
from qcmb_mpi.store.rescue import Batch, write_blocks
from qcmb_mpi.store.superblock import Superblock

__all__ = ["Finding", "examine", "salvage"]

# Time allowed to the child: a start, and reading at a slow disk's speed.
START = 60.0
BYTES_PER_SECOND = 20e6
_PROGRAM = f"from {__name__} import main; main()"


@dataclass(frozen=True)
class Finding:
    """What a look at a file gave.

    Attributes
    ----------
    state
        ``good``; ``foreign`` (readable, but not a checkpoint); ``newer`` (of a later version of the
        format); ``damaged``.
    reason
        What is wrong with it.
    fingerprint
        That of the file, where it could be read.
    rows
        Number of rows its table has room for, where it could be read.
    """

    state: Literal["good", "foreign", "newer", "damaged"]
    reason: str = ""
    fingerprint: dict[str, str] = field(default_factory=dict)
    rows: int = 0


def examine(path: Path) -> Finding:
    """Walk through the structure of a checkpoint without changing it (about 0.3 s)."""
    return _ask_child("examine", path)


def salvage(path: Path, target: Path) -> Finding:
    """Write every whole row of a damaged checkpoint, and what belongs to it, to ``target``."""
    return _ask_child("salvage", path, target)


def _ask_child(*arguments: object) -> Finding:
    size = os.path.getsize(str(arguments[1]))
    limit = START + size / BYTES_PER_SECOND
    # The child finds this package where this process found it, whatever the folder it starts in.
    head = f"import sys; sys.path[:] = {sys.path!r}\n"
    command = [sys.executable, "-c", head + _PROGRAM, str(limit), *map(str, arguments)]
    try:
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Finding("damaged", "reading it does not come to an end")
    if child.returncode < 0:
        return Finding("damaged", f"reading it crashes the HDF5 library (signal {-child.returncode})")
    try:
        return Finding(**json.loads(child.stdout))
    except (ValueError, TypeError):
        last = child.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return Finding("damaged", f"it cannot be read ({last})")


# -- in the child --------------------------------------------------------------------------------


def main() -> None:
    """Program of the child: time limit, ``examine`` or ``salvage``, paths; answers with JSON."""
    limit, task, path, *target = sys.argv[1:]
    # Should its parent be killed, a child that hangs must not stay for ever.
    signal.alarm(int(float(limit)) + 5)
    finding = _examine(path) if task == "examine" else _salvage(path, target[0])
    print(json.dumps(finding.__dict__), flush=True)
    # Closing a damaged file can fail; nothing of it is wanted any more.
    os._exit(0)


def _examine(path: str) -> Finding:
    block = Superblock.of(path)
    size = os.path.getsize(path)
    if block is None:
        return Finding("damaged", "it does not begin like an HDF5 file of this program")
    if not block.whole:
        return Finding("damaged", "its first bytes are damaged")
    if size < block.end:
        return Finding("damaged", f"it was cut short: {size} of {block.end} bytes are left")
    try:
        file = open_for_reading(path)
        reader = Reader(file)
        if not reader.is_checkpoint():
            return Finding("foreign")
        if int(file.attrs["format_version"]) > FORMAT_VERSION:
            return Finding("newer")
        if texts_crc(file.attrs) != int(file.attrs["texts_crc32"]):
            return Finding("damaged", "its attributes are damaged")
        fingerprint = reader.attributes()["fingerprint"]
        rows = int(file["results"].shape[0])
        file["input"][()], int(file.attrs["n_tasks"]), int(file.attrs["input_crc32"])
        for name in TABLES:
            _walk(file[name], name, size)
    except Exception as error:
        # HDF5 and h5py meet damage with exceptions of many types; all mean the same here.
        return Finding("damaged", f"{type(error).__name__}: {error}".split("\n")[0])
    return Finding("good", "", fingerprint, rows)


def _walk(dataset: Any, name: str, size: int) -> None:
    """Visit the index of every chunk; HDF5 checks the sums of its own structures on the way."""
    if dataset.dtype != TABLES[name][0] or dataset.ndim != 1 or dataset.chunks != (TABLES[name][1],):
        raise ValueError(f"/{name} is not what it should be")

    def visit(chunk: Any) -> None:
        if chunk.byte_offset + chunk.size > size:
            raise ValueError(f"/{name} points behind the end of the file")

    dataset.id.chunk_iter(visit)


def _salvage(path: str, target: str) -> Finding:
    found = Finding("damaged")
    with open(target, "wb") as out:
        try:
            file = open_for_reading(path)
            reader = Reader(file)
            if not reader.is_checkpoint():
                return Finding("foreign")
        except Exception:
            write_blocks(out, _scan(path))
            return found
        try:
            if texts_crc(file.attrs) == int(file.attrs["texts_crc32"]):
                found = Finding("damaged", "", reader.attributes()["fingerprint"])
            found = Finding("damaged", "", found.fingerprint, int(file["results"].shape[0]))
        except Exception:
            pass
        written = 0
        # Each on its own: one that cannot be read must not hide the others.
        for part in (_results, _failures, Reader.records):
            try:
                for batch in part(reader):
                    # On disk at once: what follows may crash this process.
                    written += write_blocks(out, [batch if isinstance(batch, Batch) else Batch(*batch)])
                    out.flush()
            except Exception:
                continue
        if not written:
            write_blocks(out, _scan(path))
    return found


def _results(reader: Reader) -> Iterator[Batch]:
    rows, _ = reader.table("results", ROW)
    energies = rows["length"] == 0
    yield Batch(rows[energies])
    rows = rows[~energies]
    rows = rows[reader.has_payload(rows)]
    for which, gradients, hessians in reader.stream(rows):
        yield Batch(rows[which], gradients, hessians)


def _failures(reader: Reader) -> Iterator[Batch]:
    yield Batch(reader.table("failures", FAILURE)[0])


def _scan(path: str) -> Iterator[Batch]:
    """Rows with energies only, looked for at every place where a chunk of them can begin."""
    rows_per_chunk = TABLES["results"][1]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pages = np.arange(0, len(content) - 2 * ROW.itemsize, ALIGNMENT)
        for some in np.array_split(pages, len(pages) // 4096 + 1):
            # The first or the second row of a chunk must be whole for the chunk to be found.
            starts = [np.frombuffer(content[at : at + 2 * ROW.itemsize], ROW) for at in some.tolist()]
            if not starts:
                continue
            hits = is_row(np.concatenate(starts)).reshape(-1, 2).any(axis=1)
            for at in some[hits].tolist():
                n = min(rows_per_chunk, (len(content) - at) // ROW.itemsize)
                rows = np.frombuffer(content[at : at + n * ROW.itemsize], ROW)
                yield Batch(rows[is_row(rows) & (rows["length"] == 0)])
