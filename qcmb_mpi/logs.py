"""The log: what the program has to say goes to the logger ``qcmb_mpi``, with its rank and host.

A script's own ``logging`` is left alone: handlers, formats and levels are its user's business.  Records
have the attributes ``rank`` and ``host``, for ``%(rank)d`` and ``%(host)s`` in a format.  The command line
brings handlers of its own, and so does a setting that asks for more where nobody else listens.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from qcmb_mpi.errors import InputError

__all__ = ["apply_level", "log", "speaking_as", "to_file", "to_terminal"]

log = logging.getLogger("qcmb_mpi")

#: The setting that changes nothing.
DEFAULT = "INFO"


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the time: a progress bar has its own while it is drawn."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("qcmb_mpi: %(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Speaker(logging.Filter):
    """Adds rank and host to every record."""

    def __init__(self, rank: int, host: str):
        super().__init__()
        self._rank = rank
        self._host = host

    def filter(self, record: logging.LogRecord) -> bool:
        record.rank = self._rank
        record.host = self._host
        return True


def to_terminal(level: str = DEFAULT) -> None:
    """Write to standard error from now on, as the command line does."""
    if not any(isinstance(handler, _Terminal) for handler in log.handlers):
        log.addHandler(_Terminal())
    _set(level)


def to_file(path: str) -> None:
    """Write everything, in detail and with its time, to the end of a file as well.

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another", "--log") from None
    words = "%(asctime)s rank %(rank)s on %(host)s %(levelname)s: %(message)s"
    handler.setFormatter(logging.Formatter(words, defaults={"rank": "-", "host": os.uname().nodename}))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)


def apply_level(level: str) -> None:
    """Do what the setting ``log_level`` asks for, within :func:`speaking_as`.

    ``INFO``, its default, leaves everything as it is.
    """
    if level == DEFAULT:
        return
    if log.hasHandlers():
        _set(level)
    else:
        to_terminal(level)


@contextmanager
def speaking_as(rank: int, host: str) -> Iterator[None]:
    """Name rank and host in all records, and leave the logger as it was before."""
    before = log.level, list(log.handlers), [handler.level for handler in log.handlers]
    speaker = _Speaker(rank, host)
    log.addFilter(speaker)
    try:
        yield
    finally:
        log.removeFilter(speaker)
        log.setLevel(before[0])
        for handler in log.handlers:
            if handler not in before[1]:
                handler.close()
        log.handlers[:] = before[1]
        for handler, its_level in zip(before[1], before[2], strict=True):
            handler.setLevel(its_level)


def _set(level: str) -> None:
    """What the terminal shows; a file beside it has everything."""
    own = [handler for handler in log.handlers if isinstance(handler, _Terminal)]
    for handler in own:
        handler.setLevel(level)
    with_file = any(isinstance(handler, logging.FileHandler) for handler in log.handlers)
    log.setLevel(logging.DEBUG if own and with_file else level)
