"""The vocabulary of the schedule: events that go in, commands that come out.

Plain data; what follows from what is in ``schedule.py`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind

__all__ = [
    "Answered",
    "Back",
    "Command",
    "Event",
    "Failed",
    "Finish",
    "Joined",
    "Keep",
    "Lost",
    "Send",
    "SetAside",
    "Silent",
    "StopAsked",
    "Tick",
]


# ---- events -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Joined:
    """A seat is ready to compute."""

    seat: int


@dataclass(frozen=True, eq=False)
class Answered:
    """A seat has computed tasks, the last of them ``age`` seconds ago; with none, it is a sign of life."""

    seat: int
    tasks: NDArray[np.int64]
    walls: NDArray[np.float64]
    age: float = 0.0


@dataclass(frozen=True)
class Failed:
    """A try at a task has failed."""

    seat: int
    task: int
    kind: Kind


@dataclass(frozen=True)
class Lost:
    """A seat is gone: its rank or node has died."""

    seat: int


@dataclass(frozen=True)
class StopAsked:
    """Hand out nothing more; take what arrives within ``grace`` seconds."""

    grace: float


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = Joined | Answered | Failed | Lost | StopAsked | Tick


# ---- commands -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Send:
    """Send tasks to a seat, to be computed in this order.

    Attributes
    ----------
    seat, tasks
        Where to send what.
    sturdiness
        Tries of each task that did not converge.
    limits
        Seconds after which each task is to be stopped; may be infinite.
    width
        Seats' shares of their node's memory that the tasks may use.
    """

    seat: int
    tasks: NDArray[np.int64]
    sturdiness: NDArray[np.int64]
    limits: NDArray[np.float64]
    width: int = 1


@dataclass(frozen=True, eq=False)
class Keep:
    """Keep those answers of the event just handled where ``wanted`` holds."""

    wanted: NDArray[np.bool_]


@dataclass(frozen=True)
class Finish:
    """Nothing is left to wait for; ``stopped`` if tasks were left undone."""

    stopped: bool


@dataclass(frozen=True)
class SetAside:
    """Tell that these seats get nothing more while there are others: what fails there succeeds elsewhere."""

    seats: frozenset[int]


@dataclass(frozen=True)
class Silent:
    """Tell that a seat has given no sign of life for too long: others get its tasks."""

    seat: int


@dataclass(frozen=True)
class Back:
    """Tell that a seat that was given up gives signs of life again."""

    seat: int


Command = Send | Keep | Finish | SetAside | Silent | Back
