"""Signs of a checkpoint's writer: what lies beside the file, and its age.

Only looks: takes no lock, asks no lock, writes nothing; works from another machine too.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcmb_mpi.store.lock import lock_path
from qcmb_mpi.store.rescue import rescue_paths
from qcmb_mpi.store.status import read_status, status_path
from qcmb_mpi.store.superblock import Superblock

__all__ = ["Signs", "signs_of"]


@dataclass(frozen=True)
class Signs:
    """What tells of the writer of a checkpoint.

    Attributes
    ----------
    writer
        Host, process (``pid``), job and start (``started``) in the lock file; None where there is none,
        empty where it cannot be read.
    alive
        Whether that process exists; None where it is another host's or not known.
    status
        What the job last said of itself; None where it said nothing, or an earlier job did.
    age
        Seconds since the latest sign of life.
    closed
        Whether the checkpoint was closed properly.
    rescued
        Files beside it with finished tasks that the next run takes in.
    """

    writer: Mapping[str, Any] | None = None
    alive: bool | None = None
    status: Mapping[str, Any] | None = None
    age: float = 0.0
    closed: bool = True
    rescued: tuple[Path, ...] = ()


def signs_of(path: Path, now: float) -> Signs:
    """Look for the writer of a checkpoint at the time ``now`` [unix s].

    Raises
    ------
    OSError
        The checkpoint itself cannot be read.
    """
    writer = _writer(lock_path(path))
    status = read_status(path)
    block = Superblock.of(str(path))
    alive = None
    if writer and writer.get("host") == socket.gethostname():
        alive = _exists(writer.get("pid"))
    if writer and status and any(writer.get(name) != status.get(name) for name in ("host", "pid")):
        status = None
    times = [_modified(file) for file in (path, lock_path(path), *([status_path(path)] if status else []))]
    signs = Signs(
        writer=writer,
        alive=alive,
        status=status,
        age=max(0.0, now - max(times)),
        closed=block is not None and block.flags == 0,
        rescued=tuple(file for file in rescue_paths(path, None) if file.exists()),
    )
    # a job that began or ended meanwhile: what was seen before and after does not fit together
    return signs if _writer(lock_path(path)) == writer else signs_of(path, now)


def _writer(lock: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(lock.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _exists(pid: Any) -> bool | None:
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # killed, and its parent has not looked yet
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")
