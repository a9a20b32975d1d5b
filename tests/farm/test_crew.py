"""Runners: whatever one of them does costs the task that it was computing, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.errors import InputError, QcmbError
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.local import Crew
from qcmb_mpi.farm.messages import make_work
from qcmb_mpi.farm.runner import Setup
from qcmb_mpi.problem import Cluster, Level

PLUGIN = '''
"""Computes minus the sum of the first coordinates, unless told to misbehave there."""
import os, signal, subprocess, sys, time
import numpy as np
from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.registry import register_engine

class Toy:
    name = "toy"
    ghosts = True
    point_charges = False
    def version(self): return "1"
    def check(self, level, driver, cluster):
        if level.method == "leaves when asked": os._exit(3)
    def sizes(self, level, cluster): return np.ones(cluster.n_fragments)
    def energy_error(self, level): return 0.0
    def compute(self, level, driver, molecule, resources, **_):
        place = int(molecule.geometry[0, 0])
        if place == level.keywords.get("at"):
            getattr(self, level.method)()
        return Answer(energy=-float(molecule.geometry[:, 0].sum()))
    def fine(self): pass
    def raises(self): print("a last word"); raise RuntimeError("no idea")
    def leaves(self): os._exit(3)
    def segfaults(self): os.kill(os.getpid(), signal.SIGSEGV)
    def is_killed(self): os.kill(os.getpid(), signal.SIGKILL)
    def hangs(self):
        subprocess.Popen(["sleep", "1234"], start_new_session=True)
        time.sleep(1000)
    def talks(self):
        for _ in range(64): os.write(1, b"x" * 65536)

register_engine(Toy())
'''

TABLE = plan(Expansion(6, ("nocp",), ((1,),), return_total_data=True))


def cluster() -> Cluster:
    geometry = np.zeros((6, 3))
    geometry[:, 0] = np.arange(6)
    return Cluster(
        symbols=("He",) * 6,
        numbers=np.full(6, 2),
        geometry=geometry,
        offsets=np.arange(7),
        charges=np.zeros(6),
        multiplicities=np.ones(6, dtype=np.int64),
        order=np.arange(6),
    )


def setup(folder: Path, behaviour: str, at: int = 2) -> Setup:
    plugin = folder / "toy_engine.py"
    plugin.write_text(PLUGIN)
    return Setup(cluster(), (Level("(auto)", "toy", behaviour, None, {"at": at}),), "energy", (str(plugin),))


@pytest.fixture
def crew(tmp_path):
    environ = {**os.environ, "QCMB_MPI_TEST_MARK": str(tmp_path)}
    crew = Crew(environ)
    yield crew
    crew.close()
    assert marked(tmp_path) == []


def marked(folder: Path) -> list[int]:
    """Processes that were started with this test's mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if f"QCMB_MPI_TEST_MARK={folder}".encode() in environ.split(b"\0") and state != "Z":
                found.append(int(entry.name))
    return found


def collect(crew: Crew, n: int, seconds: float = 20.0) -> dict[int, tuple[int, float, str]]:
    """Kind, energy and text of the next ``n`` answers, by task."""
    found: dict[int, tuple[int, float, str]] = {}
    end = time.monotonic() + seconds
    while len(found) < n and time.monotonic() < end:
        crew.wait(0.05)
        for _, answers in crew.poll():
            for position, head in enumerate(answers.heads):
                task = int(head["task"])
                assert task not in found
                found[task] = int(head["kind"]), float(head["energy"]), answers.text(position)
    return found


def all_tasks(limit: float = np.inf):
    return make_work(TABLE, np.arange(6), limits=limit)


def begin(crew: Crew, chosen: Setup, seats=(0,)) -> None:
    crew.prepare(chosen)
    crew.start(seats)


def test_tasks_are_computed_in_the_order_in_which_they_were_sent(crew, tmp_path):
    begin(crew, setup(tmp_path, "fine"))
    crew.send(0, all_tasks())
    found = collect(crew, 6)
    assert list(found) == [0, 1, 2, 3, 4, 5]
    assert {task: energy for task, (_, energy, _) in found.items()} == {task: -task for task in range(6)}


@pytest.mark.parametrize(
    ("behaviour", "kind", "word"),
    [
        ("raises", Kind.CRASH, "a last word"),
        ("leaves", Kind.CRASH, "status 3"),
        ("segfaults", Kind.CRASH, "SIGSEGV"),
        ("is_killed", Kind.MEMORY, "out of memory"),
    ],
)
def test_a_mishap_costs_one_task_and_the_others_are_computed(crew, tmp_path, behaviour, kind, word):
    begin(crew, setup(tmp_path, behaviour))
    crew.send(0, all_tasks())
    found = collect(crew, 6)
    assert found[2][0] == kind
    assert word in found[2][2]
    assert sorted(task for task, (kind, _, _) in found.items() if kind == 0) == [0, 1, 3, 4, 5]


