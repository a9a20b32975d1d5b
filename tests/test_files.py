"""Files are written whole or not at all, and what a killed writer has left goes with the next."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from qcmb_mpi.files import replace

DEAD = 2**22 + 1  # no process has such a number


def test_a_file_is_replaced_and_leftovers_of_dead_writers_go(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    dead = tmp_path / f".x.json.{socket.gethostname()}-{DEAD}"
    alive = tmp_path / f".x.json.{socket.gethostname()}-{os.getppid()}"
    elsewhere = tmp_path / f".x.json.elsewhere-{DEAD}"
    for leftover in (dead, alive, elsewhere, path):
        leftover.write_text("half")
    replace(path, "whole")
    assert path.read_text() == "whole\n"
    assert [leftover.exists() for leftover in (dead, alive, elsewhere)] == [False, True, True]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match=r"x\.json"):
        replace(tmp_path / "x.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
