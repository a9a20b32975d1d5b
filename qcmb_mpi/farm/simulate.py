"""Drives the real schedule with virtual seats and a virtual clock.

A million tasks on ten thousand ranks run in minutes on one core, and faults come from a seeded
random generator, so that every run can be repeated.  Knows the schedule and nothing else of the farm.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.events import Answered, Event, Failed, Finish, Joined, Keep, Lost, Send, StopAsked, Tick
from qcmb_mpi.farm.schedule import Schedule

__all__ = ["Faults", "Simulation"]


@dataclass(frozen=True)
class Faults:
    """What goes wrong, as probabilities per task.

    Attributes
    ----------
    crash, convergence, memory, timeout
        A try fails with that kind.
    poison
        Tasks that fail wherever they run.
    lost
        The seat dies while it computes the task; it does not come back.
    silent
        The seat says nothing for a long time, then sends its answers after all.
    late
        An answer arrives a second time.
    """

    crash: float = 0.0
    convergence: float = 0.0
    memory: float = 0.0
    timeout: float = 0.0
    poison: frozenset[int] = frozenset()
    lost: float = 0.0
    silent: float = 0.0
    late: float = 0.0


@dataclass
class _VirtualSeat:
    free_at: float = 0.0
    alive: bool = True
    busy: float = 0.0
    told: set[int] = field(default_factory=set)


class Simulation:
    """A virtual machine around a schedule.

    Parameters
    ----------
    schedule
        The real one.
    n_seats
        Virtual seats.
    seconds : (n_tasks,) float64
        How long each task takes.
    faults
        What goes wrong.
    seed
        Of the random generator.
    latency
        Seconds a message travels.
    report
        Seconds of answers that a seat collects into one message.
    watch
        Called after every event with the simulation, for checking invariants.
    """

    def __init__(
        self,
        schedule: Schedule,
        n_seats: int,
        seconds: NDArray[np.float64],
        *,
        faults: Faults | None = None,
        seed: int = 0,
        latency: float = 1e-3,
        report: float = 0.05,
        tick: float = 1.0,
        stop_at: float | None = None,
        watch: Callable[[Simulation], None] | None = None,
    ):
        self.schedule = schedule
        self.kept = np.zeros(schedule.n_tasks, dtype=np.int64)  # how often each answer was kept
        self.seats = [_VirtualSeat() for _ in range(n_seats)]
        self.now = 0.0
        self.events = 0
        self.finish: Finish | None = None
        self._seconds = seconds
        self._faults = faults or Faults()
        self._random = np.random.default_rng(seed)
        self._latency = latency
        self._report = report
        self._tick = tick
        self._watch = watch
        self._serial = itertools.count()
        self._queue: list[tuple[float, int, Event]] = []
        for seat in range(n_seats):
            self._post(self._latency, Joined(seat))
        self._post(tick, Tick())
        if stop_at is not None:
            self._post(stop_at, StopAsked(grace=10 * tick))

    def run(self, most_events: int = 100_000_000) -> Finish:
        """Run until the schedule finishes; raises RuntimeError if it never does."""
        while self.finish is None:
            if not self._queue or self.events >= most_events:
                raise RuntimeError(f"the schedule hangs after {self.events} events at {self.now:.3f} s")
            self.now, _, event = heapq.heappop(self._queue)
            self.events += 1
            self._handle(event)
            if isinstance(event, Tick):
                due = max(self._latency, min(self._tick, self.schedule.next_due - self.now))
                self._post(due, Tick())
            if self._watch is not None:
                self._watch(self)
        return self.finish

    @property
    def busy(self) -> float:
        """Seconds that all seats computed."""
        return sum(seat.busy for seat in self.seats)

    def _post(self, delay: float, event: Event) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._serial), event))

    def _handle(self, event: Event) -> None:
        for command in self.schedule.handle(event, self.now):
            match command:
                case Send(seat, tasks, sturdiness, _, _):
                    self._compute(seat, tasks, sturdiness)
                case Keep(wanted):
                    assert isinstance(event, Answered)
                    np.add.at(self.kept, event.tasks[wanted], 1)
                case Finish():
                    self.finish = command

    def _compute(self, number: int, tasks: NDArray[np.int64], sturdiness: NDArray[np.int64]) -> None:
        """A seat receives work: lay out when its answers and mishaps will arrive."""
        seat = self.seats[number]
        if not seat.alive:
            return
        at = max(seat.free_at, self.now + self._latency)
        done: list[int] = []
        sent_at = at
        for task, tries in zip(tasks.tolist(), sturdiness.tolist(), strict=True):
            fate = self._fate(task, tries)
            at += float(self._seconds[task])
            seat.busy += float(self._seconds[task])
            if fate is None:
                done.append(task)
                if at - sent_at >= self._report:
                    self._answer(number, done, at)
                    done, sent_at = [], at
                continue
            self._answer(number, done, at)
            done, sent_at = [], at
            if fate is Kind.LOST:
                seat.alive = False
                self._post(at - self.now + self._latency, Lost(number))
                return
            self._post(at - self.now + self._latency, Failed(number, task, fate))
        self._answer(number, done, at)
        seat.free_at = at

    def _answer(self, number: int, tasks: list[int], at: float) -> None:
        if not tasks:
            return
        numbers = np.array(tasks, dtype=np.int64)
        event = Answered(number, numbers, self._seconds[numbers], self._latency)
        delay = at - self.now + self._latency
        if self._random.random() < self._faults.silent:
            delay += 10 * self.schedule.policy.silence if np.isfinite(self.schedule.policy.silence) else 1.0
        self._post(delay, event)
        if self._random.random() < self._faults.late:
            self._post(delay + 5.0 * self._random.random(), event)

    def _fate(self, task: int, sturdiness: int) -> Kind | None:
        """Whether and how a try fails."""
        if task in self._faults.poison:
            return Kind.CRASH
        dice: Any = self._random.random(5)
        faults = self._faults
        if len([seat for seat in self.seats if seat.alive]) > 1 and dice[0] < faults.lost:
            return Kind.LOST
        if dice[1] < faults.crash:
            return Kind.CRASH
        if dice[2] < faults.memory:
            return Kind.MEMORY
        if dice[3] < faults.timeout:
            return Kind.TIMEOUT
        if sturdiness == 0 and dice[4] < faults.convergence:
            return Kind.CONVERGENCE
        return None
