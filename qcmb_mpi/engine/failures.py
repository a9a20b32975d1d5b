"""What kind of failure was that, and is another try worth it.

The kind is all that the scheduler needs to know about a failure; this file alone decides it.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EngineFailure", "Kind"]


class Kind(IntEnum):
    """Kinds of failure; the numbers travel in messages and stand in checkpoints."""

    INPUT = 1  #: the task cannot work anywhere: never retried
    CONVERGENCE = 2  #: retried with a sturdier algorithm
    MEMORY = 3  #: retried where there is more room
    CRASH = 4  #: the engine or its runner died: retried on another rank
    TIMEOUT = 5  #: took too long: retried on another rank
    LOST = 6  #: its rank is gone: retried on another rank, costs no retry

    @property
    def word(self) -> str:
        return self.name.lower()


class EngineFailure(Exception):
    """A task failed in the engine.

    Parameters
    ----------
    kind
        Decides what happens next.
    message
        For the user: what the engine said.
    """

    def __init__(self, kind: Kind, message: str):
        self.kind = kind
        super().__init__(message)
