"""How a job is asked to stop early: by a signal, or by the end of its wall time.

It only notes that it was asked; the schedule decides what follows.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]

GRACE = 10.0  # s in which answers are still taken after a signal
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Notes requests to stop while it is entered.

    Parameters
    ----------
    deadline
        Monotonic time at which the wall time ends, less what saving needs; None if there is none.
    """

    def __init__(self, deadline: float | None = None):
        self.deadline = deadline
        self.reason = ""
        self._pending: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take(self) -> float | None:
        """Seconds of grace if a request has come since the last call, else None."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.deadline = None
            self.reason = self.reason or "the wall time is nearly over"
            self._pending = GRACE
        pending, self._pending = self._pending, None
        return pending

    def _note(self, number: int, frame: FrameType | None) -> None:
        # a second Ctrl-C means now
        self._pending = 0.0 if self.reason and number == signal.SIGINT else GRACE
        self.reason = self.reason or f"signal {signal.Signals(number).name}"
