"""Inside a script that is an MPI program by itself, on all of its ranks or on some of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clusters import GFN2, HYDROGENS, PAIR, many_body
from program import Mpi, Program

from qcmb_mpi import ParallelManyBodyComputer

pytestmark = pytest.mark.mpi

SCRIPT = """
from mpi4py import MPI  # MPI is initialised before anything of the package is imported

import json, sys
from qcmb_mpi import InputError, MPIExecutor, ParallelManyBodyComputer

world = MPI.COMM_WORLD
inputs = json.load(open("inputs.json"))


def compute(name, comm):
    try:
        result = ParallelManyBodyComputer.from_manybodyinput(inputs[name], executor=MPIExecutor(comm=comm))
    except InputError as error:
        return {"error": str(error)}
    if result is None:
        return None
    run = result.provenance.model_dump()
    return {"energy": result.ret_energy.hex(), "ranks": run["ranks"], "tasks": run["tasks_computed"]}


def tell(what):  # one line for each rank
    everything = world.gather(what)
    if world.rank == 0:
        print(json.dumps(everything))
"""


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return {
        "three": many_body(HYDROGENS, level=GFN2, bsse_type=["nocp"]),
        "two": many_body(PAIR, level=GFN2, bsse_type=["nocp"]),
        "wrong": many_body(PAIR, level=GFN2, bsse_type=["nocp"], max_nbody=3),
    }


@pytest.fixture(scope="module")
def serial(inputs: dict[str, Any]) -> dict[str, str]:
    """The bits of each input, computed without MPI."""
    computer = ParallelManyBodyComputer
    return {name: computer.from_manybodyinput(inputs[name]).ret_energy.hex() for name in ("three", "two")}


def run(program: Program, mpi: Mpi, inputs: dict[str, Any], ranks: int, lines: str) -> list[Any]:
    """What each rank tells at the end of a script."""
    program.write("inputs.json", inputs)
    script = program.write("script.py", SCRIPT + lines)
    finished = program.succeed(script=script, ranks=ranks, mpi=mpi)
    return list(json.loads(finished.out.splitlines()[-1]))


def test_two_halves_compute_different_expansions_at_once(
    program: Program, mpi: Mpi, inputs: dict[str, Any], serial: dict[str, str]
) -> None:
    told = run(
        program,
        mpi,
        inputs,
        4,
        "half = world.Split(world.rank // 2)\n"
        "tell(compute(['three', 'two'][world.rank // 2], half))\n"
        "half.Free()",
    )
    assert told == [
        {"energy": serial["three"], "ranks": 2, "tasks": 7},
        None,
        {"energy": serial["two"], "ranks": 2, "tasks": 3},
        None,
    ]


def test_ranks_outside_do_nothing_and_the_first_inside_has_the_result(
    program: Program, mpi: Mpi, inputs: dict[str, Any], serial: dict[str, str]
) -> None:
    told = run(
        program,
        mpi,
        inputs,
        3,
        "part = world.Split(0 if world.rank else MPI.UNDEFINED, -world.rank)\n"
        "tell(compute('three', part))",  # rank 2 of all is rank 0 of the part; rank 0 has COMM_NULL
    )
    assert told == [None, None, {"energy": serial["three"], "ranks": 2, "tasks": 7}]


def test_a_communicator_of_one_rank_is_enough(
    program: Program, mpi: Mpi, inputs: dict[str, Any], serial: dict[str, str]
) -> None:
    told = run(program, mpi, inputs, 2, "tell(compute(['three', 'two'][world.rank], MPI.COMM_SELF))")
    assert [one["energy"] for one in told] == [serial["three"], serial["two"]]
    assert [one["ranks"] for one in told] == [1, 1]


def test_a_wrong_input_of_one_half_leaves_the_other_alone(
    program: Program, mpi: Mpi, inputs: dict[str, Any], serial: dict[str, str]
) -> None:
    told = run(
        program,
        mpi,
        inputs,
        3,
        "part = world.Split(min(world.rank, 1))\ntell(compute(['two', 'wrong'][min(world.rank, 1)], part))",
    )
    assert told[0] == {"energy": serial["two"], "ranks": 1, "tasks": 3}
    assert "max_nbody" in told[1]["error"]
    assert told[2] == {"error": ""}  # rank 0 of its half has said it


def test_all_ranks_of_a_program_that_goes_on_with_mpi(
    program: Program, mpi: Mpi, inputs: dict[str, Any], serial: dict[str, str]
) -> None:
    told = run(
        program,
        mpi,
        inputs,
        2,
        "first = compute('three', None)\nsecond = compute('two', world)\n"
        "tell([first, second, world.allreduce(world.rank)])",
    )
    assert [one and one["energy"] for one in told[0][:2]] == [serial["three"], serial["two"]]
    assert told[1] == [None, None, 1]
