"""Every error a user can meet, with the exit code it ends the program with.

A message names the file, field, fragment or rank concerned, says what was expected and what to
do about it.  Anything else that escapes the program is a bug, and only that prints a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

__all__ = [
    "ExitCode",
    "FailedTask",
    "InputError",
    "LauncherError",
    "QcmbError",
    "RunnersLost",
    "Stopped",
    "StoreError",
    "TasksFailed",
]


class ExitCode(IntEnum):
    """Exit codes of the command line; every rank leaves with the same one."""

    FINISHED = 0
    TASKS_FAILED = 1
    WRONG_INPUT = 2
    STOPPED = 75


class QcmbError(Exception):
    """Base of all errors that are meant for the user."""

    exit_code = ExitCode.WRONG_INPUT


class InputError(QcmbError):
    """What the user handed in cannot be computed; nothing was run.

    Parameters
    ----------
    message
        What is wrong, what was expected, what to change.
    field
        Dotted path of the offending field, such as ``specification.keywords.max_nbody``.
    """

    def __init__(self, message: str, field: str | None = None):
        self.field = field
        super().__init__(f"{field}: {message}" if field else message)


class LauncherError(QcmbError):
    """The processes of an MPI job do not see each other; nothing was run."""


class RunnersLost(QcmbError):
    """A process cannot compute any more: the parent of its runners is killed again and again."""

    exit_code = ExitCode.STOPPED


class StoreError(QcmbError):
    """A checkpoint cannot be used: wrong format, another problem, another writer."""


@dataclass(frozen=True)
class FailedTask:
    """One task that failed for good.

    Attributes
    ----------
    label
        QCManyBody's label, ``["level", [real], [basis]]`` with 1-based fragments.
    kind
        One of the kinds of :class:`qcmb_mpi.engine.failures.Kind`.
    message
        The engine's last words.
    attempts
        How often it was tried.
    folder
        Where its input, its output and the command that repeats it are, if they are anywhere.
    """

    label: str
    kind: str
    message: str
    attempts: int
    folder: Path | None = None


class TasksFailed(QcmbError):
    """Some tasks failed for good; everything else is computed and saved.

    Attributes
    ----------
    failures
        The tasks that failed.
    complete
        What could be computed all the same: properties of the body orders that are complete.
    """

    exit_code = ExitCode.TASKS_FAILED

    def __init__(self, message: str, failures: Sequence[FailedTask], complete: Mapping[str, Any]):
        self.failures = tuple(failures)
        self.complete = dict(complete)
        super().__init__(message)


class Stopped(QcmbError):
    """The job was stopped early; everything computed is saved and the same command goes on.

    Attributes
    ----------
    done, total
        Number of tasks finished and wanted.
    complete
        As in :class:`TasksFailed`.
    """

    exit_code = ExitCode.STOPPED

    def __init__(self, message: str, done: int, total: int, complete: Mapping[str, Any]):
        self.done = done
        self.total = total
        self.complete = dict(complete)
        super().__init__(message)
