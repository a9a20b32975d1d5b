"""Jobs that are killed by SIGKILL, in part or altogether, at instants drawn by a seed, until they finish."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from jobs import RESULT, Place, Undisturbed, check_words
from program import Finished, Job, bits_of

from qcmb_mpi.store.format import ROW
from qcmb_mpi.store.hdf5 import open_for_reading
from qcmb_mpi.store.reader import Reader
from qcmb_mpi.store.snapshot import read

#: Who is killed.  A job outlives the last three, the others end it.
ENDS = ("all", "launcher's group", "launcher", "rank 0", "worker")
SURVIVES = ("nursery", "runner", "runner")
SETTLED = 10.0  # seconds in which everything is over after a kill that ends the job
RETRIES = 9  # more than a chain kills runners
LOOK = 0.004  # seconds between two looks for the instant


@dataclass(frozen=True)
class Strike:
    """A SIGKILL: of whom, and when.

    Attributes
    ----------
    target
        Of ``ENDS`` and ``SURVIVES``.
    which
        Chooses among several of them, in [0, 1).
    after
        Tries of tasks in this run after which the clock starts; -1 waits for all of them.
    delay
        Seconds from then on.
    """

    target: str
    which: float
    after: int
    delay: float


@dataclass(frozen=True)
class Plan:
    """What was drawn: who is killed when, and in which ways the job is started again and again."""

    shape: int
    ranks: list[int | None]
    execution: dict[str, int | float]
    seconds: float
    strikes: list[Strike]


def draw(seed: int, references: list[Undisturbed]) -> Plan:
    """Draw a chain of kills."""
    chance = random.Random(f"kills {seed}")
    shape = chance.choice([0, 0, 1, 2])
    n_tasks = len(references[shape].labels)
    strikes = []
    for _ in range(chance.randint(2, 5)):
        kind = chance.random()
        if kind < 0.15:  # while it starts
            after, delay = 0, chance.uniform(0.0, 2.0)
        elif kind < 0.9:  # while it computes
            after, delay = chance.randint(1, n_tasks // 2), chance.uniform(0.0, 0.6)
        else:  # while it ends
            after, delay = -1, chance.uniform(0.0, 0.8)
        target = chance.choice(ENDS if chance.random() < 0.6 else SURVIVES)
        strikes.append(Strike(target, chance.random(), after, delay))
    return Plan(
        shape=shape,
        ranks=[chance.choice([None, 2, 2, 3, 3, 4]) for _ in range(len(strikes) + 1)],
        execution={
            "checkpoint_interval": chance.choice([1, 3, 10]),
            "max_retries": RETRIES,
            "n_workers": chance.choice([1, 2]),
        },
        seconds=chance.uniform(0.02, 0.15),
        strikes=strikes,
    )


def run(seed: int, folder: Path, references: list[Undisturbed]) -> int:
    """Run the chain of a seed; returns how many kills hit, raises AssertionError."""
    plan = draw(seed, references)
    reference = references[plan.shape]
    place = Place(folder, reference.shape)
    place.write_input(**plan.execution)
    place.toy.takes(plan.seconds)
    saved: set[str] = set()  # names of tasks that must not be computed again
    strikes = list(plan.strikes)
    hits = 0
    for ranks in plan.ranks:
        before = place.toy.tries()
        job = place.start(ranks)
        fatal = False
        while strikes and not fatal:
            strike = strikes.pop(0)
            if not wait_for(strike, job, place, len(reference.labels) - len(saved), sum(before.values())):
                break
            reported = saved_rows(place, reference)
            hit = kill(strike, job)
            hits += bool(hit)
            fatal = hit in ENDS
        finished = job.wait(SETTLED if fatal else 120.0)
        left = job.left_behind()
        assert not left, f"processes left behind: {left}"
        check_words(finished)
        again = {name for name, n in place.toy.tries().items() if n > before.get(name, 0)}
        assert not again & saved, f"saved and computed again: {again & saved}"
        if not fatal:
            assert finished.code == 0, finished
            break
        now = (
            {reference.names[row["key"].tobytes()] for row in read(place.checkpoint).rows}
            if (place.checkpoint.exists())
            else set()
        )
        assert saved <= now, f"lost: {saved - now}"
        assert reported <= now, f"reported as saved and lost: {reported - now}"
        saved = now
    check_end(place, reference, finished, saved)
    place.check_nothing_is_left(job)
    return hits


def wait_for(strike: Strike, job: Job, place: Place, n_left: int, before: int) -> bool:
    """Wait for the instant of a kill; False if the job ends before."""
    wanted = before + (strike.after if strike.after >= 0 else n_left)
    while sum(place.toy.tries().values()) < wanted:
        if job.over():
            return False
        time.sleep(LOOK)
    end = time.monotonic() + strike.delay
    while (left := end - time.monotonic()) > 0:
        if job.over():
            return False
        time.sleep(min(left, LOOK))
    return True


def saved_rows(place: Place, reference: Undisturbed) -> set[str]:
    """Tasks that a look into the living file finds saved; a look at a bad moment finds none."""
    try:
        with open_for_reading(str(place.checkpoint)) as file:
            reader = Reader(file)
            rows = reader.table("results", ROW)[0]
            return {reference.names[row["key"].tobytes()] for row in rows[reader.has_payload(rows)]}
    except (OSError, RuntimeError, KeyError, ValueError):
        return set()


def kill(strike: Strike, job: Job) -> str:
    """Kill; returns who it was, empty if there was nobody."""
    tree = Tree(job)
    group: list[int] = []
    if strike.target == "nursery":
        group = tree.nurseries
    elif strike.target == "runner":
        group = tree.runners
    elif strike.target == "worker":
        group = [pid for pid, rank in tree.ranks.items() if rank > 0]
    elif strike.target == "rank 0":
        group = [pid for pid, rank in tree.ranks.items() if rank == 0]
    if strike.target == "launcher's group":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
            return strike.target
        return ""
    if strike.target == "launcher":
        job.signal(signal.SIGKILL)
        return strike.target
    if group:
        chosen = [sorted(group)[int(strike.which * len(group))]]
    elif strike.target in SURVIVES:
        return ""  # there is none yet, or not any more
    else:
        chosen = tree.everybody
    for pid in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return strike.target if group else "all"


class Tree:
    """The processes of a job, by what they are."""

    def __init__(self, job: Job):
        self.everybody = job.processes()
        self.ranks: dict[int, int] = {}
        words, parents = {}, {}
        for pid in self.everybody:
            with contextlib.suppress(OSError):
                words[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                if words[pid][1:3] == [b"-m", b"qcmb_mpi"]:
                    self.ranks[pid] = rank_of(pid)
        farm = [pid for pid in parents if words[pid][1:3] == [b"-m", b"qcmb_mpi.farm.nursery"]]
        self.nurseries = [pid for pid in farm if parents[pid] in self.ranks]
        self.runners = [pid for pid in farm if parents[pid] in self.nurseries]


def rank_of(pid: int) -> int:
    """The rank that a process was started as; 0 without MPI."""
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in (b"PMI_RANK", b"OMPI_COMM_WORLD_RANK"):
            return int(value)
    return 0


def check_end(place: Place, reference: Undisturbed, finished: Finished, saved: set[str]) -> None:
    """The job that was not killed any more has finished with the right bits, and each task once."""
    result = place.program.read(RESULT)
    assert bits_of(result) == reference.bits
    told = result["provenance"]
    assert told["tasks_reused"] == len(saved), finished
    assert told["tasks_computed"] == len(reference.labels) - len(saved), finished
    keys = [row["key"].tobytes() for row in read(place.checkpoint).rows]
    assert sorted(reference.names[key] for key in keys) == sorted(reference.labels)
