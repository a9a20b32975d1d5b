"""The numbers that the schedule goes by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """The numbers that the schedule goes by.

    Attributes
    ----------
    max_retries
        Further tries after a first failure.
    timeout
        Seconds after which an attempt at a task is stopped.
    timeout_factor
        The same as a multiple of the time that the task is expected to take; the lower limit counts.
        It is doubled with every attempt, and never less than ``least_timeout``.
    least_timeout
        Seconds: expectations of very short tasks mean little.
    silence
        Seconds without a sign of life after which a seat is not believed any more.
    batch
        Seconds of work in a batch at most.
    shortest_batch
        Seconds of work in a batch at least, as long as there is that much.
    most_tasks
        Tasks in a batch at most.
    trial
        Tasks at most that a lane is measured with.
    seats
        Seats that are expected.
    ahead
        How long before a seat is through with all it holds it gets its next batch, at least [s].
    """

    max_retries: int = 2
    timeout: float = float("inf")
    timeout_factor: float | None = None
    least_timeout: float = 5.0
    silence: float = float("inf")
    batch: float = 1.0
    shortest_batch: float = 0.015
    most_tasks: int = 4096
    trial: int = 16
    seats: int = 1
    ahead: float = 0.03

    def limits(self, seconds: NDArray[np.float64], tries: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds after which attempts at tasks are stopped, shape (n,).

        Parameters
        ----------
        seconds : (n,) float64
            That the tasks are expected to take; NaN where nobody knows.
        tries : (n,) int64
            Attempts at each that have failed.
        """
        limits = np.full(len(seconds), self.timeout)
        if self.timeout_factor is not None:
            expected = self.timeout_factor * seconds * 2.0**tries
            limits = np.fmin(limits, np.maximum(expected, self.least_timeout))  # NaN does not count
        return limits
