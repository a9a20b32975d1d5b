"""What a failure for good leaves behind: folders from which each task can be repeated by hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qcengine
from clusters import ATOMS, WATER, cluster, many_body
from program import PATIENCE, Finished, Mpi, Program, environment
from qcelemental.models.v2 import AtomicInput
from toy import Toy

from qcmb_mpi.engine.base import Resources, TaskMolecule
from qcmb_mpi.engine.record import task_input
from qcmb_mpi.engine.registry import get_engine, register_with_qcengine
from qcmb_mpi.engine.repeat import read_task
from qcmb_mpi.expansion.plan import plan
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Joined, Lost
from qcmb_mpi.farm.schedule import LOST_LIMIT, Policy, Schedule
from qcmb_mpi.inputs import from_model, load
from qcmb_mpi.problem import Level
from qcmb_mpi.report.failed import LONGEST, MOST_FOLDERS, beside, folder_name
from qcmb_mpi.unfinished import failed_for_good

FILES = ["input.json", "output.txt", "repeat.sh"]


def repeat(folder: Path, *, clean: bool = False, **variables: str) -> Finished:
    """Run the command in a failed task's folder, from another place than the job's."""
    environ = {"PATH": os.environ["PATH"]} if clean else environment()
    done = subprocess.run(
        ["sh", str(folder / "repeat.sh")],
        cwd="/",
        env={**environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, 0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_command_fails_as_the_task_did_and_the_folder_goes_when_the_cause_is_gone(
    program: Program,
) -> None:
    toy = Toy(program, plugin="toy_program")
    toy.write_input(max_retries=1)
    mishaps = {"2": ["input", "always"], "1-3": ["segfault", "always"], "0-1-2": ["unconverged", "always"]}
    toy.goes_wrong(mishaps)
    finished = program.run("input.json", **toy.variables)
    assert finished.code == 1, finished
    assert "input.failed/ has input and output of each" in finished.err, finished

    kept = program.folder / "input.failed"
    expected = {"auto_3_in_3": "input", "auto_2-4_in_2-4": "crash", "auto_1-2-3_in_1-2-3": "convergence"}
    assert names(kept) == sorted(expected)
    for name, kind in expected.items():
        assert names(kept / name) == FILES
        output = (kept / name / "output.txt").read_text()
        assert f"failed for good: {kind}" in output
        assert len([line for line in output.splitlines() if line.split()[:1] in (["1"], ["2"])]) == (
            1 if kind == "input" else 2
        )
    assert {task["folder"] for task in program.read("input.result.json")["failed_tasks"]} == {
        str(Path("input.failed", name)) for name in expected
    }

    again = repeat(kept / "auto_3_in_3", clean=True, **toy.variables)
    assert again.code == 1, again
    assert "input: toy: " in again.err, again
    assert "the toy does not do this" in again.err, again
    assert "--attempt 1" in (kept / "auto_1-2-3_in_1-2-3" / "repeat.sh").read_text()
    assert "--attempt" not in (kept / "auto_2-4_in_2-4" / "repeat.sh").read_text()
    again = repeat(kept / "auto_1-2-3_in_1-2-3", clean=True, **toy.variables)
    assert again.code == 1, again
    assert "convergence: toy: " in again.err, again
    assert "SCF did not converge in 3 iterations" in again.err, again
    assert repeat(kept / "auto_2-4_in_2-4", clean=True, **toy.variables).code == -11  # SIGSEGV

    # one cause is mended: its folder goes, those of the others stay
    toy.goes_wrong({name: words for name, words in mishaps.items() if name != "2"})
    again = repeat(kept / "auto_3_in_3", clean=True, **toy.variables)
    assert again.code == 0, again
    assert "energy: " in again.out, again
    assert program.run("input.json", **toy.variables).code == 1
    assert names(kept) == ["auto_1-2-3_in_1-2-3", "auto_2-4_in_2-4"]

    toy.goes_wrong({})
    program.succeed("input.json", **toy.variables)
    assert not kept.exists()


@pytest.mark.slow
@pytest.mark.mpi
def test_attempts_on_other_ranks_are_listed_and_the_folders_go_under_mpi_too(
    program: Program, mpi: Mpi
) -> None:
    toy = Toy(program)
    toy.write_input(max_nbody=1, max_retries=1)
    toy.goes_wrong({"2": ["segfault", "always"]})
    assert program.run("input.json", ranks=2, **toy.variables).code == 1
    output = (program.folder / "input.failed" / "auto_3_in_3" / "output.txt").read_text()
    rows = [line.split() for line in output.splitlines() if line.split()[1:2] == ["crash"]]
    assert sorted(row[2] for row in rows) == ["0", "1"]  # a crash is tried again elsewhere
    assert {row[3] for row in rows} == {socket.gethostname()}
    toy.goes_wrong({})
    program.succeed("input.json", ranks=2, **toy.variables)
    assert not (program.folder / "input.failed").exists()


@pytest.mark.slow
def test_what_a_user_put_there_stays(program: Program) -> None:
    toy = Toy(program)
    toy.write_input(max_nbody=1, max_retries=0)
    toy.goes_wrong({"2": ["raise"], "3": ["raise"]})
    assert program.run("input.json", **toy.variables).code == 1
    kept = program.folder / "input.failed"
    (kept / "auto_3_in_3" / "my notes.txt").write_text("the disk")
    (kept / "mine").mkdir()
    program.succeed("input.json", **toy.variables)
    assert names(kept) == ["auto_3_in_3", "mine"]
    assert names(kept / "auto_3_in_3") == ["my notes.txt"]


@pytest.mark.slow
def test_an_scf_that_does_not_converge_is_repeated_with_the_very_numbers(program: Program) -> None:
    pair = cluster((WATER, (0.1, 0.2, 0.3)), (WATER, (5.7, 0.1, 0.3)))
    pair["geometry"][0] = 1 / 3

    def write_input(max_cycle: int) -> Path:
        level = {"program": "pyscf", "method": "hf", "basis": "sto-3g", "keywords": {"max_cycle": max_cycle}}
        charges = {"1": [-0.8, 0.4, 0.4], "2": [-0.8, 0.4, 0.4]}
        keywords = {"bsse_type": ["nocp"], "max_nbody": 1, "return_total_data": True}
        execution = {"max_retries": 0}
        content = many_body(pair, level=level, embedding_charges=charges, execution=execution, **keywords)
        return program.write("water.json", content)

    loaded = load(str(write_input(1)))
    finished = program.run("water.json", "--no-checkpoint", "-o", "answer.result.json")
    assert finished.code == 1, finished
    folder = program.folder / "answer.failed" / "auto_1_in_1"
    said = "the SCF did not converge within max_cycle = 1"
    assert f"--- what was said last ---\n{said}" in (folder / "output.txt").read_text()
    again = repeat(folder)
    assert again.code == 1, again
    assert f"convergence: {said}" in again.err, again

    level, driver, molecule = read_task(folder / "input.json")
    assert (level.method, level.basis, level.keywords, driver) == ("hf", "sto-3g", {"max_cycle": 1}, "energy")
    geometry = loaded.problem.cluster.geometry
    assert molecule.point_charges is not None
    assert molecule.geometry.tolist() == geometry[:3].tolist()  # to the last bit
    assert molecule.point_charges[:, :3].tolist() == geometry[3:].tolist()
    assert molecule.point_charges[:, 3].tolist() == [-0.8, 0.4, 0.4]

    write_input(50)
    program.succeed("water.json", "--no-checkpoint", "-o", "answer.result.json")
    assert not (program.folder / "answer.failed").exists()


GHOSTED = TaskMolecule(
    symbols=("He", "He"),
    numbers=np.array([2, 2]),
    geometry=np.array([[0.0, 0.0, 1 / 3], [0.0, 0.1, 4.0]]),
    real=np.array([True, False]),
    charge=0,
    multiplicity=1,
    fragments=(1, 1),
    fragment_charges=(0.0, 0.0),
    fragment_multiplicities=(1, 1),
    point_charges=np.array([[3.0, 0.0, 1 / 7, 0.5]]),
)


def test_the_file_gives_the_energy_of_the_task_by_our_command_and_by_qcengine(tmp_path: Path) -> None:
    asked = Level("(auto)", "pyscf", "hf", "6-31g", {"conv_tol": 1e-11})
    content = task_input(asked, "energy", GHOSTED, '["(auto)", [1], [1, 2]]')
    (tmp_path / "input.json").write_text(json.dumps(content))
    energy = get_engine("pyscf").compute(asked, "energy", GHOSTED, Resources()).energy
    bare = get_engine("pyscf").compute(asked, "energy", replace(GHOSTED, point_charges=None), Resources())
    assert abs(bare.energy - energy) > 1e-5  # the charges do matter
    level, driver, molecule = read_task(tmp_path / "input.json")
    assert get_engine(level.program).compute(level, driver, molecule, Resources()).energy == energy
    register_with_qcengine()
    result = qcengine.compute(AtomicInput(**content), "pyscf", raise_error=True, return_version=2)
    assert result.return_result == pytest.approx(energy, abs=1e-12)


def test_what_the_engine_printed_before_it_was_killed_is_kept(program: Program) -> None:
    toy = Toy(program)
    toy.write_input(max_nbody=1, max_retries=0, timeout_per_task=1)
    toy.goes_wrong({"2": ["hang"]})
    assert program.run("input.json", **toy.variables).code == 1
    output = (program.folder / "input.failed" / "auto_3_in_3" / "output.txt").read_text()
    assert "failed for good: timeout" in output
    assert output.rstrip().endswith("the toy sleeps")


def test_a_folder_that_cannot_be_written_is_a_warning(program: Program) -> None:
    toy = Toy(program)
    toy.write_input(max_nbody=1, max_retries=0)
    toy.goes_wrong({"2": ["raise"]})
    program.write("input.failed", "a file where the folder should be")
    finished = program.run("input.json", **toy.variables)
    assert finished.code == 1, finished
    assert "WARNING" in finished.err, finished
    assert "Traceback" not in finished.err, finished
    assert "input.failed" in finished.err, finished
    assert program.read("input.result.json")["failed_tasks"][0]["folder"] is None
    program.succeed("input.json", **toy.variables)
    assert program.read("input.result.json")["provenance"]["tasks_computed"] == 1


def test_what_was_written_before_the_folder_refused_is_kept_and_named(program: Program) -> None:
    toy = Toy(program)
    toy.write_input(max_nbody=1, max_retries=0)
    toy.goes_wrong({"2": ["input"], "3": ["input"], "4": ["input"]})
    kept = program.folder / "input.failed"
    kept.mkdir()
    (kept / "auto_4_in_4").write_text("a file where the second folder should be")
    finished = program.run("input.json", **toy.variables)
    assert finished.code == 1, finished
    assert "2 of 3 failed tasks have no folder" in finished.err, finished
    assert "the first 1 of 3 failed tasks" in finished.err, finished
    assert names(kept) == ["auto_3_in_3", "auto_4_in_4"]


def test_a_task_that_took_its_ranks_with_it_is_named_without_an_attempt() -> None:
    problem = from_model(many_body(ATOMS, bsse_type=["nocp"], max_nbody=1)).problem
    table = plan(problem.expansion)
    done = np.ones(table.n_tasks, dtype=bool)
    done[2] = False
    schedule = Schedule(CostModel(np.ones(table.n_tasks, dtype=np.float32), np.array([0])), done, Policy())
    for seat in range(LOST_LIMIT + 1):
        schedule.handle(Joined(seat), 0.0)
    for seat in range(LOST_LIMIT):
        schedule.handle(Lost(seat), 1.0)
    (failure,) = failed_for_good(problem, table, schedule, {})
    assert (failure.task, failure.kind, failure.losses) == (2, "lost", LOST_LIMIT)
    assert failure.label == '["(auto)", [3], [3]]'


def test_when_all_fails_the_first_hundred_have_folders(program: Program) -> None:
    n = MOST_FOLDERS + 5
    toy = Toy(program, n_atoms=n)
    toy.write_input(max_nbody=1, max_retries=0)
    toy.goes_wrong({str(i): ["input"] for i in range(n)})
    finished = program.run("input.json", **toy.variables)
    assert finished.code == 1, finished
    assert f"of the first {MOST_FOLDERS} of {n} failed tasks" in finished.err, finished
    assert len(names(program.folder / "input.failed")) == MOST_FOLDERS


@pytest.mark.parametrize("name", ["input.json", "nothing.json"])
def test_a_wrong_file_is_no_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / "input.json").write_text('{"molecule": 1}')
    done = subprocess.run(
        [sys.executable, "-m", "qcmb_mpi.engine.repeat", name],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr


NAMES = ["(auto)", "mp2/cc-pVDZ", "mp2_cc-pvdz", "..", "Wasser übermäßig"]


@pytest.mark.parametrize(
    ("level", "name"),
    [(0, "auto_1-3_in_1-2-3"), (3, "level_1-3_in_1-2-3"), (4, "Wasser_berm_ig_1-3_in_1-2-3")],
)
def test_names_are_readable(level: int, name: str) -> None:
    assert folder_name(level, [0, 2], [0, 1, 2], NAMES) == name


def test_names_are_short_and_never_the_same() -> None:
    whole = list(range(80))
    found = [folder_name(level, [i], whole, NAMES) for level in range(len(NAMES)) for i in range(80)]
    found += [folder_name(level, [1], [1], NAMES) for level in range(len(NAMES))]
    assert max(map(len, found)) == LONGEST
    assert len({name.lower() for name in found}) == len(found)
    assert all(name.isascii() and not set(name) & set('/\\:*?"<>| ') for name in found)


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("a/water.checkpoint.h5", "a/water.failed"),
        ("water.result.json", "water.failed"),
        ("water.h5", "water.failed"),
        ("water", "water.failed"),
    ],
)
def test_the_folder_lies_beside_the_checkpoint(file: str, folder: str) -> None:
    assert beside(Path(file)) == Path(folder)
