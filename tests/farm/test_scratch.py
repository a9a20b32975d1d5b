"""Folders of runners: made, removed, and told from those that killed processes have left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from qcmb_mpi.farm.scratch import make_folder, remove_abandoned, remove_marked

MAKER = """
import sys, time
from qcmb_mpi.farm.scratch import make_folder
print(make_folder("other", sys.argv[1]).path, flush=True)
time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    folder = make_folder("mark", str(tmp_path))
    assert folder is not None
    (Path(folder.path) / "file").write_text("x")
    assert len(names(tmp_path)) == 1
    folder.remove()
    assert names(tmp_path) == []


def test_what_is_in_use_stays_and_what_a_killed_process_has_left_goes(tmp_path: Path) -> None:
    mine = make_folder("mark", str(tmp_path))
    assert mine is not None
    maker = subprocess.Popen([sys.executable, "-c", MAKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    others = Path(maker.stdout.readline().strip())
    remove_abandoned(str(tmp_path))
    assert names(tmp_path) == sorted([Path(mine.path).name, others.name])
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    remove_abandoned(str(tmp_path))
    assert names(tmp_path) == [Path(mine.path).name]
    mine.remove()


def test_those_of_a_mark_are_removed_even_if_somebody_holds_them(tmp_path: Path) -> None:
    for mark in ("one", "two"):
        assert make_folder(mark, str(tmp_path)) is not None
    remove_marked("one", str(tmp_path))
    assert ["-two-" in name for name in names(tmp_path)] == [True]


def test_where_no_folder_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert make_folder("mark", str(tmp_path / "nowhere")) is None
    remove_abandoned(str(tmp_path / "nowhere"))


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / f"qcmb_mpi-{os.uname().nodename}-file").write_text("x")
    (tmp_path / "qcmb_mpi-elsewhere-mark-x").mkdir()
    remove_abandoned(str(tmp_path))
    assert len(names(tmp_path)) == 2
