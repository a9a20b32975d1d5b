"""Computes a few tasks of each kind, one after the other, within a time limit.

The tasks go through the farm's own runners, so that threads, memory and the time limit of a task
are those of a run.  What follows from the times is worked out elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.kinds import Kinds
from qcmb_mpi.farm.local import Crew
from qcmb_mpi.farm.messages import Answers, alike_work
from qcmb_mpi.farm.prediction import Model, Point
from qcmb_mpi.farm.runner import Usage

__all__ = ["Draw", "Failure", "Members", "Probed", "probe"]

SPELL = 0.3  # s for which tasks of one kind are computed, if they are short
MOST = 16  # tasks of one kind
AGAIN = 2.0  # s: the first task of a level is computed twice, unless it takes longer
LOOK = 0.2  # s between two looks at the clock

Members = tuple[NDArray[np.int64], NDArray[np.int64]]  #: real and basis fragments of a task
Draw = Callable[[int, int], Sequence[Members]]  #: gives some tasks of a kind


@dataclass(frozen=True)
class Failure:
    """A task that could not be computed.

    Attributes
    ----------
    level, members
        What it was: level, real and basis fragments.
    why
        Kind of failure.
    message
        The engine's last words.
    """

    level: int
    members: Members
    why: Kind
    message: str


@dataclass
class Probed:
    """What came out, by position among the kinds.

    Attributes
    ----------
    points
        How long tasks of a kind take.
    floats, records
        Numbers, and bytes of record, that come with one answer.
    failures
        Tasks that could not be computed.
    warm_up
        Seconds by which the first task of a level takes longer than others, all levels together.
    peak
        The most memory that a runner has used [bytes].
    waited
        Share of the tasks' time in which other programs had their core; the points are without it.
    seconds
        How long it took.
    """

    points: dict[int, Point] = field(default_factory=dict)
    floats: dict[int, float] = field(default_factory=dict)
    records: dict[int, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    warm_up: float = 0.0
    peak: int = 0
    waited: float = 0.0
    seconds: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether any task was finished."""
        return any(not point.at_least for point in self.points.values())


def probe(crew: Crew, kinds: Kinds, order: Sequence[int], draw: Draw, limit: float, timeout: float) -> Probed:
    """Compute some tasks of each kind.

    Parameters
    ----------
    crew
        With one idle runner.
    kinds
        What there is.
    order
        The kinds to compute, in this order; those that are not expected to end in time are left out.
    draw
        Gives as many tasks of a kind as it is asked for.
    limit
        Seconds after which everything ends; a task that is still being computed is killed.
    timeout
        Seconds that a task may take.
    """
    begin = time.monotonic()
    found = Probed()
    bench = _Bench(crew, begin + limit, timeout)
    for kind in order:
        if bench.over:
            break
        if found.measured:
            expected, _ = Model(list(found.points.values())).seconds(kinds)
            if expected[kind] > bench.left * (1 - bench.waited):
                continue
        _measure(bench, found, kinds, kind, draw)
    found.seconds = time.monotonic() - begin
    return found


def _measure(bench: _Bench, found: Probed, kinds: Kinds, kind: int, draw: Draw) -> None:
    """One kind."""
    level, n_real, n_basis = kinds.block(kind)
    functions = float(kinds.functions[kind])
    tasks = list(draw(kind, 1))
    begin = time.monotonic()
    answers, seconds = bench.compute(level, tasks)
    if bench.over or _failed(found, level, tasks, answers):
        if bench.over or found.failures[-1].why is Kind.TIMEOUT:
            lasted = time.monotonic() - begin
            found.points[kind] = Point(level, n_real, n_basis, functions, lasted, at_least=True)
        return
    if seconds[0] < AGAIN and all(point.level != level for point in found.points.values()):
        again, later = bench.compute(level, tasks)
        if len(again) and not _failed(found, level, tasks, again):
            found.warm_up += max(0.0, float(seconds[0] - later[0]))
            answers, seconds = again, later
    more = min(MOST, int(SPELL / max(float(seconds[0]), 1e-9))) - 1
    if more > 0 and not bench.over:
        tasks = list(draw(kind, more))
        others, later = bench.compute(level, tasks)
        _failed(found, level, tasks, others)
        good = others.heads["kind"] == 0
        answers, seconds = Answers.join([answers, others.only(good)]), np.concatenate([seconds, later[good]])
    heads = answers.heads
    found.points[kind] = Point(level, n_real, n_basis, functions, float(seconds.mean()))
    found.floats[kind] = float((heads["gradient"] + heads["hessian"]).mean())
    found.records[kind] = float(heads["record"].mean())
    found.peak, found.waited = bench.peak, bench.waited


def _failed(found: Probed, level: int, tasks: Sequence[Members], answers: Answers) -> bool:
    """Note the first failure among the answers; returns whether there is one."""
    for position in np.flatnonzero(answers.heads["kind"])[:1].tolist():
        head = answers.heads[position]
        why, text = Kind(int(head["kind"])), answers.text(position)
        found.failures.append(Failure(level, tasks[int(head["task"])], why, text))
        return True
    return False


class _Bench:
    """One runner and a deadline.

    Attributes
    ----------
    over
        Whether the time is, and the runner killed.
    peak
        The most memory that it has used [bytes].
    waited
        Share of the time of all tasks in which there was no core for them.
    """

    def __init__(self, crew: Crew, until: float, timeout: float):
        self.over = False
        self.peak = 0
        self._crew = crew
        self._until = until
        self._timeout = timeout
        self._before = Usage()
        self._waited = 0.0
        self._walls = 0.0

    @property
    def left(self) -> float:
        return self._until - time.monotonic()

    @property
    def waited(self) -> float:
        return self._waited / self._walls if self._walls else 0.0

    def compute(self, level: int, tasks: Sequence[Members]) -> tuple[Answers, NDArray[np.float64]]:
        """Answers of some tasks of equal shape, and how long each took without waiting for a core.

        There are fewer if the time is over.
        """
        seat = self._crew.seats[0]
        parts = [Answers.decode_all([])]
        self._crew.send(seat, alike_work(level, tasks, self._timeout))
        with contextlib.suppress(KeyboardInterrupt):  # the user has seen enough
            while self._crew.waiting(seat) and self.left > 0:
                self._crew.wait(min(self.left, LOOK))
                parts += [answers for _, answers in self._crew.poll()]
        if self._crew.waiting(seat):
            self._crew.cancel()
            self.over = True
        answers = Answers.join(parts)
        walls = answers.heads["wall"].astype(np.float64)
        if self.over:
            return answers, walls
        usage = self._crew.usage(seat)
        total = float(walls.sum())
        idle = max(0.0, total - float(answers.heads["cpu"].sum()))
        waited = min(max(0.0, usage.waited - self._before.waited), idle)
        self._before = usage
        self.peak = max(self.peak, usage.peak)
        self._waited += waited
        self._walls += total
        return answers, walls * (1 - waited / total if total else 1)
