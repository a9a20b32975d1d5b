"""`plan --probe`: what it says a job will cost is what the job then costs."""

from __future__ import annotations

import json
from typing import Any

import h5py
import pytest
from clusters import GFN2, HF, many_body, waters
from program import Finished, Mpi, Program

from qcmb_mpi.engine.pyscf import PySCFEngine
from qcmb_mpi.engine.tblite import TbliteEngine
from qcmb_mpi.errors import InputError

#: Of a real program, against the processor time of the job: what the README and docs promise.
FACTOR = 2.0

#: An engine whose tasks take a known time: by the numbers of real and of ghost atoms, in milliseconds.
SLEEPER = """
import json, os, time
from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.registry import register_engine
import numpy as np

class Sleeper:
    name = "sleeper"
    ghosts = True
    point_charges = False
    def version(self): return "1"
    def check(self, level, driver, cluster): pass
    def sizes(self, level, cluster): return np.full(cluster.n_fragments, 10.0)
    def energy_error(self, level): return 0.0
    def compute(self, level, driver, molecule, resources, **_):
        real = int(molecule.real.sum())
        ghosts = len(molecule.real) - real
        with open("tried", "a") as file:
            file.write(f"{real} {ghosts}\\n")
        if real == level.keywords.get("fails"):
            raise EngineFailure(Kind.CRASH, "the sleeper fell out of bed\\nhard")
        time.sleep((level.keywords["real"][real - 1] + ghosts * level.keywords["ghost"]) / 1000)
        if real == level.keywords.get("large"):
            bytearray(300 << 20)[::4096]
        return Answer(energy=-float(real))

register_engine(Sleeper())
"""


