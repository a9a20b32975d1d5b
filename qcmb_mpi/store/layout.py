"""The datasets of a checkpoint: how they are made and appended to.

In single-writer/multiple-reader mode HDF5 allows no new dataset, attribute or variable-length type,
so everything is made before, under another name, and the file appears whole by rename.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import FAILURE, FORMAT, FORMAT_VERSION, RECORD, ROW, crc
from qcmb_mpi.store.hdf5 import create_file, hdf5

__all__ = ["TABLES", "Column", "expected_bytes", "make_file", "texts_crc", "update_input"]

# One chunk is written anew at every save, so it is small: 256 rows are 48 KB.
TABLES = {
    "results": (ROW, 256),
    "gradients": (np.dtype("<f8"), 8192),
    "hessians": (np.dtype("<f8"), 32768),
    "failures": (FAILURE, 64),
    "records": (np.dtype("u1"), 65536),
    "records_index": (RECORD, 512),
}


def make_file(
    path: str, *, fingerprint: Mapping[str, str], input_text: str, n_tasks: int, versions: Mapping[str, str]
) -> None:
    """Create an empty checkpoint at ``path``, in the place of any other.

    It is complete before it has its name: a process killed in between leaves no half a checkpoint.
    """
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    with create_file(temporary) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["fingerprint"] = json.dumps(dict(fingerprint), sort_keys=True)
        file.attrs["n_tasks"] = np.int64(n_tasks)
        file.attrs["created"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        file.attrs["versions"] = json.dumps(dict(versions), sort_keys=True)
        # HDF5 has sums for its own structures, not for the heap in which texts lie.
        file.attrs["texts_crc32"] = np.uint32(texts_crc(file.attrs))
        for name, (dtype, chunk) in TABLES.items():
            file.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(chunk,), dtype=dtype)
        _make_input(file, input_text.encode())
    with open(temporary, "rb") as done:
        os.fsync(done.fileno())
    os.replace(temporary, path)


def texts_crc(attributes: Any) -> int:
    """CRC32 of the attributes of the root that are texts."""
    names = ("format", "fingerprint", "created", "versions")
    return crc("\0".join(str(attributes[name]) for name in names).encode("utf-8", "surrogateescape"))


def _make_input(file: Any, content: bytes) -> None:
    room = _room(len(content))
    file.create_dataset("input", data=np.array(content, f"S{room}"))
    file.attrs["input_crc32"] = np.uint32(crc(content))


def _room(length: int) -> int:
    """Room for another input of the same job, which is then exchanged without touching the structure."""
    return max(1 << 14, 2 * length)


def expected_bytes(n_rows: int, n_floats: int, n_records: int, record_bytes: int, input_bytes: int) -> int:
    """About how large a checkpoint will be.

    Parameters
    ----------
    n_rows
        Finished tasks.
    n_floats
        Values of all derivatives together, whichever.
    n_records, record_bytes
        Full records, and how long they are together.
    input_bytes
        Length of the normalised input.
    """
    sizes = {"results": n_rows, "gradients": n_floats, "records": record_bytes, "records_index": n_records}
    total = _room(input_bytes)
    for name, n in sizes.items():
        dtype, chunk = TABLES[name]
        total += -(-n // chunk) * chunk * dtype.itemsize
    return total


def update_input(file: Any, input_text: str, n_tasks: int) -> None:
    """Give an existing checkpoint the input and number of tasks of the run that goes on with it."""
    content = input_text.encode()
    if int(file.attrs["n_tasks"]) != n_tasks:
        file.attrs.modify("n_tasks", np.int64(n_tasks))
    if bytes(file["input"][()]).rstrip(b"\0") == content and int(file.attrs["input_crc32"]) == crc(content):
        return
    if len(content) <= file["input"].dtype.itemsize:
        file["input"][()] = np.array(content, file["input"].dtype)
        file.attrs.modify("input_crc32", np.uint32(crc(content)))
    else:
        del file["input"]
        _make_input(file, content)


class Column:
    """One extensible dataset, appended to through HDF5's low-level calls (half the cost of h5py's).

    Parameters
    ----------
    file
        An ``h5py.File`` open for writing.
    name
        Of the dataset.
    """

    def __init__(self, file: Any, name: str):
        self._dataset = file[name].id
        # Worked out once: it takes as long as the writing.
        self._type = self._dataset.get_type()
        self.extent = int(self._dataset.shape[0])

    def append(self, values: NDArray[Any]) -> None:
        """Write values behind the last ones."""
        if not len(values):
            return
        space = hdf5().h5s
        end = self.extent + len(values)
        self._dataset.set_extent((end,))
        target = self._dataset.get_space()
        target.select_hyperslab((self.extent,), (len(values),))
        source = space.create_simple((len(values),))
        self._dataset.write(source, target, np.ascontiguousarray(values), self._type)
        self.extent = end

    def flush(self) -> None:
        """Hand what was appended to the operating system, children of the structure first."""
        self._dataset.flush()
