"""With ``--symmetry`` equivalent n-mers are computed once, and everything else stays as it is."""

from __future__ import annotations

import json
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from clusters import GFN2, HF, HYDROGEN, PAIR, WATER, cluster, many_body
from program import Mpi, Program, bits_of
from toy import Toy

STOPPED, TASKS_FAILED = 75, 1

#: The toy's chain: He Ne Ar He Ne Ar, as far from each other as from the next.
N_ATOMS = 6
NMERS = [nmer for k in (1, 2, 3) for nmer in combinations(range(N_ATOMS), k)]
N_TASKS = len(NMERS)


def shifted_and_mirrored(nmer: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Elements and places of an n-mer of the chain, the same for all that can be moved onto each other."""
    forth = tuple((atom % 3, atom - nmer[0]) for atom in nmer)
    back = tuple((atom % 3, nmer[-1] - atom) for atom in reversed(nmer))
    return min(forth, back)


N_CLASSES = len({shifted_and_mirrored(nmer) for nmer in NMERS})


def ring(n: int, atoms: Any, radius: float) -> dict[str, Any]:
    """Copies of a fragment around an axis, with coordinates to eight decimals, as in a file."""
    fragments = []
    for k in range(n):
        cos, sin = math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)
        turned = [(symbol, (cos * x - sin * y, sin * x + cos * y, z)) for symbol, (x, y, z) in atoms]
        fragments.append((turned, (radius * cos, radius * sin, 0.0)))
    return cluster(*fragments)


HELIUM = (("He", (0.0, 0.0, 0.0)),)
ATOMS, MOLECULES, WATERS = ring(5, HELIUM, 3.5), ring(4, HYDROGEN, 3.3), ring(5, WATER, 5.5)


def told(program: Program, name: str = "input.result.json") -> dict[str, Any]:
    provenance: dict[str, Any] = program.read(name)["provenance"]
    return provenance


def difference(one: Any, other: Any) -> float:
    """Largest difference of all numbers in two results' properties."""
    assert one["properties"].keys() == other["properties"].keys()
    return max(
        float(np.abs(np.array(value, dtype=float) - np.array(other["properties"][name], dtype=float)).max())
        for name, value in one["properties"].items()
        if value is not None and not isinstance(value, str)
    )


@pytest.mark.parametrize(
    ("molecule", "level", "driver", "keywords", "computed", "close"),
    [
        pytest.param(
            ATOMS,
            HF,
            "energy",
            {"bsse_type": ["nocp", "cp", "vmfc"], "max_nbody": 2, "return_total_data": True},
            ((1 + 2) + (1 + 2) + 2, 15 + 15 + 20),
            1e-9,
            id="energies",
        ),
        pytest.param(
            WATERS, GFN2, "gradient", {"bsse_type": ["nocp"], "max_nbody": 3}, (5, 25), 1e-7, id="gradients"
        ),
        pytest.param(
            MOLECULES,
            HF,
            "gradient",
            {"bsse_type": ["cp"], "max_nbody": 2},
            (4, 14),
            1e-7,
            id="ghosts",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            MOLECULES,
            HF,
            "hessian",
            {"bsse_type": ["vmfc"], "max_nbody": 2},
            (1 + 2 + 3, 22),
            1e-7,
            id="Hessians",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_results_are_the_same_and_few_tasks_are_computed(
    program: Program,
    molecule: Any,
    level: Any,
    driver: str,
    keywords: Any,
    computed: tuple[int, int],
    close: float,
) -> None:
    program.write("input.json", many_body(molecule, level=level, driver=driver, **keywords))
    finished = program.succeed("input.json", "--symmetry", "--no-checkpoint", "--progress", "lines")
    few, all_ = computed
    assert f"{all_} tasks, {few} of them different by symmetry\n" in finished.err
    assert f"{few} tasks computed, {all_ - few} by symmetry, 0 from the checkpoint" in finished.out
    assert (told(program)["tasks_computed"], told(program)["tasks_by_symmetry"]) == (few, all_ - few)
    program.succeed("input.json", "--no-checkpoint", "-o", "all.json")
    assert told(program, "all.json")["tasks_computed"] == all_
    assert difference(program.read("input.result.json"), program.read("all.json")) < close


@pytest.mark.slow
@pytest.mark.mpi
def test_the_bits_do_not_depend_on_who_computes(program: Program, mpi: Mpi) -> None:
    inputs = many_body(
        WATERS,
        level=GFN2,
        driver="gradient",
        bsse_type=["nocp"],
        max_nbody=3,
        execution={"symmetry": True, "threads_per_worker": 1},
    )
    program.write("input.json", inputs)
    results = []
    for flags, ranks in ((("--n-workers", "1"), None), (("--n-workers", "2"), None), ((), 2)):
        program.succeed("input.json", "--no-checkpoint", *flags, ranks=ranks)
        assert told(program)["tasks_computed"] == 5
        assert told(program)["bits_repeat"] is True
        results.append(bits_of(program.read("input.result.json")))
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
def test_a_job_that_is_stopped_or_killed_goes_on(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(symmetry=True, n_workers=2, checkpoint_interval=1)
    program.succeed("input.json", "--no-checkpoint", **toy.variables)
    undisturbed = bits_of(program.read("input.result.json"))
    assert len(toy.tries()) == told(program)["tasks_computed"] == N_CLASSES

    toy.goes_wrong({})
    toy.takes(0.15)
    job = program.start("input.json", **toy.variables)
    job.wait_until(lambda: len(toy.tries()) >= 5)
    job.interrupt()
    finished = job.wait(30)
    assert finished.code == STOPPED, finished
    status = program.call("status", "input.checkpoint.h5")
    assert "follow by symmetry from others" in status.out
    before = len(toy.tries())
    job = program.start("input.json", **toy.variables)
    job.wait_until(lambda: len(toy.tries()) >= before + 5)
    job.kill()
    lost = len(toy.tries())
    toy.takes(0.0)
    program.succeed("input.json", **toy.variables)
    assert bits_of(program.read("input.result.json")) == undisturbed
    run = told(program)
    assert run["tasks_computed"] + run["tasks_reused"] + run["tasks_by_symmetry"] == N_TASKS
    assert run["tasks_computed"] >= N_CLASSES - lost
    assert len(toy.tries()) == N_CLASSES, "no equivalent task was ever computed"


@pytest.mark.slow
@pytest.mark.parametrize(("fails", "stands"), [("3-4", "0-1"), ("0-1", "3-4")])
def test_what_was_computed_without_it_is_known_with_it(program: Program, fails: str, stands: str) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input()
    toy.goes_wrong({fails: ["input"]})
    finished = program.run("input.json", **toy.variables)
    assert finished.code == TASKS_FAILED, finished
    toy.goes_wrong({})
    finished = program.succeed("input.json", "--symmetry", "--progress", "lines", **toy.variables)
    assert "; 1 answer follows from what is there\n" in finished.err
    assert toy.tries() == {}
    run = told(program)
    assert (run["tasks_computed"], run["tasks_reused"], run["tasks_by_symmetry"]) == (0, N_TASKS - 1, 1)
    program.succeed("input.json", "--no-checkpoint", "-o", "all.json", **toy.variables)
    assert difference(program.read("input.result.json"), program.read("all.json")) < 1e-9
    assert {fails, stands} <= set(toy.tries())


def test_a_task_that_fails_takes_its_equivalents_with_it_and_says_so(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(symmetry=True)
    toy.goes_wrong({"0-1": ["input"]})
    finished = program.run("input.json", **toy.variables)
    assert finished.code == TASKS_FAILED, finished
    assert f"1 of {N_TASKS} tasks failed for good, and with it 1 by symmetry; all others" in finished.err
    assert "0-1" in toy.tries()
    assert "3-4" not in toy.tries()
    result = program.read("input.result.json")
    assert result["success"] is False
    assert "nocp_corrected_total_energy_through_1_body" in result["complete"]
    assert not any("2_body" in name for name in result["complete"])
    status = program.call("status", "input.checkpoint.h5", "--json").out
    assert f'"done": {N_TASKS - 2}' in status
    assert '"failed_for_good": 1' in status

    toy.goes_wrong({})
    program.succeed("input.json", **toy.variables)
    assert (told(program)["tasks_computed"], told(program)["tasks_by_symmetry"]) == (1, 1)
    assert set(toy.tries()) == {"0-1"}


@pytest.mark.slow
def test_an_energy_follows_also_where_an_engine_gives_a_gradient_unasked(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(max_nbody=2)
    toy.goes_wrong({"0-1": ["unasked"], "3-4": ["input"]})
    assert program.run("input.json", **toy.variables).code == TASKS_FAILED
    program.succeed("input.json", "--symmetry", **toy.variables)
    assert (told(program)["tasks_computed"], told(program)["tasks_by_symmetry"]) == (0, 1)
    toy.goes_wrong({"0-1": ["unasked"]})
    program.succeed("input.json", "--symmetry", "--overwrite", **toy.variables)
    assert "3-4" not in toy.tries()
    assert told(program)["tasks_by_symmetry"] > 1


@pytest.mark.slow
def test_without_it_the_rest_is_computed(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input()
    toy.goes_wrong({"0-1": ["input"]})
    program.run("input.json", "--symmetry", **toy.variables)
    toy.goes_wrong({})
    program.succeed("input.json", **toy.variables)
    assert set(toy.tries()) == {"0-1", "3-4"}
    assert (told(program)["tasks_reused"], told(program)["tasks_by_symmetry"]) == (N_TASKS - 2, 0)


@pytest.mark.slow
def test_derivatives_follow_from_those_in_the_cache_and_the_cache_gets_none_of_them(program: Program) -> None:
    pair = {**MOLECULES, "symbols": ["H"] * 4, "geometry": MOLECULES["geometry"][:12]}
    pair |= {
        name: MOLECULES[name][:2] for name in ("fragments", "fragment_charges", "fragment_multiplicities")
    }
    wanted = {"driver": "hessian", "bsse_type": ["nocp"], "return_total_data": True}
    program.write("pair.json", many_body(pair, **wanted))
    program.write("ring.json", many_body(MOLECULES, max_nbody=2, **wanted))
    program.succeed("pair.json", "--cache-dir", "cache")
    program.succeed("ring.json", "--symmetry", "--cache-dir", "cache")
    run = told(program, "ring.result.json")
    assert (run["tasks_from_cache"], run["tasks_computed"], run["tasks_by_symmetry"]) == (3, 1, 6)
    program.succeed("ring.json", "--no-checkpoint", "--cache-dir", "cache", "-o", "all.json")
    run = told(program, "all.json")
    assert (run["tasks_from_cache"], run["tasks_computed"], run["tasks_by_symmetry"]) == (4, 6, 0)
    assert difference(program.read("ring.result.json"), program.read("all.json")) < 1e-7


@pytest.mark.parametrize("reason", ["point charges", "full record"])
def test_where_answers_cannot_be_moved_all_are_computed(program: Program, reason: str) -> None:
    charges = {"embedding_charges": {1: [0.1, -0.1], 2: [0.1, -0.1]}} if reason == "point charges" else {}
    records = "all" if reason == "full record" else None
    program.write(
        "input.json", many_body(PAIR, bsse_type=["nocp"], return_total_data=True, records=records, **charges)
    )
    finished = program.succeed("input.json", "--symmetry")
    assert finished.err.count("symmetry is not used") == 1
    assert reason in finished.err
    assert (told(program)["tasks_computed"], told(program)["tasks_by_symmetry"]) == (3, 0)


def test_reports_tell_of_computed_tasks_only_where_it_is_about_time(program: Program) -> None:
    toy = Toy(program, N_ATOMS)
    toy.write_input(symmetry=True)
    program.succeed("input.json", **toy.variables)
    status = program.call("status", "input.checkpoint.h5", "--json")
    content = json.loads(status.out)
    assert (content["done"], content["total"], content["finished"]) == (N_TASKS, N_TASKS, True)
    assert sum(rank["tasks"] for rank in content["busy"]["ranks"]) == N_CLASSES
    assert all(task["rank"] >= 0 and task["seconds"] > 0 for task in content["slowest"])
    program.call("report", "input.checkpoint.h5", "--csv", "tables")
    lines = (program.folder / "tables" / "tasks.csv").read_text().splitlines()
    ranks = [line.split(",")[-5] for line in lines[1:]]
    assert ranks.count("-3") == N_TASKS - N_CLASSES
