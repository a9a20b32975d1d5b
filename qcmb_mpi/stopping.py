"""How a job is asked to stop early: by a signal, or by the end of its wall time.

It only notes that it was asked; the schedule, or whoever is to begin with something long, decides what
follows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from qcmb_mpi.errors import Stopped
from qcmb_mpi.logs import log

__all__ = ["StopRequest"]


GRACE = 10.0  # s in which answers are still taken after a signal
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Notes requests to stop while it is entered.

    A second Ctrl-C means now: for the loop that asks, or, where nobody does, as a KeyboardInterrupt.

    Attributes
    ----------
    deadline
        Monotonic time at which the wall time ends, less what saving needs; None if there is none.
    reason
        Why the job is to stop; empty as long as nobody has asked.
    attended
        Whether a loop calls :meth:`take` at short intervals.
    """

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.reason = ""
        self.attended = False
        self._pending: float | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._alarm, self._bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._bell_before = -1

    @property
    def alarms(self) -> tuple[int, ...]:
        """File descriptors that can be read when a signal has come."""
        return (self._alarm,)

    @property
    def last_answer_at(self) -> float:
        """Monotonic time until which answers are taken; infinite where the wall time has no end."""
        return float("inf") if self.deadline is None else self.deadline + GRACE

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._bell_before = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            signal.set_wakeup_fd(self._bell_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._alarm)
        os.close(self._bell)

    def check(self) -> None:
        """Raise Stopped if somebody has asked: for the time before there is a loop."""
        if self.reason:
            raise Stopped(
                f"stopped early ({self.reason}) before the first task; the same command goes on from here",
                0,
                0,
                {},
            )

    def take(self) -> float | None:
        """Seconds of grace if a request has come since the last call, else None."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._alarm, 4096)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.deadline = None
            self.reason = self.reason or "the wall time is nearly over"
            self._pending = GRACE
        pending, self._pending = self._pending, None
        if pending:
            log.warning(
                "stopping (%s): waiting up to %.0f s for what is being computed; Ctrl-C stops at once",
                self.reason,
                pending,
            )
        return pending

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT and not self.attended:
            raise KeyboardInterrupt
        self._pending = 0.0 if self.reason and number == signal.SIGINT else GRACE
        self.reason = self.reason or f"signal {signal.Signals(number).name}"
