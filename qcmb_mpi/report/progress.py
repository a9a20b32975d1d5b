"""What a running job shows: a bar on a terminal, a plain line every half minute in a log file.

The master's loop calls :meth:`Progress.update` as often as it likes; between two drawings that
costs well under two microseconds, and nothing here starts a thread or sleeps.  A terminal that
went away or a full disk under the log file silences the display and never disturbs the job.

This module must not know where the numbers come from, and imports rich only to draw a bar.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    import rich.progress

from qcmb_mpi.report.durations import format_duration

__all__ = ["MODES", "Progress", "State", "is_notebook", "is_terminal", "make_progress"]

MODES = ("auto", "bar", "lines", "none")

#: Seconds between two plain lines.
LINE_INTERVAL = 30.0
#: Seconds between two drawings of the bar, at the least.
BAR_INTERVAL = 0.25
#: Seconds between two states in a notebook, where each is a message to a browser.
NOTEBOOK_INTERVAL = 1.0
#: Part of the time that drawing the bar may take; rich needs milliseconds for one drawing.
BAR_SHARE = 0.002


class State(NamedTuple):
    """How far a job is.

    Attributes
    ----------
    done, failed, total
        Numbers of tasks.
    energy
        What can be said of the result by now, in Eh.
    energy_label
        Which part of the result that is, such as ``bodies <= 1``.
    eta
        Estimated seconds to the end.
    busy
        Fraction of the runners at work.
    """

    done: int
    failed: int
    total: int
    energy: float | None = None
    energy_label: str = ""
    eta: float | None = None
    busy: float | None = None

    def line(self) -> str:
        """The state in words, for a log file; what is unknown is left out."""
        return "  ".join(
            filter(None, [self._count(), self._failed(), self._energy(), self._busy(), self._left()])
        )

    def short(self) -> str:
        """The state in fewer words, the most wanted first, since a terminal may be narrow."""
        failed = self._failed() if self.failed else ""
        return "  ".join(filter(None, [self._count(), self._left(), failed, self._energy(), self._busy()]))

    def _count(self) -> str:
        percent = 100 * self.done / self.total if self.total else 100.0
        if self.done < self.total:
            percent = min(percent, 99.9)
        return f"{self.done:,}/{self.total:,} tasks ({percent:.1f} %)"

    def _failed(self) -> str:
        return f"failed {self.failed:,}"

    def _energy(self) -> str:
        if self.energy is None or not math.isfinite(self.energy):
            return ""
        label = f" ({self.energy_label})" if self.energy_label else ""
        return f"energy so far {self.energy:.6f} Eh{label}"

    def _busy(self) -> str:
        return "" if self.busy is None else f"busy {100 * self.busy:.0f} %"

    def _left(self) -> str:
        if self.eta is None or not math.isfinite(self.eta) or self.done >= self.total:
            return ""
        return f"left {format_duration(self.eta)}"


class Progress:
    """Shows nothing but messages; the base of the kinds that show more.

    Parameters
    ----------
    total
        Number of tasks, for what is shown before the first update.
    stream
        Where to write.
    """

    def __init__(self, total: int, stream: TextIO):
        self._stream: TextIO | None = stream
        self._latest: tuple[Any, ...] = (0, 0, total)
        self._shown = self._latest  # nothing has happened that had to be shown
        self._due = math.inf

    def update(
        self,
        done: int,
        failed: int,
        total: int,
        energy: float | None = None,
        energy_label: str = "",
        eta: float | None = None,
        busy: float | None = None,
        now: float | None = None,
    ) -> None:
        """Take note of a new state and show it if that is due.

        Parameters
        ----------
        done, failed, total, energy, energy_label, eta, busy
            As in :class:`State`.
        now
            Monotonic clock in seconds; read here where it is not given.
        """
        self._latest = (done, failed, total, energy, energy_label, eta, busy)
        if now is None:
            now = time.monotonic()
        if now >= self._due:
            self._due = now + self._show()

    def message(self, text: str) -> None:
        """Print a line by itself, above the bar if there is one."""
        self._write(text + "\n")

    def close(self) -> None:
        """Show the last state and give the terminal back; a second call does nothing."""
        if self._due < math.inf and self._latest != self._shown:
            self._show()
        self._due = math.inf

    def _show(self) -> float:
        """Show the latest state; returns the seconds until the next drawing."""
        self._shown = self._latest
        return self._draw(State(*self._latest))

    def _draw(self, state: State) -> float:
        return math.inf

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "replace").decode())
            self._stream.flush()
        except (OSError, ValueError):
            # Terminal gone, disk full, stream closed: the job goes on without being watched.
            self._stream = None


class _Lines(Progress):
    """One line with the time of day at the start, every half minute, and at the end."""

    def __init__(self, total: int, stream: TextIO):
        super().__init__(total, stream)
        self._due = -math.inf

    def _draw(self, state: State) -> float:
        self._write(f"{time.strftime('%H:%M:%S')}  {state.line()}\n")
        return LINE_INTERVAL


class _Rewritten(Progress):
    """One line that is written over and over, for a notebook: it has no terminal, but knows what CR means."""

    def __init__(self, total: int, stream: TextIO):
        super().__init__(total, stream)
        self._due = -math.inf
        self._width = 0

    def _draw(self, state: State) -> float:
        text = state.short()
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)
        return NOTEBOOK_INTERVAL

    def message(self, text: str) -> None:
        super().message(("\r" + text.ljust(self._width)) if self._width else text)
        self._width = 0

    def close(self) -> None:
        super().close()
        if self._width:
            self._write("\n")
            self._width = 0


class _Bar(Progress):
    """A rich bar that is drawn from :meth:`update`, without rich's own refreshing thread."""

    def __init__(self, total: int, stream: TextIO):
        super().__init__(total, stream)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._due = -math.inf
        # Forced, since the mode "bar" may be asked for where the launcher stands between.
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._bar: rich.progress.Progress | None = RichProgress(
            BarColumn(bar_width=20),
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="crop", ratio=1),
            ),
            console=self._console,
            auto_refresh=False,
            expand=True,
            # What is redirected away from the terminal has to stay where the user sent it.
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
        )
        self._task = self._bar.add_task("", total=total, text="")
        self._guarded(self._bar.start)

    def _draw(self, state: State) -> float:
        start = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=state.done, total=state.total, text=state.short())
            self._guarded(self._bar.refresh)
        return max(BAR_INTERVAL, (time.perf_counter() - start) / BAR_SHARE)

    def message(self, text: str) -> None:
        if self._bar is None:
            super().message(text)
        else:
            self._guarded(lambda: self._console.print(text, markup=False, highlight=False, soft_wrap=True))

    def close(self) -> None:
        super().close()
        if self._bar is not None:
            self._guarded(self._bar.stop)
            self._bar = None

    def _guarded(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except (OSError, ValueError):
            self._bar = self._stream = None


def make_progress(mode: str, total: int, stream: TextIO) -> Progress:
    """The display for `mode`: ``auto``, ``bar``, ``lines`` or ``none``.

    ``auto`` draws a bar where `stream` is a terminal, and plain lines elsewhere.  In a notebook both of
    them are one line below the cell, on standard output, since standard error is shown as an error there.
    """
    if mode not in MODES:
        raise ValueError(f"progress: {mode!r} is none of {', '.join(MODES)}")
    if mode in ("auto", "bar") and is_notebook():
        return _Rewritten(total, sys.stdout)
    if mode == "auto":
        mode = "bar" if is_terminal(stream) and os.environ.get("TERM") != "dumb" else "lines"
    kinds = {"bar": _Bar, "lines": _Lines, "none": Progress}
    return kinds[mode](total, stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches `stream`.

    Open MPI gives its ranks a pseudo-terminal even when its own output goes to a file; that one
    has no columns.
    """
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def is_notebook() -> bool:
    """Whether what is printed goes to a notebook's page: its kernel has put a stream of its own there."""
    return type(sys.stdout).__module__.startswith("ipykernel.")
