"""The benchmark that prints the guide's table of speed-ups: one command, real runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import Program
from toy import Toy

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "speedup.py"


@pytest.mark.slow
def test_tasks_that_sleep_get_faster_with_workers_and_nothing_is_left_behind(program: Program) -> None:
    toy = Toy(program, n_atoms=6)
    toy.takes(0.5)
    toy.write_input(max_nbody=2)
    before = program.files()
    flags = ("input.json", "--workers", "3", "--no-mpi")
    out = program.succeed(*flags, script=BENCHMARK, **toy.variables).out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "%" in line}
    assert set(rows) == {"sequential", "multiprocessing"}
    _, workers, _, speed_up, efficiency, *computing = rows["multiprocessing"]
    assert int(workers) == 3
    # the start of a program takes what it takes, but tasks that sleep can do so beside each other
    assert 1.5 < float(computing[1].rstrip("x")) <= 3.1
    for times, share in ((speed_up, efficiency), (computing[1], computing[2])):
        assert float(times.rstrip("x")) / 3 == pytest.approx(float(share.rstrip("%")) / 100, abs=0.01)
    assert computing[3:] == ["60-80", "%"]
    assert "21 tasks, mean 5" in out  # 500 ms and a little
    assert [name for name in program.files() if not name.startswith("toy")] == [
        name for name in before if not name.startswith("toy")
    ]


def test_a_mistake_is_told_before_anything_is_run(program: Program) -> None:
    wrong = program.run("no.json", script=BENCHMARK)
    assert wrong.code == 1
    assert "no.json" in wrong.err
    assert "Traceback" not in wrong.err
    wrong = program.run("no.json", "--workers", "0", script=BENCHMARK)
    assert wrong.code == 2
    assert "expected numbers of workers such as 1,2,4" in wrong.err
