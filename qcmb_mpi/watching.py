"""Looks at a job from outside: from the path of a checkpoint to its status, once or again and again.

Reads; never writes, never takes the lock, starts nothing of the engines.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from qcmb_mpi.errors import StoreError
from qcmb_mpi.reading import Planned, planned, snapshot_of
from qcmb_mpi.report.progress import is_terminal
from qcmb_mpi.report.status import Status, gather
from qcmb_mpi.report.status_text import status_text
from qcmb_mpi.store.signs import signs_of

__all__ = ["Watch", "show"]

SHARE = 0.2  # of the time that looking may take
NAP = 1.0  # s slept at once: a signal that comes just before a sleep is looked at after it


class Watch:
    """A checkpoint that is looked at, perhaps more than once.

    Parameters
    ----------
    path
        As the user gave it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._given = Path(path)
        self._path = Path(os.path.realpath(path))  # lock and signs lie beside the file itself
        self._input = ""
        self._planned: Planned | None = None

    def look(self) -> Status:
        """The status at this moment.

        Raises
        ------
        StoreError
            There is no such file, or it cannot be read as a checkpoint.
        """
        try:
            # signs first: a job that ends meanwhile is shown running once more, never as killed
            signs = signs_of(self._path, time.time()) if self._path.is_file() else None
            snapshot = snapshot_of(self._given)
            signs = signs or signs_of(self._path, time.time())
        except OSError as error:
            raise StoreError(f"{self._given}: cannot be read ({error.strerror}).") from None
        if self._planned is None or snapshot.input_text != self._input:
            self._planned, self._input = planned(self._given, snapshot), snapshot.input_text
        return gather(
            self._planned.problem,
            self._planned.table,
            self._planned.keys,
            snapshot.rows,
            snapshot.failures,
            signs,
            checkpoint=str(self._given),
            created=snapshot.created,
            now=time.time(),
            notes=tuple(snapshot.warnings),
        )

    def again(self, seconds: float) -> Iterator[Status]:
        """A status every ``seconds`` until the job has ended, the last one included.

        Looking takes a fifth of the time at most.
        """
        while True:
            begin = time.monotonic()
            status = self.look()
            took = time.monotonic() - begin
            yield status
            if not status.active:
                return
            due = begin + max(seconds, took / SHARE)
            while (left := due - time.monotonic()) > 0.0:
                time.sleep(min(left, NAP))


def show(statuses: Iterator[Status], as_json: bool, stream: TextIO) -> None:
    """Show statuses one after the other, drawn over each other on a terminal."""
    if not as_json and is_terminal(stream) and os.environ.get("TERM") != "dumb":
        _draw(statuses, stream)
        return
    for number, status in enumerate(statuses):
        if as_json:
            text = json.dumps(status.as_dict())
        else:
            text = "\n" * (number > 0) + f"{time.strftime('%H:%M:%S')}\n{status_text(status)}"
        print(text, file=stream, flush=True)


def _draw(statuses: Iterator[Status], stream: TextIO) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    text = ""
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop", transient=True) as live:
            for status in statuses:
                text = status_text(status)
                live.update(Text(text), refresh=True)
    finally:
        # a screen may have been too small for all of it
        print(text, file=stream)
