"""How to run: the executor's settings, checked by name and merged from flags, input and environment.

Knows nothing of molecules, of MPI, or of where the sections it merges were read.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from qcmb_mpi.errors import InputError

__all__ = ["ENVIRONMENT_PREFIX", "ExecutorConfig", "merge"]

ENVIRONMENT_PREFIX = "QCMB_MPI_"
EXECUTOR_TYPES = ("auto", "sequential", "multiprocessing", "mpi")
PROGRESS = ("auto", "bar", "lines", "none")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


class _Wrong(ValueError):
    """What was expected instead; the caller adds name and value."""


@dataclass(frozen=True)
class ExecutorConfig:
    """Settings of a run; none of them changes a result.

    Every field also has an environment variable, ``QCMB_MPI_`` and its name in capitals.  Text is
    understood everywhere (``"4"``, ``"true"``, ``"02:30:00"``, ``"4GB"``).

    Attributes
    ----------
    n_workers
        Processes of a run without MPI, at least 1; None uses all cores that this process may use.
        Under MPI the ranks decide.
    timeout_per_task
        Seconds after which an attempt at a task is killed; None never does.
    max_retries
        Further attempts at a task after its first failure.
    checkpoint_interval
        Finished tasks between two saves (not more than two saves a second, and within five seconds
        in any case).
    checkpoint_file
        Where finished tasks are kept; None keeps none from Python, and on the command line means the
        file beside the input.
    cache_dir
        Folder of answers shared between jobs; None for none.
    scratch_dir
        Folder for the programs' temporary files; None for the system's.
    log_level
        ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
    executor_type
        ``auto``, ``sequential``, ``multiprocessing`` or ``mpi``.
    parallel
        False computes one task at a time, True several; None leaves it to ``executor_type``.
    plugins
        Modules, or paths of ``.py`` files, that every runner imports first; text is split at commas.
    symmetry
        True computes equivalent n-mers once: those that a rotation, translation or reflection of atoms brings
        onto each other.
    walltime
        Time that the job may take, to stop in time to save: seconds, ``HH:MM:SS`` or ``D-HH:MM:SS``;
        None asks Slurm or PBS.
    threads_per_worker
        Threads of one task; None takes ``OMP_NUM_THREADS``, or else divides the cores.  Tasks that run one
        at a time without MPI have one thread.
    memory_per_worker
        Memory of one task: bytes, or text such as ``4GB`` or ``500MiB``; None divides what there is.
    heartbeat
        Seconds of silence after which a rank's tasks are given to others, and which the end of a job
        waits for ranks that do not answer.
    timeout_factor
        ``timeout_per_task`` as a multiple of the time that a task is expected to take, which is learnt
        while the job runs; at least five seconds, and doubled with every attempt.  The lower of the two
        limits counts; None sets none.
    progress
        ``auto``, ``bar``, ``lines`` or ``none``; None is ``auto`` on the command line and in a notebook,
        ``none`` in a script.

    Raises
    ------
    InputError
        A value that is not allowed, with ``field`` set to its name.
    """

    n_workers: int | None = None
    timeout_per_task: float | None = 3600.0
    max_retries: int = 2
    checkpoint_interval: int = 10
    checkpoint_file: str | None = None
    cache_dir: str | None = None
    scratch_dir: str | None = None
    log_level: str = "INFO"
    executor_type: str = "auto"
    parallel: bool | None = None
    plugins: tuple[str, ...] = ()
    symmetry: bool = False
    walltime: float | None = None
    threads_per_worker: int | None = None
    memory_per_worker: int | None = None
    heartbeat: float = 30.0
    timeout_factor: float | None = None
    progress: str | None = None

    def __post_init__(self) -> None:
        for name in FIELDS:
            object.__setattr__(self, name, _checked(name, getattr(self, name), name))

    def chosen(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], section: str = "") -> ExecutorConfig:
        """Settings from a mapping; unknown names are refused with the nearest known one."""
        return cls(**_checked_section(values, section))


#: Names of all settings.
FIELDS = tuple(field.name for field in fields(ExecutorConfig))


def merge(
    flags: Mapping[str, Any],
    section: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> ExecutorConfig:
    """The settings of a run: flag, else ``execution`` section, else environment, else default.

    Parameters
    ----------
    flags
        Settings given on the command line by field name; a value of None was not given.
    section
        The input file's ``execution`` section.  None is a value there (``n_workers: null``).
    environ
        Environment variables; those of this process by default.

    Raises
    ------
    InputError
        A wrong value or unknown name, in the spelling of its source: ``--n-workers``,
        ``execution.n_workers`` or ``environment variable QCMB_MPI_N_WORKERS``.
    """
    merged: dict[str, Any] = {}
    for name in FIELDS:
        variable = ENVIRONMENT_PREFIX + name.upper()
        text = (os.environ if environ is None else environ).get(variable, "")
        if text.strip():  # an empty variable is an unset one
            merged[name] = _checked(name, text, f"environment variable {variable}")
    merged.update(_checked_section(section, "execution"))
    for name, value in flags.items():
        if value is not None:
            flag = "plugin" if name == "plugins" else name.replace("_", "-")
            merged[name] = _checked(name, value, f"--{flag}")
    return ExecutorConfig(**merged)


def _checked_section(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    checked = {}
    for name, value in values.items():
        where = f"{section}.{name}" if section else str(name)
        if name not in FIELDS:
            raise InputError(f"there is no such setting; {_nearest(str(name), FIELDS)}", where)
        checked[name] = _checked(name, value, where)
    return checked


def _checked(name: str, value: Any, where: str) -> Any:
    try:
        return _CHECKS[name](value)
    except _Wrong as wrong:
        raise InputError(f"{value!r} is not allowed; expected {wrong}", where) from None


def _nearest(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _whole(least: int, optional: bool = False) -> Callable[[Any], int | None]:
    expected = f"a whole number of at least {least}" + (" or null" if optional else "")

    def check(value: Any) -> int | None:
        if optional and _is_none(value):
            return None
        number = _number(value, expected)
        if number != int(number) or number < least:
            raise _Wrong(expected)
        return int(number)

    return check


def _positive(expected: str, optional: bool = False, least: float = 0.0) -> Callable[[Any], float | None]:
    def check(value: Any) -> float | None:
        if optional and _is_none(value):
            return None
        number = _number(value, expected)
        if number <= 0 or number < least:
            raise _Wrong(expected)
        return number

    return check


def _number(value: Any, expected: str) -> float:
    if isinstance(value, bool):
        raise _Wrong(expected)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _Wrong(expected) from None
    if not math.isfinite(number):
        raise _Wrong(expected)
    return number


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null"))


def _word(
    known: tuple[str, ...], normal: Callable[[str], str], optional: bool = False
) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if optional and value is None:
            return None
        word = normal(value.strip()) if isinstance(value, str) else None
        if word not in known:
            raise _Wrong("one of " + ", ".join(known))
        return word

    return check


def _flag(optional: bool = False) -> Callable[[Any], bool | None]:
    def check(value: Any) -> bool | None:
        if optional and _is_none(value):
            return None
        if isinstance(value, str):
            value = _WORDS.get(value.strip().lower())
        if not isinstance(value, bool):
            raise _Wrong("true or false" + (" or null" if optional else ""))
        return value

    return check


def _path(value: Any) -> str | None:
    if value is None:
        return None
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    if not text or "\0" in text:
        raise _Wrong("a path")
    return os.path.expanduser(text)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if value is None:
        return ()
    names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for name in names:
        if not isinstance(name, str) or not (
            name.endswith(".py") or all(part.isidentifier() for part in name.split("."))
        ):
            raise _Wrong("names of Python modules, or paths of .py files")
    return names


def _duration(value: Any) -> float | None:
    expected = "seconds above 0, or HH:MM:SS or D-HH:MM:SS"
    if isinstance(value, str) and ":" in value:
        match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}))?", value.strip())
        if match is None:
            raise _Wrong(expected)
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        value = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return _positive(expected, optional=True)(value)


def _memory(value: Any) -> int | None:
    if _is_none(value):
        return None
    expected = "bytes above 0, or text such as 4GB or 500MiB"
    if isinstance(value, str):
        match = re.fullmatch(r"([\d.]+)\s*(?:([kmgt]?)(i?)b?)", value.strip().lower())
        if match is None:
            raise _Wrong(expected)
        number, letter, binary = match.groups()
        if binary and not letter:
            raise _Wrong(expected)
        factor = _BINARY[letter] if binary else _BYTES[letter]
        value = _number(number, expected) * factor
    size = _number(value, expected)
    if size < 1:
        raise _Wrong(expected)
    return int(size)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "n_workers": _whole(1, optional=True),
    "timeout_per_task": _positive("seconds above 0, or null for no limit", optional=True),
    "max_retries": _whole(0),
    "checkpoint_interval": _whole(1),
    "checkpoint_file": _path,
    "cache_dir": _path,
    "scratch_dir": _path,
    "log_level": _word(LOG_LEVELS, str.upper),
    "executor_type": _word(EXECUTOR_TYPES, str.lower),
    "parallel": _flag(optional=True),
    "plugins": _names,
    "symmetry": _flag(),
    "walltime": _duration,
    "threads_per_worker": _whole(1, optional=True),
    "memory_per_worker": _memory,
    "progress": _word(PROGRESS, str.lower, optional=True),
    "heartbeat": _positive("seconds above 0"),
    "timeout_factor": _positive("a number of at least 1, or null for no limit", optional=True, least=1.0),
}
