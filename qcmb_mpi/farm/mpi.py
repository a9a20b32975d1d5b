"""MPI as the farm needs it: bytes to a rank, bytes from any rank, nobody spinning.

The only module that imports mpi4py, and it is imported only when a launcher has started this
process, the user handed in a communicator, or ``check`` asks which library there is.  It knows
nothing of what the bytes mean.

Where the library can lose a rank and go on (Open MPI, started with ``--with-ft ulfm``), every call may
tell of a death once; it is noted, and :meth:`World.lost` hands it on.  Elsewhere the launcher ends the
job.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from typing import Any

import mpi4py
import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import ExitCode
from qcmb_mpi.logs import log

__all__ = ["World", "connect", "library"]


LONGEST_NAP = 0.005  # seconds between two looks at a collective operation


def connect(comm: Any = None) -> World:
    """The world of this process: ``comm``, or a copy of all ranks that were started together."""
    if comm is None:
        mpi4py.rc.thread_level = "funneled"  # only the main thread calls MPI
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    return World(comm)


def library() -> str | None:
    """Name and version of the MPI library that would be used, not initialised; None if there is none."""
    mpi4py.rc.initialize = False
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return None
    return _named(MPI)


def _named(mpi: Any) -> str:
    return str(mpi.Get_library_version().split("\n")[0].split(",")[0].strip())


class World:
    """The ranks of a job.

    Parameters
    ----------
    comm
        An mpi4py communicator; messages travel in a copy of it, apart from anybody else's.
    """

    def __init__(self, comm: Any):
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = comm.Dup()
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        self.hosts: list[str] = self._comm.allgather(socket.gethostname())
        self.launched: int = MPI.COMM_WORLD.Get_size()  # comm may be a part of it
        self.library = _named(MPI)
        self._outgoing: list[tuple[Any, bytes]] = []
        self._parent = os.getppid()
        self._dead: set[int] = set()
        self._untold: list[int] = []  # dead ranks that nobody has asked for yet

    @property
    def orphaned(self) -> bool:
        """Whether the launcher has died under this rank: nobody will ever send it anything."""
        return os.getppid() != self._parent

    def neighbours(self, mine: Any) -> tuple[int, list[Any]]:
        """This rank's number on its node, and ``mine`` of every rank of the node."""
        node = self._comm.Split_type(self._mpi.COMM_TYPE_SHARED)
        try:
            return node.Get_rank(), node.allgather(mine)
        finally:
            node.Free()

    def collect(self, mine: Any) -> list[Any]:
        """``mine`` of every rank, on every rank."""
        return list(self._comm.allgather(mine))

    def broadcast(self, data: bytes | None) -> bytes:
        """Give ``data`` of rank 0 to every rank; the others pass None and sleep until it comes."""
        length = np.array([0 if data is None else len(data)], dtype=np.int64)
        self._nap(self._comm.Ibcast(length))
        buffer: NDArray[np.uint8] = np.empty(int(length[0]), dtype=np.uint8)
        if data is not None:
            buffer[:] = np.frombuffer(data, dtype=np.uint8)
        self._nap(self._comm.Ibcast(buffer))
        return buffer.tobytes()

    def send(self, rank: int, tag: int, data: bytes) -> None:
        """Send ``data`` without waiting for it to arrive; to a dead rank nothing is sent."""
        self._outgoing = [sent for sent in self._outgoing if self._is_under_way(sent[0])]
        if rank in self._dead:
            return
        try:
            request = self._comm.Isend([data, self._mpi.BYTE], dest=rank, tag=tag)
        except self._mpi.Exception as error:
            self._note_deaths(error)
        else:
            self._outgoing.append((request, data))

    def poll(self) -> list[tuple[int, int, bytes]]:
        """Messages that have arrived: (rank, tag, data)."""
        found = []
        status = self._mpi.Status()
        misses = 0
        while misses < 2:  # a look that finds nothing lets MPI take in what the next look finds
            try:
                message = self._comm.Improbe(status=status)
                if message is None:
                    misses += 1
                    continue
                buffer = bytearray(status.Get_count(self._mpi.BYTE))
                message.Recv([buffer, self._mpi.BYTE])
            except self._mpi.Exception as error:
                self._note_deaths(error)
            else:
                found.append((status.Get_source(), status.Get_tag(), bytes(buffer)))
        return found

    def lost(self) -> list[int]:
        """Ranks that have died since the last call, while the others go on."""
        untold, self._untold = self._untold, []
        return untold

    def _note_deaths(self, error: Any) -> None:
        """Note which ranks have died if that is what MPI complains of; raises anything else again."""
        deaths = (self._mpi.ERR_PROC_FAILED, self._mpi.ERR_PROC_FAILED_PENDING)
        if error.Get_error_class() not in deaths:
            raise error
        failed = self._comm.Get_failed()
        everybody = self._comm.Get_group()
        dead = set(failed.Translate_ranks(list(range(failed.Get_size())), everybody)) - self._dead
        self._comm.Ack_failed()  # or the same deaths are told again
        self._dead |= dead
        self._untold += sorted(dead)
        if 0 in dead:
            os._exit(1)  # nobody is left who could use what this rank computes

    def _is_under_way(self, request: Any) -> bool:
        try:
            return not request.Test()
        except self._mpi.Exception as error:
            self._note_deaths(error)
            return False

    def flush(self, seconds: float) -> None:
        """Wait until what was sent has left, but not longer than ``seconds``."""
        end = time.monotonic() + seconds
        while self._outgoing and time.monotonic() < end:
            self._outgoing = [sent for sent in self._outgoing if self._is_under_way(sent[0])]
            time.sleep(0.001)

    def close(self, patience: float = float("inf")) -> bool:
        """Free the communicator, all ranks together.

        Returns
        -------
        bool
            False if they did not all come within ``patience`` seconds: finalizing MPI would hang as well,
            and :meth:`abort_at_exit` is the way out.
        """
        end = time.monotonic() + patience
        try:
            barrier = None if self._dead else self._comm.Ibarrier()
            while barrier is not None and not barrier.Test():
                if time.monotonic() > end:
                    return False
                self.poll()  # nobody wants what is still under way, but it has to be received
                self._sleep(LONGEST_NAP)
        except self._mpi.Exception as error:
            self._note_deaths(error)
        if not self._dead:  # the living cannot meet in a communicator with a dead rank, and need not
            self.poll()
            self._comm.Free()
        return True

    def abort_at_exit(self, code: int) -> None:
        """Let the end of this process end all ranks, also one that is stopped, with one exit code."""
        atexit.register(self._abort, code)

    def _abort(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(code)  # of a copy, MPICH's mpiexec does not always pass the code on

    def _sleep(self, seconds: float) -> None:
        if self.orphaned:
            os._exit(1)
        time.sleep(seconds)

    def _nap(self, request: Any) -> None:
        nap = 0.0001
        try:
            while not request.Test():
                self._sleep(nap)
                nap = min(2 * nap, LONGEST_NAP)
        except self._mpi.Exception as error:
            self._note_deaths(error)
            log.error("a rank died while the job was starting; start it again")
            self._abort(ExitCode.STOPPED)
