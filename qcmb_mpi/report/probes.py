"""What can be tried from one process: whether a folder holds a checkpoint, which engines there are.

This module must not know what anyone concludes from it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Folder", "find_engines", "probe_folder"]

#: Look for one engine each, printing its version, or all of QCEngine's programs.  They are run in
#: processes of their own: a package built for another processor ends with a signal, and some
#: programs are slow to tell their version.
_PACKAGE_SCRIPT = """
import importlib, importlib.metadata, json
importlib.import_module({name!r})
print(json.dumps({{{name!r}: importlib.metadata.version({name!r})}}))
"""
_QCENGINE_SCRIPT = """
import json, qcengine
found = {}
for name in sorted(qcengine.list_available_programs()):
    try:
        version = qcengine.get_program(name).get_version()
    except Exception:
        version = "of unknown version"
    found[name] = f"{version} (through QCEngine {qcengine.__version__})"
    print(json.dumps(found), flush=True)
"""
_SCRIPTS = {
    "pyscf": _PACKAGE_SCRIPT.format(name="pyscf"),
    "tblite": _PACKAGE_SCRIPT.format(name="tblite"),
    "qcengine": _QCENGINE_SCRIPT,
}


@dataclass(frozen=True)
class Folder:
    """Where the checkpoint and the result go; `free` in bytes, None where it cannot be told."""

    path: str
    file_system: str
    writable: bool
    locks: bool
    hdf5: bool
    free: int | None
    error: str = ""


def probe_folder(path: str | Path) -> Folder:
    """Try what a checkpoint needs of its folder; leaves nothing behind."""
    folder = Path(path).resolve()
    try:
        free: int | None = shutil.disk_usage(folder).free
    except OSError:
        free = None
    able = {"writable": False, "locks": False, "hdf5": False}
    error = ""
    try:
        with tempfile.TemporaryDirectory(prefix=".qcmb_mpi-check-", dir=folder) as scratch:
            with open(Path(scratch, "lock"), "w") as file:
                file.write("written by qcmb_mpi check\n")
                file.flush()
                os.fsync(file.fileno())
                able["writable"] = True
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    able["locks"] = True
                except OSError:
                    pass
            able["hdf5"] = _hdf5_works(Path(scratch, "probe.h5"))
    except OSError as failure:
        error = failure.strerror or str(failure)
    return Folder(str(folder), _file_system(folder), free=free, error=error, **able)


def _hdf5_works(path: Path) -> bool:
    """Whether HDF5 can write there as a checkpoint does, and read it back."""
    import h5py

    try:
        with h5py.File(path, "w", libver="latest", locking=False) as file:
            rows = file.create_dataset("rows", (1,), maxshape=(None,), chunks=(16,), dtype="f8")
            file.swmr_mode = True
            rows[0] = 1.0
            rows.flush()
        with h5py.File(path, "r", locking=False) as file:
            return bool(file["rows"][0] == 1.0)
    except (OSError, RuntimeError):
        return False


def _file_system(folder: Path, mounts: str = "/proc/self/mountinfo") -> str:
    """Type of the file system that holds `folder`."""
    best, kind = -1, "unknown"
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        # A later mount on the same point covers the earlier one.
        if (folder == Path(point) or Path(point) in folder.parents) and len(point) >= best:
            best, kind = len(point), after.split()[0]
    return kind


def find_engines(
    environ: Mapping[str, str] | None = None, timeout: float = 60.0
) -> tuple[dict[str, str], list[str]]:
    """Engines that can be used here, by name with their version, and what was said of broken ones.

    Parameters
    ----------
    environ
        Environment to look in; under MPI one without the launcher's variables.
    timeout
        Seconds after which what was found by then is all.
    """
    searches = {
        name: subprocess.Popen(
            [sys.executable, "-c", script],
            env=None if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        for name, script in _SCRIPTS.items()
    }
    engines: dict[str, str] = {}
    complaints: list[str] = []
    end = time.monotonic() + timeout
    for name, search in searches.items():
        try:
            out, err = search.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            search.kill()
            out, err = search.communicate()
            complaints.append(f"looking for {name} took more than {timeout:.0f} s")
        found = [line for line in out.splitlines() if line.startswith("{")]
        engines = {**(json.loads(found[-1]) if found else {}), **engines}
        last = err.strip().splitlines()[-1:]
        if search.returncode == 1 and last != [f"ModuleNotFoundError: No module named '{name}'"]:
            complaints.append(f"{name} does not import: {''.join(last)}")
        elif search.returncode not in (0, 1) and search.returncode != -signal.SIGKILL:
            complaints.append(f"importing {name} ended with code {search.returncode}")
    return dict(sorted(engines.items())), complaints
