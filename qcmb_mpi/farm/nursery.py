"""The warm parent of a rank's runners, a program of its own.

A rank starts it first thing, before MPI, with ``python -m qcmb_mpi.farm.nursery FD``.  It imports
the engines once, never computes, and forks runners in milliseconds; it kills them, with everything
they have started, on request.  It ends when its rank does, which the end of file on its socket
tells; its runners end with it by the kernel's parent-death signal.  Every runner has a folder of its own
for temporary files (``scratch.py``).

On its socket travel pickled requests ``(word, argument)`` with their length in front; a runner's
three pipes and the file for its output follow ``spawn`` as file descriptors.  Replies go the same way.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.farm.runner import prepare, serve
from qcmb_mpi.farm.scratch import Folder, make_folder, remove_abandoned, remove_marked

__all__ = ["MARK", "Nursery", "main", "receive", "send", "sweep"]

#: Environment variable that a nursery and all it starts have in common.
MARK = "_QCMB_MPI_CREW"
MOST_SWEEPS = 100

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_LENGTH = struct.Struct("<q")


def send(channel: socket.socket, message: Any, fds: Sequence[int] = ()) -> None:
    data = pickle.dumps(message)
    channel.sendall(_LENGTH.pack(len(data)) + data)
    if fds:
        socket.send_fds(channel, [b"\0"], list(fds))


def receive(channel: socket.socket) -> Any:
    """Next message; raises EOFError when the other side is gone."""
    return pickle.loads(_exactly(channel, _LENGTH.unpack(_exactly(channel, _LENGTH.size))[0]))


def _exactly(channel: socket.socket, n: int) -> bytes:
    data = bytearray()
    while len(data) < n:
        part = channel.recv(min(n - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Nursery:
    """Forks, kills and reaps runners on behalf of one rank."""

    def __init__(self, channel: socket.socket):
        self._channel = channel
        self._pids: dict[int, int] = {}  # pid -> seat
        self._folders: dict[int, Folder | None] = {}  # pid -> where its temporary files are
        self._setup: Any = None

    def run(self) -> None:
        """Serve requests until the rank is gone, then leave nothing behind."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                readable, _, _ = select.select([self._channel.fileno(), wake_read], [], [])
                if wake_read in readable:
                    os.read(wake_read, 4096)
                    self._reap()
                if self._channel.fileno() in readable:
                    self._answer(*receive(self._channel))
        except (EOFError, ConnectionError):
            pass
        finally:
            self._pids.clear()  # now they are orphans like any other
            self._clean()
            for pid in list(self._folders):
                self._tidy(pid)

    def _answer(self, word: str, argument: Any) -> None:
        if word == "setup":
            try:
                self._setup = prepare(pickle.loads(argument))
                remove_abandoned(self._setup.setup.resources.scratch)
                gc.collect()
                gc.freeze()  # runners neither search nor copy what is here to stay
                send(self._channel, ("ready", None))
            except InputError as error:
                send(self._channel, ("refused", (str(error), error.field)))
        elif word == "spawn":
            _, pipes, _, _ = socket.recv_fds(self._channel, 1, 4)
            self._spawn(argument, pipes)
        elif word == "ping":
            send(self._channel, ("pong", None))
        elif word == "kill":
            _kill([pid for pid, seat in self._pids.items() if seat == argument])

    def _spawn(self, seat: int, pipes: Sequence[int]) -> None:
        sys.stdout.flush()
        parent = os.getpid()
        folder = make_folder(os.environ[MARK], self._setup.setup.resources.scratch)
        pid = os.fork()
        if pid:
            for pipe in pipes:
                os.close(pipe)
            self._pids[pid] = seat
            self._folders[pid] = folder
            send(self._channel, ("spawned", (seat, pid)))
            return
        status = 1
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            if os.getppid() != parent:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            self._channel.close()
            for pipe in pipes:
                os.set_inheritable(pipe, False)  # not for the programs that the engine starts
            serve(pipes, self._setup if folder is None else self._setup.in_folder(folder.path))
            status = 0
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Tell the rank about runners that ended, after killing what they left behind."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            seat = self._pids.pop(pid, None)
            if seat is not None:
                self._clean()
                send(self._channel, ("gone", (seat, pid, status, usage.ru_maxrss * 1024)))
                self._tidy(pid)

    def _tidy(self, pid: int) -> None:
        """Remove the temporary files of a runner that has ended."""
        folder = self._folders.pop(pid)
        if folder is not None:
            folder.remove()

    def _clean(self) -> None:
        """Kill every process of ours that is not a living runner: an ended runner's orphans.

        Runners are subreapers too, so an orphan comes to us only when its runner is gone.
        """
        while orphans := [pid for pid in _children(os.getpid()) if pid not in self._pids]:
            _kill([pid for orphan in orphans for pid in (orphan, *_descendants(orphan))])
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    return found + [below for child in found for below in _descendants(child)]


def sweep(mark: str, scratch: str | None) -> None:
    """Remove what a nursery that was killed has left: programs and folders with its ``mark``."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(MOST_SWEEPS):  # what is killed takes a moment to go, and may have started something
        found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _carries(entry, wanted)]
        if not found:
            break
        _kill(found)
        time.sleep(0.01)
    remove_marked(mark, scratch)


def _carries(pid: str, variable: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return variable in file.read().split(b"\0")
    except OSError:
        return False


def main() -> None:
    """Entry point of the process."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # only its rank ends it, and then it cleans up
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy  # noqa: F401  (what every engine needs, imported while the rank starts MPI)

    with socket.socket(fileno=int(sys.argv[1])) as channel:
        Nursery(channel).run()


if __name__ == "__main__":
    main()
