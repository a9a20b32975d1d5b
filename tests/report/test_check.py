"""The report of ``check``: what is called a problem, and that each comes with what mends it."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qcmb_mpi.errors import ExitCode
from qcmb_mpi.report import probes
from qcmb_mpi.report.check import Report, check, print_report
from qcmb_mpi.report.probes import Folder, find_engines, probe_folder

GIB = 1024**3
LIBRARY = "Open MPI v5.0.11, package: Open MPI"


def rank(number: int, host: str, cores: Sequence[int], threads: int, **more: Any) -> dict[str, Any]:
    return {
        "rank": number,
        "host": host,
        "cores": list(cores),
        "threads": threads,
        "memory": 4 * GIB,
        "ok": True,
        **more,
    }


def look(folder: Path, ranks: list[dict[str, Any]], **more: Any) -> Report:
    arguments: dict[str, Any] = {
        "mpi_library": LIBRARY,
        "launcher": "openmpi",
        "engines": {"pyscf": "2.6"},
        **more,
    }
    return check(folder, ranks=ranks, **arguments)


def test_a_good_job(tmp_path: Path) -> None:
    ranks = [rank(i, f"n{i // 2}", range(8), 4) for i in range(4)]
    report = look(tmp_path, ranks, allotted=8, job="12", time_left=5400.0)
    assert report.exit_code == ExitCode.FINISHED
    assert [problem for problem in report.problems if problem.severe] == []
    text = report.text()
    for words in (
        "Open MPI v5.0.11",
        "started by openmpi",
        "12, 1 h 30 min left",
        "4.0 GiB",
        "pyscf",
        "Ready",
    ):
        assert words in text
    assert [node.ranks for node in report.nodes] == [(0, 1), (2, 3)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ranks", "allotted", "what", "mend"),
    [
        (
            [rank(0, "n0", [0], 1), rank(1, "n0", [1], 1)],
            32,
            "On n0: the job has 32 cores, but its ranks are bound to 2 cores",
            "--bind-to none",
        ),
        ([rank(0, "n0", [0], 1), rank(1, "n0", [0], 1)], None, "2 ranks share 1 core", "no more ranks"),
        ([rank(i, "n0", range(2), 1) for i in range(3)], None, "3 ranks share 2 cores", "no more ranks"),
        (
            [rank(0, "n0", range(2), 2), rank(1, "n0", range(4), 4)],
            4,
            "2 ranks run 6 threads on 4 cores",
            "--bind-to none",
        ),
        ([rank(0, "n0", [0], 4)], None, "rank 0 has more threads than cores", "OMP_NUM_THREADS"),
        ([rank(0, "n0", [0], 1, ok=False)], None, "the runner of rank 0 did not come up", "same Python"),
    ],
)
def test_misconfigured(
    tmp_path: Path, ranks: list[dict[str, Any]], allotted: int | None, what: str, mend: str
) -> None:
    report = look(tmp_path, ranks, allotted=allotted)
    assert report.exit_code == ExitCode.WRONG_INPUT
    problem = report.problems[0]
    assert what in problem.what
    assert mend in problem.mend
    assert problem.what in report.text()
    assert problem.mend in report.text()


@pytest.mark.parametrize(
    ("launcher", "mend"),
    [("mpich", "mpiexec -bind-to none"), ("slurm", "srun --cpu-bind=none"), (None, "taskset")],
)
def test_each_launcher_has_its_own_remedy(tmp_path: Path, launcher: str | None, mend: str) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], allotted=4, launcher=launcher)
    assert mend in report.problems[0].mend


def test_the_same_problem_on_many_nodes_is_told_once(tmp_path: Path) -> None:
    ranks = [rank(i, f"n{i}", [0], 1) for i in range(64)]
    (problem,) = (found for found in look(tmp_path, ranks, allotted=4).problems if found.severe)
    assert problem.what.startswith("On n0, n1, n2, n3 and 60 more: ")


def test_nodes_that_differ_are_no_problem(tmp_path: Path) -> None:
    ranks = [rank(0, "n0", range(8), 8), rank(1, "n1", range(4), 4)]
    assert look(tmp_path, ranks, allotted=8).exit_code == ExitCode.FINISHED


def test_remarks_do_not_stop_a_job(tmp_path: Path) -> None:
    ranks = [rank(0, "n0", [0, 1], 1), rank(1, "n0", [0, 1], 1), rank(2, "n1", [0, 1], 2, memory=GIB // 8)]
    report = look(tmp_path, ranks)
    assert report.exit_code == ExitCode.FINISHED
    remarks = " ".join(problem.what for problem in report.problems)
    assert "The nodes carry between 1 and 2 ranks" in remarks
    assert "On n1: each rank has less than 512 MiB" in remarks
    assert report.text().endswith("Ready, with remarks.\n")


def test_found_wrong_by_the_caller(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], found_wrong=["srun started 4 processes, but ..."])
    assert report.exit_code == ExitCode.WRONG_INPUT
    assert "srun started 4 processes" in report.text()


def test_without_mpi(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], mpi_library=None, launcher=None)
    assert "no library found" in report.text()
    assert report.exit_code == ExitCode.FINISHED


def test_json(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], allotted=4)
    data = json.loads(json.dumps(report.as_dict()))
    assert data["exit_code"] == 2
    assert data["nodes"][0]["usable"] == 1
    assert data["folder"]["writable"] is True
    assert data["problems"][0]["severe"] is True


# --- the folder -------------------------------------------------------------------------------


def test_folder_that_works(tmp_path: Path) -> None:
    folder = probe_folder(tmp_path)
    assert folder.writable
    assert folder.locks
    assert folder.hdf5
    assert folder.free is not None
    assert folder.file_system != "unknown"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    report = look(tmp_path / "nowhere", [rank(0, "n0", [0], 1)])
    assert report.exit_code == ExitCode.WRONG_INPUT
    assert "nowhere cannot be written (No such file or directory)" in report.text()
    assert "write NO, lock NO, HDF5 NO; free unknown" in report.text()


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not probe_folder(tmp_path / "file").writable


@pytest.mark.parametrize(
    ("changes", "what", "severe"),
    [
        ({"hdf5": False}, "HDF5 cannot write", True),
        ({"locks": False}, "cannot be locked", False),
        ({"file_system": "nfs4"}, "is on nfs4, where HDF5 promises nothing", False),
        ({"free": 1000}, "0 MiB left", False),
    ],
)
def test_problems_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], what: str, severe: bool
) -> None:
    facts = {"file_system": "ext4", "writable": True, "locks": True, "hdf5": True, "free": 100 * GIB}
    folder = Folder(str(tmp_path), **{**facts, **changes})
    monkeypatch.setattr("qcmb_mpi.report.check.probe_folder", lambda path: folder)
    report = look(tmp_path, [rank(0, "n0", [0], 1)])
    (problem,) = report.problems
    assert what in problem.what
    assert problem.severe == severe


def test_file_system_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:1 / /scratch rw shared:1 - lustre x rw\n"
        "3 1 0:2 / /home/my\\040files rw - nfs4 server:/ rw\n"
    )
    assert probes._file_system(Path("/scratch/u"), str(mounts)) == "lustre"
    assert probes._file_system(Path("/scratchy"), str(mounts)) == "ext4"
    assert probes._file_system(Path("/home/my files"), str(mounts)) == "nfs4"
    assert probes._file_system(Path("/"), str(tmp_path / "none")) == "unknown"


# --- engines ----------------------------------------------------------------------------------


def package(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


def stand_ins(folder: Path, **texts: str) -> dict[str, str]:
    """An environment in which the engines are small modules of the given texts."""
    for name in ("pyscf", "tblite", "qcengine"):
        message = f"No module named {name!r}"
        missing = f"raise ModuleNotFoundError({message!r}, name={name!r})"
        package(folder, name, texts.get(name, missing))
    return {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}


QCENGINE = """
__version__ = "0.50"
class Psi4:
    def get_version(self):
        return "1.9"
