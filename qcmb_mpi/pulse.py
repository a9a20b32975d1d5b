"""A job's sign of life: the small file beside its checkpoint that `status` reads.

Written while the job runs and when it ends without having finished; gone once it has finished, since
the checkpoint says all there is to say then.  Decides nothing, and no failure here ends a job.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np

from qcmb_mpi.farm.schedule import Schedule, State
from qcmb_mpi.store.status import status_path, write_status

__all__ = ["Pulse"]

EVERY = 2.0  # s between two signs
MOST_FAILED = 1000  # failed tasks that are named in it


class Pulse:
    """Writes the signs of life of one run.

    Parameters
    ----------
    checkpoint
        The file of finished tasks, whose lock this process holds; None writes nothing.
    ranks
        Seats that compute.
    """

    def __init__(self, checkpoint: Path | None, ranks: int):
        self._path = None if checkpoint is None else Path(os.path.realpath(checkpoint))
        self._due = -float("inf")
        self._content: dict[str, Any] = {
            "state": "starting",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "ranks": ranks,
        }
        self.say("starting")

    def beat(self, schedule: Schedule, done: int, now: float) -> None:
        """Say how far the job is, ``done`` tasks, if that is due at the monotonic time ``now``."""
        if self._path is None or now < self._due:
            return
        self._due = now + EVERY
        self._tell("running", schedule, done)

    def ended(self, schedule: Schedule, done: int, reason: str) -> None:
        """Say that the job ends without having finished: ``stopped`` for a reason, or ``failed``."""
        stopped = schedule.n_done + schedule.n_failed < schedule.n_tasks
        self._tell("stopped" if stopped else "failed", schedule, done, reason=reason)

    def _tell(self, state: str, schedule: Schedule, done: int, **more: Any) -> None:
        failed = np.flatnonzero(schedule.state == State.FAILED) if schedule.n_failed else np.empty(0)
        self.say(
            state,
            done=done,
            failed=schedule.n_failed,
            failed_tasks=failed[:MOST_FAILED].tolist(),
            seconds_left=schedule.seconds_left(),
            busy=schedule.busy_fraction(),
            **more,
        )

    def say(self, state: str, **more: Any) -> None:
        """Write a sign: what the job is doing, or how it has ended."""
        if self._path is None:
            return
        self._content |= {"state": state, "time": time.time(), **more}
        write_status(self._path, self._content)

    def finished(self) -> None:
        """Remove the file."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                status_path(self._path).unlink()
