"""Folders for the temporary files of runners: each has its own, which goes when the runner has ended.

Whoever makes a folder holds a lock on it, which the kernel takes back with the last process that has it.
So what killed processes have left is told from what is in use, and the next one on that host removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Folder", "make_folder", "remove_abandoned", "remove_marked"]

_NAME = "qcmb_mpi"


@dataclass(frozen=True)
class Folder:
    """A folder of this process; ``lock`` is the descriptor that holds it."""

    path: str
    lock: int

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def make_folder(mark: str, scratch: str | None) -> Folder | None:
    """A new folder in ``scratch``, or the system's place for temporary files; None if none can be made.

    Its name has the host and ``mark`` in it.
    """
    try:
        new = tempfile.mkdtemp(prefix=f".{_NAME}-", dir=scratch)  # a name that nobody looks for yet
        lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # without locks nothing is taken for abandoned
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        path = Path(new)
        found = path.rename(path.with_name(_prefix(mark) + path.name.rpartition("-")[2]))
    except OSError:
        return None
    return Folder(str(found), lock)


def remove_marked(mark: str, scratch: str | None) -> None:
    """Remove what processes with a ``mark`` have left on this host; they must be gone."""
    for path in _folders(_prefix(mark), scratch):
        shutil.rmtree(path, ignore_errors=True)


def remove_abandoned(scratch: str | None) -> None:
    """Remove folders on this host that no living process holds."""
    for path in _folders(_prefix(""), scratch):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # another user's, or just removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # in use
        finally:
            os.close(lock)


def _prefix(mark: str) -> str:
    return f"{_NAME}-{socket.gethostname()}-" + (f"{mark[:12]}-" if mark else "")


def _folders(prefix: str, scratch: str | None) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(scratch or tempfile.gettempdir()) as entries:
        yield from [entry.path for entry in entries if entry.name.startswith(prefix)]
