"""The numbers that the schedule goes by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """The numbers that the schedule goes by.

    Attributes
    ----------
    max_retries
        Further tries after a first failure.
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
    silence: float = float("inf")
    batch: float = 1.0
    shortest_batch: float = 0.015
    most_tasks: int = 4096
    trial: int = 16
    seats: int = 1
    ahead: float = 0.03
