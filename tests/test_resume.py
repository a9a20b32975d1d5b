"""A job goes on where an earlier one ended: finished, stopped by a signal, smaller, or another one."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import h5py
import pytest
from clusters import GFN2, HYDROGENS, many_body, waters
from program import Mpi, Program, bits_of
from toy import Toy

STOPPED = 75

#: A chain of atoms whose tasks are short; enough of them to be stopped in the middle.
N_ATOMS = 6
N_TASKS = 6 + 15 + 20
PACE = 0.15


def rows(path: Path) -> bytes:
    """All rows of finished tasks, as they are in the file."""
    with h5py.File(path, "r", locking=False) as file:
        content: bytes = file["results"][...].tobytes()
        return content


def keys(path: Path) -> list[bytes]:
    with h5py.File(path, "r", locking=False) as file:
        return [key.tobytes() for key in file["results"]["key"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of the chain when nobody stops the job."""
    program = Program(tmp_path_factory.mktemp("undisturbed"))
    Toy(program, N_ATOMS).write_input()
    program.succeed("input.json", "--no-checkpoint", TOY_FOLDER=str(program.folder / "toy"))
    assert not program.close()
    return bits_of(program.read("input.result.json"))


WATERS = many_body(
    waters(4), level=GFN2, driver="gradient", bsse_type=["nocp"], max_nbody=2, return_total_data=True
)


@pytest.mark.parametrize(
    "first",
    [pytest.param({}, id="local"), pytest.param({"ranks": 2}, id="two ranks", marks=pytest.mark.mpi)],
)
def test_a_second_run_of_a_finished_job_computes_nothing(
    program: Program, mpi: Mpi, first: dict[str, int]
) -> None:
    program.write("input.json", WATERS)
    program.succeed("input.json", **first)
    before = program.read("input.result.json")
    saved = rows(program.folder / "input.checkpoint.h5")
    assert before["provenance"]["tasks_computed"] == 10
    (program.folder / "input.result.json").unlink()
    finished = program.succeed("input.json")
    after = program.read("input.result.json")
    assert (after["provenance"]["tasks_computed"], after["provenance"]["tasks_reused"]) == (0, 10)
    assert bits_of(after) == bits_of(before)
    assert rows(program.folder / "input.checkpoint.h5") == saved
    assert "0 tasks computed, 10 from the checkpoint" in finished.out
    assert program.files() == ["input.checkpoint.h5", "input.json", "input.result.json"]


def stop_and_go_on(program: Program, undisturbed: Any, stops: list[tuple[int, dict[str, Any]]]) -> None:
    """Stop a job in the middle, again and again; the same command must finish it, computing only the rest.

    ``stops`` are the signals, each with the ways in which the job that gets it is started.
    """
    toy = Toy(program, N_ATOMS)
    toy.write_input(n_workers=2)
    toy.takes(PACE)
    path = program.folder / "input.checkpoint.h5"
    done: list[bytes] = []
    for number, way in stops:
        toy.goes_wrong({})
        job = program.start("input.json", **way, **toy.variables)
        job.wait_until(lambda: len(toy.tries()) >= 4)
        job.signal(number)
        finished = job.wait(30)
        assert finished.code == STOPPED, finished
        assert "Traceback" not in finished.err, finished
        assert finished.err.count("the same command goes on from here") == 1, finished
        assert not job.left_behind()
        result = program.read("input.result.json")
        assert result["success"] is False
        assert result["error"]["error_type"] == "stopped"
        before, done = done, keys(path)
        assert done[: len(before)] == before
        assert len(done) == len(before) + len(toy.tries()), "what was begun is finished and saved"
        assert set(toy.tries().values()) == {1}
        assert len(done) < N_TASKS

    toy.goes_wrong({})
    toy.takes(0)
    program.succeed("input.json", **toy.variables)
    result = program.read("input.result.json")
    assert bits_of(result) == undisturbed
    assert result["provenance"]["tasks_reused"] == len(done)
    assert result["provenance"]["tasks_computed"] == N_TASKS - len(done)
    assert sum(toy.tries().values()) == N_TASKS - len(done)
    both = keys(path)
    assert both[: len(done)] == done
    assert len(set(both)) == len(both) == N_TASKS


@pytest.mark.slow
def test_a_stopped_local_job_goes_on(program: Program, undisturbed: Any) -> None:
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    stop_and_go_on(program, undisturbed, [(number, {}) for number in signals])


