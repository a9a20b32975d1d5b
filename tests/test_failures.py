"""What engines do wrong: they raise, exit, die, hang and return nonsense, and the job goes on.

A task that works in a later try gives the bits of an undisturbed run; one that never does is named, and
everything else is computed and saved.
"""

from __future__ import annotations

from typing import Any

import h5py
import pytest
from program import Mpi, Program, bits_of
from toy import Toy

N_TASKS = 5 + 10 + 10

#: Every mishap once, in tasks of all sizes.
ONCE = {
    "0": ["raise"],
    "3": ["nan"],
    "0-1": ["exit"],
    "2-4": ["segfault"],
    "1-2": ["killed"],
    "1-4": ["unconverged", "unconverged"],
    "0-2-4": ["hang"],
    "1-3": ["hang with children"],
    "1-2-3": ["raise", "exit"],
}
KINDS = {"crash": 6, "memory": 1, "convergence": 2, "timeout": 2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits of a run in which nothing goes wrong."""
    program = Program(tmp_path_factory.mktemp("undisturbed"))
    toy = Toy(program, plugin="toy_program")
    toy.write_input()
    program.succeed("input.json", **toy.variables)
    assert not program.close()
    assert set(toy.tries().values()) == {1}
    assert len(toy.tries()) == N_TASKS
    return bits_of(program.read("input.result.json"))


WAYS = [
    pytest.param({}, id="two workers", marks=pytest.mark.slow),
    pytest.param({"ranks": 2}, id="two ranks", marks=pytest.mark.mpi),
]


@pytest.mark.parametrize("way", WAYS)
def test_mishaps_that_pass_leave_the_bits_as_they_are(
    program: Program, mpi: Mpi, undisturbed: Any, way: dict[str, int]
) -> None:
    toy = Toy(program, plugin="toy_program")
    toy.write_input(n_workers=2, timeout_per_task=2)
    toy.goes_wrong(ONCE)
    program.succeed("input.json", **way, **toy.variables)
    result = program.read("input.result.json")
    assert bits_of(result) == undisturbed
    expected = {name: len(mishaps) + 1 for name, mishaps in ONCE.items()}
    assert {name: n for name, n in toy.tries().items() if n > 1} == expected
    with h5py.File(program.folder / "input.checkpoint.h5", "r", locking=False) as file:
        assert len(file["results"]) == N_TASKS
        found = [kind.decode() for kind in file["failures"]["kind"]]
        attempts = sorted(file["failures"]["attempt"].tolist())
    assert {kind: found.count(kind) for kind in found} == KINDS
    assert attempts == [0] * 9 + [1] * 2


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS[1:])
def test_a_task_that_never_works_is_named_and_all_others_are_computed(
    program: Program, mpi: Mpi, undisturbed: Any, way: dict[str, int]
) -> None:
    toy = Toy(program, plugin="toy_program")
    toy.write_input(max_retries=1)
    toy.goes_wrong({"1-3": ["segfault", "always"], "2": ["input", "always"], "0-1-2": ["raise", "always"]})
    finished = program.run("input.json", **way, **toy.variables)
    assert finished.code == 1, finished
    assert "Traceback" not in finished.err, finished
    assert finished.err.count("tasks failed for good") == 1, finished
    labels = ['["(auto)", [3], [3]]', '["(auto)", [2, 4], [2, 4]]', '["(auto)", [1, 2, 3], [1, 2, 3]]']
    for label in labels:
        assert label in finished.err, finished
    assert set(toy.tries().values()) == {1, 2}
    assert len(toy.tries()) == N_TASKS
    assert toy.tries()["2"] == 1, "wrong input is not tried again"

    result = program.read("input.result.json")
    assert result["success"] is False
    assert "return_result" not in result
    failed = {task["label"]: task for task in result["failed_tasks"]}
    assert set(failed) == set(labels)
    assert [failed[label]["kind"] for label in labels] == ["input", "crash", "crash"]
    assert [failed[label]["attempts"] for label in labels] == [1, 2, 2]
    assert "does not do this" in failed[labels[0]]["message"]
    assert "SIGSEGV" in failed[labels[1]]["message"]
    assert "disk of the toy is full" in failed[labels[2]]["message"]

    # nothing else is tried again; what works now makes the result whole
    toy.goes_wrong({})
    program.succeed("input.json", **way, **toy.variables)
    assert sorted(toy.tries()) == ["0-1-2", "1-3", "2"]
    result = program.read("input.result.json")
    assert bits_of(result) == undisturbed
    assert result["provenance"]["tasks_computed"] == 3


@pytest.mark.slow
def test_what_is_complete_is_in_the_result_of_a_failed_job(program: Program) -> None:
    toy = Toy(program, plugin="toy_program")
    toy.write_input(max_retries=0)
    toy.goes_wrong({"0-1-2": ["raise"]})
    assert program.run("input.json", **toy.variables).code == 1
    complete = program.read("input.result.json")["complete"]
    toy.write_input(max_nbody=2, name="smaller.json")
    program.succeed("smaller.json", "--checkpoint", "input.checkpoint.h5", **toy.variables)
    smaller = program.read("smaller.result.json")
    name = "nocp_corrected_total_energy_through_2_body"
    assert complete[name] == smaller["properties"][name]
    assert not any("3_body" in field for field in complete)
    assert set(toy.tries().values()) == {1}


def test_without_retries_a_hanging_task_is_a_timeout(program: Program) -> None:
    toy = Toy(program, n_atoms=2, plugin="toy_program")
    toy.write_input(max_nbody=2)
    toy.goes_wrong({"0-1": ["hang", "always"]})
    flags = ("--timeout-per-task", "1", "--max-retries", "0")
    finished = program.run("input.json", *flags, **toy.variables)
    assert finished.code == 1, finished
    (task,) = program.read("input.result.json")["failed_tasks"]
    assert (task["label"], task["kind"]) == ('["(auto)", [1, 2], [1, 2]]', "timeout")
    assert toy.tries() == {"0": 1, "1": 1, "0-1": 1}


def test_python_callers_get_the_failures_as_an_exception(program: Program) -> None:
    toy = Toy(program, n_atoms=2, plugin="toy_program")
    toy.write_input(max_nbody=2, max_retries=0)
    toy.goes_wrong({"0-1": ["raise", "always"]})
    script = program.write(
        "script.py",
        "import json\n"
        "from qcmb_mpi import ParallelManyBodyComputer, TasksFailed\n"
        "try:\n"
        "    ParallelManyBodyComputer.from_manybodyinput(json.load(open('input.json')))\n"
        "except TasksFailed as error:\n"
        "    print(error.failures[0].label, error.failures[0].kind, sorted(error.complete))\n",
    )
    finished = program.succeed(script=script, **toy.variables)
    assert '["(auto)", [1, 2], [1, 2]] crash' in finished.out, finished
    assert "through_1_body" in finished.out, finished
