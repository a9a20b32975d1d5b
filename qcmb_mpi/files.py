"""Files that a user names: where they go by default, whether they can be written, and writing them whole."""

from __future__ import annotations

import glob
import os
import socket
import tempfile
from pathlib import Path

from qcmb_mpi.errors import InputError

__all__ = ["beside", "replace", "writable"]


def beside(source: str, given: str | None, ending: str) -> Path:
    """The file that was named, or else that with the stem of ``source`` and this ending."""
    path = Path(source)
    return Path(given) if given else path.parent / (path.stem + ending)


def writable(path: Path, flag: str) -> None:
    """Raise InputError, naming the flag to change, if no file can be written there."""
    folder = path.parent
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file", flag)
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; create it or choose another", flag)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write in the folder {folder} ({error.strerror}); choose another", flag
        ) from None


def replace(path: Path, text: str) -> None:
    """Write under a temporary name and rename, so that nobody sees half a file."""
    prefix = f".{path.name}.{socket.gethostname()}-"
    for old in path.parent.glob(f"{glob.escape(prefix)}*"):
        if not Path("/proc", old.name.removeprefix(prefix)).exists():  # its writer was killed
            old.unlink(missing_ok=True)
    temporary = path.with_name(f"{prefix}{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