@pytest.mark.mpi
def test_a_stopped_mpi_job_goes_on_with_other_ranks_and_without(
    program: Program, undisturbed: Any, mpi: Mpi
) -> None:
    stop_and_go_on(program, undisturbed, [(mpi.stop_signal, {"ranks": 2}), (signal.SIGUSR1, {"ranks": 3})])


def test_a_second_interrupt_stops_at_once_and_spoils_nothing(program: Program, undisturbed: Any) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input()
    toy.goes_wrong({"0-1-2": ["hang"], "0-1-3": ["hang"]})
    job = program.start("input.json", **toy.variables)
    job.wait_until(lambda: {"0-1-2", "0-1-3"} & set(toy.tries()) != set())
    job.signal(signal.SIGINT)
    job.wait_until(lambda: "Ctrl-C stops at once" in job.texts()[1])
    job.signal(signal.SIGINT)
    finished = job.wait(8)  # a single one waits ten seconds for what is being computed
    assert finished.code == STOPPED, finished
    assert not job.left_behind()
    toy.goes_wrong({})
    program.succeed("input.json", **toy.variables)
    assert bits_of(program.read("input.result.json")) == undisturbed


def test_the_end_of_the_wall_time_stops_a_job(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input()
    toy.takes(PACE)
    finished = program.run("input.json", "--walltime", "1", **toy.variables)
    assert finished.code == STOPPED, finished
    assert "wall time" in finished.err, finished


@pytest.mark.slow
def test_more_bodies_and_another_treatment_go_on_with_the_same_file(program: Program) -> None:
    flags = ("--checkpoint", "shared.h5")
    for number, (keywords, computed, reused) in enumerate(
        [
            ({"bsse_type": ["nocp"], "max_nbody": 1}, 3, 0),
            ({"bsse_type": ["nocp"], "max_nbody": 3}, 4, 3),
            ({"bsse_type": ["nocp", "cp"], "max_nbody": 3}, 6, 7),
        ]
    ):
        program.write(f"input{number}.json", many_body(HYDROGENS, return_total_data=True, **keywords))
        program.succeed(f"input{number}.json", *flags)
        told = program.read(f"input{number}.result.json")["provenance"]
        assert (told["tasks_computed"], told["tasks_reused"]) == (computed, reused)
    afresh = program.succeed("input2.json", "--no-checkpoint", "-o", "afresh.json")
    assert "13 tasks computed" in afresh.out
    assert bits_of(program.read("afresh.json")) == bits_of(program.read("input2.result.json"))


def test_a_quiet_run_prints_nothing(program: Program) -> None:
    program.write("input.json", WATERS)
    for _ in range(2):
        finished = program.succeed("input.json", "--quiet")
        assert (finished.out, finished.err) == ("", "")


@pytest.mark.slow
def test_overwrite_begins_again_and_no_checkpoint_leaves_none(program: Program) -> None:
    program.write("input.json", WATERS)
    program.succeed("input.json", "--no-checkpoint")
    assert program.files() == ["input.json", "input.result.json"]
    told = []
    for flags in ((), ("--overwrite",)):
        program.succeed("input.json", *flags)
        told.append(program.read("input.result.json")["provenance"])
    assert [(t["tasks_computed"], t["tasks_reused"]) for t in told] == [(10, 0), (10, 0)]
    assert len(keys(program.folder / "input.checkpoint.h5")) == 10


OTHERS = {
    "molecule": (("molecule", "geometry", 0), 0.5),
    "driver": (("specification", "driver"), "energy"),
    "level": (("specification", "specification", "model", "method"), "gfn1-xtb"),
}


@pytest.mark.slow
def test_a_checkpoint_of_another_problem_is_refused_with_the_difference(program: Program) -> None:
    program.write("input.json", WATERS)
    program.succeed("input.json")
    path = program.folder / "input.checkpoint.h5"
    saved = rows(path)
    for what, ((*groups, last), value) in OTHERS.items():
        other: Any = copy.deepcopy(WATERS)
        inner = other
        for group in groups:
            inner = inner[group]
        inner[last] = value
        program.write("other.json", other)
        finished = program.run("other.json", "--checkpoint", "input.checkpoint.h5")
        assert finished.code == 2, finished
        assert "Traceback" not in finished.err, finished
        assert what in finished.err, finished
        assert "--overwrite" in finished.err or "--checkpoint" in finished.err, finished
        assert rows(path) == saved
        assert "other.result.json" not in program.files()