def sleeper(program: Program, real: list[float], ghost: float = 1.0, n: int = 6, **options: Any) -> None:
    """Input ``job.json`` for atoms far from each other in pairs."""
    program.write("sleeper.py", SLEEPER)
    places = [(100.0 * (i // 2) + 5.0 * (i % 2), 0.0, 0.0) for i in range(n)]
    molecule = {
        "symbols": ["He"] * n,
        "geometry": [x for place in places for x in place],
        "fragments": [[i] for i in range(n)],
    }
    keywords = {"real": real, "ghost": ghost, **options.pop("toy", {})}
    level = {"program": "sleeper", "method": "sleep", "keywords": keywords}
    content = {"max_nbody": len(real), "bsse_type": ["nocp"], "return_total_data": True, **options}
    program.write("job.json", many_body(molecule, level=level, execution={"plugins": ["sleeper"]}, **content))


def probe(program: Program, *flags: str) -> dict[str, Any]:
    plan = json.loads(program.succeed("plan", "job.json", "--probe", "--json", *flags).out)
    found: dict[str, Any] = plan["probe"]
    assert found["n_tasks"] == plan["n_tasks"]
    return found


@pytest.mark.slow
def test_tasks_of_known_times_are_predicted_exactly(program: Program) -> None:
    sleeper(program, [20.0, 50.0, 90.0], ghost=10.0)
    found = probe(program, "--ranks", "1,4,100")
    total = (6 * 20 + 15 * 50 + 20 * 90) / 1000
    assert found["task_seconds"] == pytest.approx(total, rel=0.05)
    assert found["core_hours"] == pytest.approx(total / 3600, rel=0.05)
    assert found["longest_task"] == pytest.approx(0.09, rel=0.05)
    assert found["extrapolated_share"] == 0
    one, four, hundred = found["ranks"]
    assert one["ranks"], one["wall_seconds"] == (1, pytest.approx(total, rel=0.1))
    # five rounds of trimers, then dimers: 4 4 4 3, then 1 monomer in the gap and the others
    assert four["wall_seconds"] == pytest.approx((5 * 90 + 4 * 50 + 20) / 1000, rel=0.1)
    assert hundred["wall_seconds"] == pytest.approx(0.09, rel=0.1)
    treatments = {one["bsse_type"]: one for one in found["treatments"]}
    nocp, cp, vmfc = (treatments[name]["core_hours"] * 3600 for name in ("nocp", "cp", "vmfc"))
    assert nocp == pytest.approx(total, rel=0.05)
    in_all = 6 * (20 + 50) + 15 * (50 + 40) + 20 * (90 + 30)
    assert cp == pytest.approx((6 * 20 + in_all) / 1000, rel=0.05)
    in_dimers, in_trimers = 30 * (20 + 10), 60 * (20 + 20) + 60 * (50 + 10)
    assert vmfc == pytest.approx(total + (in_dimers + in_trimers) / 1000, rel=0.05)
    assert treatments["nocp"]["chosen"]
    assert not treatments["cp"]["chosen"]
    none, *others = found["screenings"]
    assert none["n_tasks"] == 41
    assert {one["n_tasks"] for one in others} == {6 + 3}  # only the pairs are left
    assert others[0]["core_hours"] * 3600 == pytest.approx((6 * 20 + 3 * 50) / 1000, rel=0.05)


@pytest.mark.slow
def test_kinds_for_which_there_is_no_time_are_extrapolated_and_named(program: Program) -> None:
    sleeper(program, [10.0, 80.0, 60_000.0])
    finished = program.succeed("plan", "job.json", "--probe", "--probe-seconds", "2")
    assert finished.seconds < 30
    assert "2 of 3 kinds of tasks" in finished.out
    measured, extrapolated = [line for line in finished.out.splitlines() if " own " in line][-2:]
    assert "extrapolated" not in measured
    assert extrapolated.endswith("extrapolated")
    assert "(--probe-seconds measures longer)" in finished.out
    found = probe(program, "--probe-seconds", "2")
    third = found["blocks"][2]
    # (3/2)^3 times 80 ms were expected, so they were tried for as long as there was time
    assert third["seconds_per_task"] > 1.0
    assert not third["measured"]
    assert found["extrapolated_share"] > 0.5


def test_when_not_even_one_task_ends_there_is_no_prediction(program: Program) -> None:
    sleeper(program, [60_000.0, 60_000.0])
    finished = program.run("plan", "job.json", "--probe-seconds", "1")
    assert finished.code == 2
    assert "--probe-seconds: not even one task was finished in 1 s; give it more time" in finished.err


@pytest.mark.slow
def test_what_fails_is_named_and_the_rest_is_predicted(program: Program) -> None:
    sleeper(program, [1.0, 2.0], toy={"fails": 2})
    finished = program.succeed("plan", "job.json", "--probe")
    assert "could not be computed" in finished.out
    assert "crash: the sleeper fell out of bed\n" in finished.out
    sleeper(program, [1.0], toy={"fails": 1})
    finished = program.run("plan", "job.json", "--probe")
    assert finished.code == 2
    assert "the sleeper fell out of bed" in finished.err
    assert "Traceback" not in finished.err


@pytest.mark.slow
def test_the_memory_of_the_largest_task_is_measured(program: Program) -> None:
    sleeper(program, [1.0, 1.0])
    small = probe(program)["memory_of_task"]
    sleeper(program, [1.0, 1.0], toy={"large": 2})
    large = probe(program)["memory_of_task"]
    assert small < 150 << 20
    assert 300 << 20 < large < 300 << 20 | 150 << 20
    assert probe(program)["memory_per_rank"] > large


def test_a_program_without_ghost_atoms_has_no_price_for_cp(program: Program) -> None:
    program.write("job.json", many_body(waters(3), level=GFN2, bsse_type=["nocp"], max_nbody=2))
    finished = program.succeed("plan", "job.json", "--probe")
    assert "cp                     not possible: program 'tblite' does not honour ghost atoms" in finished.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "level", "n", "cp"), [(TbliteEngine, GFN2, 20, "nocp"), (PySCFEngine, HF, 6, "cp")]
)
def test_a_job_costs_what_was_predicted(program: Program, engine, level, n: int, cp: str) -> None:
    try:
        engine().version()
    except InputError as error:
        pytest.skip(str(error))
    driver = "gradient" if engine is TbliteEngine else "energy"
    content = many_body(waters(n), level=level, driver=driver, bsse_type=[cp], max_nbody=2)
    program.write("job.json", content)
    found = probe(program)
    program.succeed("job.json", "--quiet")
    with h5py.File(program.folder / "job.checkpoint.h5") as file:
        rows = file["results"][:]
    assert len(rows) == found["n_tasks"]
    assert rows["cpu"].sum() / FACTOR < found["task_seconds"] < rows["cpu"].sum() * FACTOR
    size = (program.folder / "job.checkpoint.h5").stat().st_size
    assert size / 1.5 < found["checkpoint_bytes"] < size * 1.5


@pytest.mark.mpi
def test_under_mpi_rank_0_speaks_alone(program: Program, mpi: Mpi) -> None:
    sleeper(program, [1.0, 2.0])
    finished: Finished = program.succeed("plan", "job.json", "--ranks", "4", ranks=2, mpi=mpi)
    assert finished.out.count("Together") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--ranks", "0"), "expected numbers of ranks such as 64 or 16,64,256, not '0'"),
        (("--ranks", "4,x"), "expected numbers of ranks"),
        (("--probe-seconds", "-1"), "expected seconds above 0"),
        (("--probe-seconds", "soon"), "expected seconds above 0"),
    ],
)
def test_a_wrong_flag_is_told(program: Program, flags, words) -> None:
    sleeper(program, [1.0])
    finished = program.run("plan", "job.json", *flags)
    assert finished.code == 2
    assert words in finished.err


def test_a_wrong_input_is_told_before_anything_is_computed(program: Program) -> None:
    content = many_body(waters(2), level={**HF, "method": "hg"}, bsse_type=["nocp"], max_nbody=2)
    program.write("job.json", content)
    finished = program.run("plan", "job.json", "--probe")
    assert finished.code == 2
    assert "hg" in finished.err
    assert "Traceback" not in finished.err


def test_without_the_flag_nothing_is_computed(program: Program) -> None:
    sleeper(program, [1.0, 2.0])
    program.succeed("plan", "job.json")
    assert "tried" not in program.files()
    program.succeed("plan", "job.json", "--probe")
    tried = (program.folder / "tried").read_text().splitlines()
    assert tried[:2] == ["1 0", "1 0"]  # the first one twice: a runner is slow to begin
    assert program.files() == ["job.json", "sleeper.py", "tried"]