def test_a_hung_task_is_killed_with_all_it_has_started_and_the_others_go_on(crew, tmp_path):
    begin(crew, setup(tmp_path, "hangs"))
    start = time.monotonic()
    crew.send(0, all_tasks(limit=1.0))
    found = collect(crew, 6)
    assert found[2][0] == Kind.TIMEOUT
    assert len(found) == 6
    assert time.monotonic() - start < 5
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in marked(tmp_path)]
    assert not any(b"sleep" in command for command in commands)


def test_megabytes_of_output_do_no_harm(crew, tmp_path):
    begin(crew, setup(tmp_path, "talks"))
    crew.send(0, all_tasks())
    assert [kind for kind, _, _ in collect(crew, 6).values()] == [0] * 6


def test_several_seats_compute_at_once(crew, tmp_path):
    begin(crew, setup(tmp_path, "fine"), seats=(0, 1, 2))
    for seat in (0, 1, 2):
        crew.send(seat, make_work(TABLE, np.array([2 * seat, 2 * seat + 1])))
    assert len(collect(crew, 6)) == 6


def test_runners_may_die_at_the_same_moment(crew, tmp_path):
    begin(crew, setup(tmp_path, "fine"), seats=(0, 1, 2))
    for _ in range(5):
        for runner in list(crew._runners.values()):
            os.kill(runner.pid, signal.SIGKILL)
        time.sleep(0.05)  # all are dead before the first is replaced
        crew.poll()
        for seat in crew.seats:
            crew.send(seat, make_work(TABLE, np.array([seat])))
        assert {task: kind for task, (kind, _, _) in collect(crew, 3).items()} == {0: 0, 1: 0, 2: 0}


def nursery_of(crew: Crew) -> int:
    return crew._nursery.pid


def test_when_the_nursery_is_killed_another_takes_its_place(crew, tmp_path):
    begin(crew, setup(tmp_path, "hangs"), seats=(0, 1))
    for seat, tasks in ((0, [0, 1, 2]), (1, [3, 4, 5])):
        crew.send(seat, make_work(TABLE, np.array(tasks), np.zeros(3, dtype=np.int64)))
    assert sorted(collect(crew, 5)) == [0, 1, 3, 4, 5]  # the other one hangs
    os.kill(nursery_of(crew), signal.SIGKILL)
    ((task, (kind, _, words)),) = collect(crew, 1).items()
    assert (task, kind) == (2, Kind.MEMORY)
    assert "out of memory" in words
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in marked(tmp_path)]
    assert not any(b"sleep" in command for command in commands), "what the engine had started is gone too"
    crew.send(0, make_work(TABLE, np.array([0]), np.zeros(1, dtype=np.int64)))
    crew.send(1, make_work(TABLE, np.array([1]), np.zeros(1, dtype=np.int64)))
    assert {task: kind for task, (kind, _, _) in collect(crew, 2).items()} == {0: 0, 1: 0}


def test_a_nursery_that_is_killed_while_it_comes_up_costs_nothing(crew, tmp_path):
    os.kill(nursery_of(crew), signal.SIGKILL)
    begin(crew, setup(tmp_path, "fine"))
    assert crew.describe().error is None
    crew.send(0, all_tasks())
    assert [kind for kind, _, _ in collect(crew, 6).values()] == [0] * 6


@pytest.mark.parametrize("which", ["nursery", "runner"])
def test_what_is_killed_before_the_question_is_replaced_and_asked(crew, tmp_path, which):
    begin(crew, setup(tmp_path, "fine"))
    os.kill(nursery_of(crew) if which == "nursery" else crew._runners[0].pid, signal.SIGKILL)
    time.sleep(0.2)  # it is dead
    assert crew.describe().error is None


def test_an_engine_that_ends_its_process_when_asked_is_told_in_words(crew, tmp_path):
    begin(crew, setup(tmp_path, "leaves when asked"))
    with pytest.raises(QcmbError, match="ended its process when it was asked"):
        crew.describe()


def test_an_engine_that_is_missing_is_named(crew, tmp_path):
    wrong = Setup(cluster(), (Level("(auto)", "no_such_program", "hf"),), "energy")
    crew.prepare(wrong)
    with pytest.raises(InputError, match="no_such_program"):
        crew.start([0])


def test_a_plugin_that_cannot_be_imported_is_named(crew, tmp_path):
    (tmp_path / "broken.py").write_text("raise ValueError('oh')")
    wrong = Setup(cluster(), (Level("(auto)", "toy", "fine"),), "energy", (str(tmp_path / "broken.py"),))
    crew.prepare(wrong)
    with pytest.raises(InputError, match=r"broken\.py.*oh"):
        crew.start([0])


ORPHAN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import test_crew
from pathlib import Path
crew = test_crew.Crew(os.environ)
test_crew.begin(crew, test_crew.setup(Path(sys.argv[2]), "hangs", at=0))
crew.send(0, test_crew.all_tasks())
time.sleep(0.5)
print("ready", flush=True)
time.sleep(1000)
"""


def test_when_a_rank_is_killed_its_runners_and_their_children_end_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(Path(__file__).parent), str(tmp_path)],
        env={**os.environ, "QCMB_MPI_TEST_MARK": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert len(marked(tmp_path)) >= 4  # rank, nursery, runner, what the engine started
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 5
    while marked(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert marked(tmp_path) == []
