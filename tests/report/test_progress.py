"""Lines, bar and silence, on streams that are terminals, files, or gone."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from fcntl import ioctl
from typing import TextIO

import pytest

from qcmb_mpi.report.durations import format_duration
from qcmb_mpi.report.progress import State, is_terminal, make_progress

CLOCK = re.compile(r"^\d\d:\d\d:\d\d  ", re.MULTILINE)


class Terminal:
    """A pseudo-terminal: `stream` is the program's side, :meth:`text` what a person would see."""

    def __init__(self, columns: int):
        self._person, programs = pty.openpty()
        ioctl(programs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream: TextIO = os.fdopen(programs, "w")

    def text(self) -> str:
        self.stream.flush()
        os.set_blocking(self._person, False)
        seen = b""
        try:
            while chunk := os.read(self._person, 65536):
                seen += chunk
        except OSError:
            pass
        return seen.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._person)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    # rich measures the standard streams, which are no terminals under a test runner.
    monkeypatch.setenv("COLUMNS", "140")
    made = Terminal(columns=140)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (86399, "1 d 00 h"),
        (2 * 86400 + 3 * 3600, "2 d 03 h"),
        (5000 * 86400, "5,000 d 00 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_line() -> None:
    state = State(1204, 0, 5488, -123.456789, "bodies <= 1", 200.0)
    assert state.line() == (
        "1,204/5,488 tasks (21.9 %)  failed 0  energy so far -123.456789 Eh (bodies <= 1)  left 3 min 20 s"
    )
    assert state._replace(failed=2, busy=0.987).short() == (
        "1,204/5,488 tasks (21.9 %)  left 3 min 20 s  failed 2  "
        "energy so far -123.456789 Eh (bodies <= 1)  busy 99 %"
    )


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State(0, 0, 0), "0/0 tasks (100.0 %)  failed 0"),
        (State(999_999, 0, 1_000_000), "999,999/1,000,000 tasks (99.9 %)  failed 0"),
        (State(1, 0, 1, float("nan"), "x", float("inf")), "1/1 tasks (100.0 %)  failed 0"),
        (State(1, 0, 2, None, "", float("inf")), "1/2 tasks (50.0 %)  failed 0"),
        (State(2, 0, 2, -1.0, "", 0.0), "2/2 tasks (100.0 %)  failed 0  energy so far -1.000000 Eh"),
    ],
)
def test_unknown_parts_are_left_out(state: State, line: str) -> None:
    assert state.line() == line


def test_lines_at_start_every_half_minute_and_at_the_end() -> None:
    stream = io.StringIO()
    progress = make_progress("auto", 100, stream)
    for second in range(71):
        progress.update(second, 0, 100, now=1000.0 + second)
    progress.close()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert all(CLOCK.match(line) for line in lines)
    assert [line.split()[1] for line in lines] == ["0/100", "30/100", "60/100", "70/100"]


def test_last_line_is_not_repeated() -> None:
    stream = io.StringIO()
    progress = make_progress("lines", 1, stream)
    progress.update(1, 0, 1, now=0.0)
    progress.close()
    assert len(stream.getvalue().splitlines()) == 1


def test_messages_come_in_between() -> None:
    stream = io.StringIO()
    progress = make_progress("lines", 2, stream)
    progress.update(0, 0, 2)
    progress.message("task 1 failed")
    progress.update(2, 1, 2)
    progress.close()
    first, second, third = stream.getvalue().splitlines()
    assert second == "task 1 failed"
    assert CLOCK.match(first)
    assert third.endswith("failed 1")


def test_none_shows_messages_only() -> None:
    stream = io.StringIO()
    progress = make_progress("none", 2, stream)
    progress.update(1, 0, 2)
    progress.message("said")
    progress.close()
    assert stream.getvalue() == "said\n"


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="progress: 'fancy' is none of auto, bar, lines, none"):
        make_progress("fancy", 1, io.StringIO())


class Full(io.StringIO):
    """A log file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("mode", ["lines", "bar", "none"])
def test_a_broken_stream_disturbs_nobody(mode: str) -> None:
    for stream in (Full(), io.StringIO()):
        progress = make_progress(mode, 2, stream)
        stream.close()
        progress.update(1, 0, 2, now=0.0)
        progress.message("said")
        progress.update(2, 0, 2, now=100.0)
        progress.close()


def test_letters_that_the_stream_cannot_write() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    progress = make_progress("lines", 2, stream)
    progress.message("Wärme")
    progress.message("said")
    assert raw.getvalue() == b"W?rme\nsaid\n"


def test_bar_on_a_terminal(terminal: Terminal) -> None:
    threads = threading.active_count()
    progress = make_progress("auto", 5488, terminal.stream)
    progress.update(1204, 0, 5488, -123.456789, "bodies <= 1", 200.0, now=0.0)
    progress.message("a line [with brackets]")
    assert threading.active_count() == threads
    progress.update(5488, 0, 5488, now=1000.0)
    progress.close()
    progress.close()
    text = terminal.text()
    assert "1,204/5,488 tasks (21.9 %)  left 3 min 20 s  energy so far -123.456789 Eh (bodies <= 1)" in text
    assert "a line [with brackets]" in text
    assert "5,488/5,488 tasks (100.0 %)" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"


def test_bar_is_drawn_at_most_four_times_a_second(terminal: Terminal) -> None:
    progress = make_progress("bar", 1000, terminal.stream)
    drawn = []
    draw = progress._draw
    progress._draw = lambda state: (drawn.append(state.done), draw(state))[1]  # type: ignore[method-assign]
    for tick in range(1000):
        progress.update(tick, 0, 1000, now=tick / 1000)
    progress.close()
    assert 1 <= len(drawn) <= 5
    assert drawn[-1] == 999


def test_open_mpi_s_terminal_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(columns=0)
    try:
        assert terminal.stream.isatty()
        assert not is_terminal(terminal.stream)
        progress = make_progress("auto", 1, terminal.stream)
        progress.update(1, 0, 1, now=0.0)
        progress.close()
        assert "\x1b" not in terminal.text()
    finally:
        terminal.close()


def test_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_terminal(terminal.stream)
    monkeypatch.setenv("TERM", "dumb")
    progress = make_progress("auto", 1, terminal.stream)
    progress.update(1, 0, 1, now=0.0)
    progress.close()
    assert CLOCK.match(terminal.text())


def test_rich_is_imported_for_a_bar_only() -> None:
    code = (
        "import sys; from qcmb_mpi.report.progress import make_progress\n"
        "p = make_progress('auto', 1, sys.stdout); p.update(1, 0, 1); p.close()\n"
        "assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)


class NotebookStream(io.StringIO):
    """What a kernel puts in the place of standard output, as far as it shows."""


NotebookStream.__module__ = "ipykernel.iostream"


def test_a_notebook_shows_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = NotebookStream()
    monkeypatch.setattr(sys, "stdout", page)
    errors = io.StringIO()
    progress = make_progress("auto", 10, errors)
    for done in range(11):
        progress.update(done, 0, 10, now=2.0 * done)
    progress.close()
    assert errors.getvalue() == ""
    lines = page.getvalue().split("\r")
    assert len(lines) == 12
    assert lines[1].strip() == "0/10 tasks (0.0 %)"
    assert lines[-1].strip() == "10/10 tasks (100.0 %)"
    assert page.getvalue().count("\n") == 1
