"""What kind of failure was that, and is another try worth it.

The kind is all that the scheduler needs to know about a failure; this file alone decides it.
"""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from qcmb_mpi.errors import InputError

if TYPE_CHECKING:
    from qcmb_mpi.engine.base import Answer
    from qcmb_mpi.problem import Driver

__all__ = ["Attempt", "EngineFailure", "Kind", "checked", "classify", "explain"]


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


@dataclass(frozen=True)
class Attempt:
    """One try at a task that failed.

    Attributes
    ----------
    kind
        What kind of failure it was.
    rank
        Where it was tried; without MPI the number of the worker.
    seconds
        How long it took.
    finished
        When it failed [unix s].
    sturdiness
        What the engine was given as ``attempt``.
    message
        What the engine said, the end of its output behind it.
    """

    kind: Kind
    rank: int
    seconds: float
    finished: float
    sturdiness: int
    message: str


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


def classify(exception: BaseException) -> tuple[Kind, str]:
    """Kind and message of whatever a computation raised."""
    if isinstance(exception, EngineFailure):
        return exception.kind, str(exception)
    if isinstance(exception, MemoryError):
        return Kind.MEMORY, f"out of memory: {exception}" if str(exception) else "out of memory"
    if isinstance(exception, InputError):
        return Kind.INPUT, str(exception)
    return Kind.CRASH, f"{type(exception).__name__}: {exception}"


def explain(exception: BaseException) -> tuple[Kind, str]:
    """As :func:`classify`, with the traceback of what no engine means to raise."""
    kind, message = classify(exception)
    if not isinstance(exception, EngineFailure):
        trace = "".join(traceback.format_exception(exception))
        message = f"{message}\n{trace}"
    return kind, message


def checked(answer: Answer, n_atoms: int, driver: Driver) -> Answer:
    """Let an answer pass if it is what was asked for.

    Parameters
    ----------
    answer
        What the engine returned.
    n_atoms
        Atoms of the task, ghosts included.
    driver
        The derivative that was wanted.

    Raises
    ------
    EngineFailure
        Of kind CRASH, if a number is not finite or an array is missing or of the wrong shape.
    """
    if not math.isfinite(answer.energy):
        raise EngineFailure(Kind.CRASH, f"the engine returned {answer.energy} as the energy")
    wanted = {"gradient": (n_atoms, 3), "hessian": (3 * n_atoms, 3 * n_atoms)}
    for name, shape in wanted.items():
        array = getattr(answer, name)
        if array is None:
            if name == driver:
                raise EngineFailure(Kind.CRASH, f"the engine returned no {name}")
            continue
        if np.shape(array) != shape:
            raise EngineFailure(
                Kind.CRASH, f"the engine returned a {name} of shape {np.shape(array)} instead of {shape}"
            )
        if not np.isfinite(array).all():
            raise EngineFailure(Kind.CRASH, f"the engine returned a {name} with numbers that are not finite")
    return answer
