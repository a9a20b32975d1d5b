"""The one place that imports h5py.

Shared file systems refuse HDF5's own locks, and ours (:mod:`qcmb_mpi.store.lock`) cover more, so they
are switched off: by the environment, which counts only before h5py is loaded, and per file for those
who loaded it earlier.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from qcmb_mpi.store.superblock import Mended

__all__ = ["ALIGNMENT", "create_file", "hdf5", "open_for_reading", "open_for_writing"]

# The oldest format with single-writer/multiple-reader access, so that older h5py can read it too.
_VERSIONS = ("v110", "v110")
# Chunks begin at multiples of this many bytes: a damaged file can be searched for them.
ALIGNMENT = 4096


@functools.cache
def hdf5() -> Any:
    """h5py, loaded when a file is first needed (0.13 s)."""
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    import h5py

    return h5py


def create_file(path: str) -> Any:
    """A new HDF5 file; an existing one is never truncated."""
    return hdf5().File(
        path,
        "x",
        libver=_VERSIONS,
        locking=False,
        alignment_threshold=ALIGNMENT,
        alignment_interval=ALIGNMENT,
    )


def open_for_writing(path: str) -> Any:
    """An existing file, writable, not yet in single-writer/multiple-reader mode."""
    return hdf5().File(
        path,
        "r+",
        libver=_VERSIONS,
        locking=False,
        alignment_threshold=ALIGNMENT,
        alignment_interval=ALIGNMENT,
    )


def open_for_reading(path: str) -> Any:
    """An existing file for reading, which another process may be writing or have left open.

    Not with HDF5's ``swmr=True``, which meets a damaged structure by trying again for minutes.  A writer
    hands over what is pointed at before what points at it, so this too sees a whole file; should it
    not, it fails and the caller tries again.

    Raises
    ------
    OSError, ValueError
        It is damaged, or no HDF5 file.
    """
    return hdf5().File(Mended(path), "r")
