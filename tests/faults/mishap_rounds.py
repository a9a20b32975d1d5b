"""Jobs in which many tasks have mishaps: each drawn by a seed, run, and looked at afterwards."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from jobs import RESULT, SHAPES, Place, Undisturbed, check_words
from program import bits_of

from qcmb_mpi.store.snapshot import read
from qcmb_mpi.watching import Watch

#: What goes wrong, and the kind of failure that it is.
FAILING = {
    "raise": "crash",
    "exit": "crash",
    "exit with children": "crash",
    "segfault": "crash",
    "nan": "crash",
    "too many values": "crash",
    "killed": "memory",
    "memory": "memory",
    "unconverged": "convergence",
    "hang": "timeout",
    "hang with children": "timeout",
    "input": "input",
}
HANGING = [word for word in FAILING if word.startswith("hang")]
QUICK = [word for word in FAILING if word not in (*HANGING, "input")]
HARMLESS = ("talk", "leave children")
TIMEOUT = 3.0  # seconds for a task where one hangs; machines may be busy


@dataclass(frozen=True)
class Plan:
    """What was drawn.

    Attributes
    ----------
    shape
        Number of the job's shape.
    ranks
        None: without MPI.
    execution
        Settings of the run.
    mishaps
        Of each task that has any, those of its first, second, ... try.
    permanent
        Tasks that never work, and what happens to them.
    """

    shape: int
    ranks: int | None
    execution: dict[str, int | float]
    mishaps: dict[str, list[str]]
    permanent: dict[str, str]


def draw(seed: int, references: list[Undisturbed]) -> Plan:
    """Draw a job."""
    chance = random.Random(f"mishaps {seed}")
    shape = chance.randrange(len(SHAPES))
    names = sorted(references[shape].labels)
    retries = chance.choice([1, 2, 2, 3])
    mishaps: dict[str, list[str]] = {}
    for name in chance.sample(names, chance.randint(1, len(names) // 3)):
        sequence = [chance.choice(QUICK) for _ in range(chance.randint(0, retries))]
        mishaps[name] = [*sequence, *chance.sample(HARMLESS, chance.randint(0 if sequence else 1, 1))]
    permanent = {}
    if chance.random() < 0.3:
        for name in chance.sample(names, chance.randint(1, 2)):
            mishaps.pop(name, None)
            permanent[name] = chance.choice(["input", *QUICK])
    execution: dict[str, int | float] = {
        "max_retries": retries,
        "checkpoint_interval": chance.choice([1, 2, 5, 10, 50]),
        "n_workers": chance.choice([1, 2, 3]),
    }
    if chance.random() < 0.4:  # few, or it would be all waiting
        for name in chance.sample([name for name in names if name not in permanent], chance.randint(1, 2)):
            mishaps[name] = [chance.choice(HANGING)]
        execution["timeout_per_task"] = TIMEOUT
    return Plan(shape, chance.choice([None, None, 2, 2, 2, 3, 3, 4]), execution, mishaps, permanent)


def run(seed: int, folder: Path, references: list[Undisturbed]) -> int:
    """Run the job of a seed and look at it; returns 1 for this one job."""
    plan = draw(seed, references)
    reference = references[plan.shape]
    place = Place(folder, reference.shape)
    place.write_input(**plan.execution)
    place.toy.goes_wrong(plan.mishaps | {name: [word, "always"] for name, word in plan.permanent.items()})
    job = place.start(plan.ranks)
    finished = job.wait()
    check_words(finished)
    assert finished.code == (1 if plan.permanent else 0), finished

    # no try too few or too many, and each that failed has been noted as what it was
    retries = int(plan.execution["max_retries"])
    failed = {name: [word for word in words if word in FAILING] for name, words in plan.mishaps.items()}
    for name, word in plan.permanent.items():
        failed[name] = ["input"] if word == "input" else [word] * (retries + 1)
    expected = {name: [FAILING[word] for word in words] for name, words in failed.items()}
    found: dict[str, list[str]] = {}
    for row in read(place.checkpoint).failures:
        found.setdefault(reference.names[row["key"].tobytes()], []).append(row["kind"].decode())
    assert found == {name: kinds for name, kinds in expected.items() if kinds}
    assert place.toy.tries() == {
        name: len(failed.get(name, [])) + (name not in plan.permanent) for name in reference.labels
    }

    if plan.permanent:
        check_failure(place, plan, reference)
        place.check_nothing_is_left(job, "input.failed", "input.checkpoint.h5.status.json")
        place.toy.goes_wrong({})
        job = place.start(plan.ranks)
        finished = job.wait()
        assert finished.code == 0, finished
        assert place.toy.tries() == dict.fromkeys(plan.permanent, 1), "only what failed is tried again"
    place.check_nothing_is_left(job)
    assert bits_of(place.program.read(RESULT)) == reference.bits
    return 1


def check_failure(place: Place, plan: Plan, reference: Undisturbed) -> None:
    """Result file and status name what failed for good, and nothing else."""
    labels = {reference.labels[name] for name in plan.permanent}
    result = place.program.read(RESULT)
    assert result["success"] is False
    assert "return_result" not in result
    assert {task["label"] for task in result["failed_tasks"]} == labels
    status = Watch(place.checkpoint).look()
    assert status.state == "failed"
    assert status.done == status.total - len(labels)
    assert {task.label for task in status.failing if task.for_good} == labels