class Broken:
    def get_version(self):
        raise RuntimeError
def list_available_programs():
    return {"psi4", "odd"}
def get_program(name):
    return {"psi4": Psi4, "odd": Broken}[name]()
"""


def test_engines_through_qcengine(tmp_path: Path) -> None:
    engines, complaints = find_engines(stand_ins(tmp_path, qcengine=QCENGINE))
    assert engines == {
        "psi4": "1.9 (through QCEngine 0.50)",
        "odd": "of unknown version (through QCEngine 0.50)",
    }
    assert complaints == []


def test_engine_that_crashes_on_import(tmp_path: Path) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    engines, complaints = find_engines(stand_ins(tmp_path, tblite=crash, qcengine=QCENGINE))
    assert sorted(engines) == ["odd", "psi4"]
    assert complaints == ["importing tblite ended with code -4"]


def test_engine_that_misses_a_library(tmp_path: Path) -> None:
    _, complaints = find_engines(stand_ins(tmp_path, pyscf="raise ImportError('libfoo.so')"))
    assert complaints == ["pyscf does not import: ImportError: libfoo.so"]


def test_engines_that_take_too_long(tmp_path: Path) -> None:
    environ = stand_ins(tmp_path, qcengine="import time; time.sleep(30)")
    engines, complaints = find_engines(environ, timeout=1.0)
    assert engines == {}
    assert complaints == ["looking for qcengine took more than 1 s"]


def test_no_engine(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], engines={})
    assert report.exit_code == ExitCode.WRONG_INPUT
    assert "pip install 'qcmb-mpi[pyscf]'" in report.text()


def test_engine_that_the_job_needs(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)], wanted=["pyscf", "tblite", "orca"])
    assert [problem.what for problem in report.problems if problem.severe] == [
        "The engine tblite is not installed",
        "The engine orca is not installed",
    ]
    assert "pip install 'qcmb-mpi[tblite]'" in report.text()


# --- printing ---------------------------------------------------------------------------------


def test_plain_for_a_file(tmp_path: Path) -> None:
    report = look(tmp_path, [rank(0, "n0", [0], 1)])
    stream = io.StringIO()
    print_report(report, stream)
    assert stream.getvalue() == report.text()


def test_ruled_for_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qcmb_mpi.report.check.is_terminal", lambda stream: True)
    report = look(tmp_path, [rank(0, "n[0]", [0], 1)], allotted=4)
    stream = io.StringIO()
    print_report(report, stream)
    words = " ".join(stream.getvalue().split())
    assert "n[0]" in words
    assert "problem" in words
    assert report.verdict() in words
    assert "rich" in sys.modules
