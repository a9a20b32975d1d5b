"""One writer per checkpoint.

``<checkpoint>.lock`` is held by ``flock`` for as long as the writer lives, and says who that is.
Where the file system has no ``flock``, the file's time of modification is a heartbeat and a lock not
renewed for a minute is stale.  Knows nothing of HDF5.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import StoreError

__all__ = ["LockLost", "WriterLock", "lock_path"]

STALE_AFTER = 60.0
BEAT_EVERY = 10.0
# How long a second starter waits to see whether it won the race for a lock without flock [s].
SETTLE = 0.5

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "COBALT_JOBID")


class LockLost(OSError):
    """Another process took over a lock that we failed to renew in time."""


def lock_path(path: str | os.PathLike[str]) -> Path:
    """Name of the lock file of a checkpoint."""
    return Path(f"{os.fspath(path)}.lock")


def _flock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(content: bytes) -> str:
    try:
        who = json.loads(content)
        job = f", job {who['job']}" if who.get("job") else ""
        return f"process {who['pid']} on host {who['host']}{job}, since {who['started']}"
    except (ValueError, KeyError, TypeError):
        return "another process that has not yet written its name"


class WriterLock:
    """The right to write one checkpoint.

    Parameters
    ----------
    path
        The checkpoint.

    Raises
    ------
    StoreError
        Another process holds it (named with host, process and job), or the folder cannot be written.
    """

    def __init__(self, path: Path):
        self.path = lock_path(path)
        self._checkpoint = path
        self._token = secrets.token_hex(8)
        self._fd = -1
        self._beat = time.monotonic()
        self.flocked = True
        try:
            self._acquire()
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"{path}: cannot write here ({error.strerror}: {self.path}). Make room or permit writing "
                "there, or name a checkpoint elsewhere with --checkpoint."
            ) from None

    def _identity(self) -> bytes:
        job = next((os.environ[name] for name in _JOB_VARIABLES if os.environ.get(name)), None)
        who: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": job,
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "token": self._token,
        }
        return json.dumps(who).encode()

    def _acquire(self) -> None:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _flock(fd)
            except BlockingIOError:
                self._refuse(fd)
            except OSError as error:
                os.close(fd)
                if error.errno not in _UNSUPPORTED:
                    raise
                self.flocked = False
                self._acquire_by_heartbeat()
                return
            # Between our opening and locking it, its last holder may have removed the file: then the
            # name belongs to nobody, or to somebody else's new file.
            if self._is_at_path(fd):
                break
            os.close(fd)
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, self._identity(), 0)
        except OSError:
            self.release()
            raise

    def _refuse(self, fd: int) -> None:
        content = b""
        for _ in range(20):
            content = os.pread(fd, 4096, 0)
            if content:
                break
            time.sleep(0.05)
        os.close(fd)
        raise StoreError(
            f"{self._checkpoint}: this checkpoint is being written by {_holder(content)}. Wait for it or end "
            "it, or name another file with --checkpoint."
        )

    def _is_at_path(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    # -- without flock ---------------------------------------------------------------------------

    def _acquire_by_heartbeat(self) -> None:
        # The other's beats are compared with the file system's clock, not with this machine's.
        handle, mine = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name + ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._identity())
            now = os.stat(mine).st_mtime
            try:
                content, age = self.path.read_bytes(), now - os.stat(self.path).st_mtime
            except FileNotFoundError:
                content, age = b"", STALE_AFTER
            # An empty file is what the attempt to flock left, not a holder.
            if content and age < STALE_AFTER:
                raise StoreError(
                    f"{self._checkpoint}: this checkpoint is being written by {_holder(content)}, seen "
                    f"alive {max(age, 0.0):.0f} s ago. If that process is gone, start again in a minute; "
                    "else name another file with --checkpoint."
                )
            os.replace(mine, self.path)
        except BaseException:
            try:
                os.unlink(mine)
            except OSError:
                pass
            raise
        # Two starters may both have found it free; the later rename wins and both see that one.
        time.sleep(SETTLE)
        if not self._is_ours():
            raise StoreError(
                f"{self._checkpoint}: this checkpoint was taken at the same moment by "
                f"{_holder(self.path.read_bytes())}. Name another file with --checkpoint."
            )

    def _is_ours(self) -> bool:
        try:
            return self._token.encode() in self.path.read_bytes()
        except OSError:
            return False

    def beat(self) -> None:
        """Renew a lock without ``flock``; at most every ten seconds anything is done.

        Raises
        ------
        LockLost
            Another process took it over.
        """
        now = time.monotonic()
        if self.flocked or now - self._beat < BEAT_EVERY:
            return
        if not self._is_ours():
            raise LockLost(errno.ESTALE, f"{self.path} was taken over by another process")
        os.utime(self.path)
        self._beat = now

    def release(self) -> None:
        """Give it up and remove the file, if it is still ours."""
        if self.flocked:
            if self._fd < 0:
                return
            if self._is_at_path(self._fd):
                self._unlink()
            os.close(self._fd)
            self._fd = -1
        elif self._is_ours():
            self._unlink()

    def _unlink(self) -> None:
        # A folder that has become read-only keeps the file; without a holder it hinders nobody.
        try:
            os.unlink(self.path)
        except OSError:
            pass
