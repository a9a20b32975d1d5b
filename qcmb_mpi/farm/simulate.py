"""Drives the real schedule with virtual seats and a virtual clock.

A million tasks on ten thousand ranks run in minutes on one core, and faults come from a seeded
random generator, so that every run can be repeated.  Knows the schedule and nothing else of the farm.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.events import (
    Answered,
    Command,
    Event,
    Failed,
    Finish,
    Joined,
    Keep,
    Lost,
    Send,
    StopAsked,
    Tick,
)
from qcmb_mpi.farm.schedule import Schedule

__all__ = ["Faults", "Simulation"]

SLOWNESS = 10.0  # how many times as long a slow seat takes
HANGING = 20.0  # seconds after which the runner of a try that hangs is killed at the latest
NOTHING = np.empty(0, dtype=np.int64)
NO_TIME = np.empty(0)


@dataclass(frozen=True)
class Faults:
    """What goes wrong, as probabilities.

    A message gets lost only with its line: MPI delivers what was sent as long as both ends live.

    Attributes
    ----------
    crash, convergence, memory
        Per try: it fails with that kind.  One that does not converge does so with a sturdier method.
    hang
        Per try: it goes on until its runner is killed.
    poison
        Tasks that crash wherever they run.
    wrong
        Tasks whose input is wrong.
    lost
        Per try: the seat dies in it, with all answers that it has not sent yet, or just after it, and
        does not come back.  Seat 0 never does: it is on the rank of the master.
    untold
        Per lost seat: nobody tells; its silence has to.
    slow
        Per seat: it is slow in everything.
    silent
        Per message: it and what the seat sends after it arrives only after a silence that is too long.
    cut
        Per message: the line is cut for longer than a silence may be; what the seat sends, or is sent,
        is lost.
    late
        Per message: later ones overtake it.
    again
        Per answer: it arrives twice.
    """

    crash: float = 0.0
    convergence: float = 0.0
    memory: float = 0.0
    hang: float = 0.0
    poison: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()
    lost: float = 0.0
    untold: float = 0.0
    slow: float = 0.0
    silent: float = 0.0
    cut: float = 0.0
    late: float = 0.0
    again: float = 0.0


@dataclass(frozen=True)
class _Sign:
    """A seat gives a sign of life, if it lives and its line stands; maybe again and again."""

    seat: int
    repeat: bool


@dataclass
class _VirtualSeat:
    slowness: float = 1.0
    free_at: float = 0.0  # when it has computed all it was sent
    dies_at: float = float("inf")
    busy: float = 0.0  # seconds of computing, up to free_at
    held_back: float = 0.0  # what it sends before this time is sent at this time
    cut: tuple[float, float] = (0.0, 0.0)  # from when to when its line is cut
    said_at: float = 0.0  # when it last said something
    says_at: deque[float] = field(default_factory=deque)  # and when it will

    def reached(self, at: float) -> bool:
        """Whether its line stands at a time."""
        return at < self.dies_at and not self.cut[0] <= at < self.cut[1]


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
    tick
        Seconds between two ticks at most.
    stop_at
        When the job is asked to stop.
    grace
        What it is granted then [s].
    watch
        Called after every event with the simulation, the event and the commands, to check them.

    Attributes
    ----------
    kept : (n_tasks,) int64
        How often each answer was kept.
    useful
        Seconds of computing behind the answers that were kept.
    now
        Virtual seconds since the beginning.
    events
        Events that the schedule has handled.
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
        grace: float = 10.0,
        watch: Callable[[Simulation, Event, Sequence[Command]], None] | None = None,
    ):
        self.schedule = schedule
        self.kept = np.zeros(schedule.n_tasks, dtype=np.int64)
        self.useful = 0.0
        self.now = 0.0
        self.events = 0
        self.finish: Finish | None = None
        self._faults = faults or Faults()
        silence = schedule.policy.silence
        if (self._faults.cut or self._faults.untold) and silence == float("inf"):
            raise ValueError(
                "lost messages and untold deaths are noticed by silence: policy.silence is infinite"
            )
        self._silence = silence if silence < float("inf") else 1.0
        self._random = random.Random(seed)
        self._mishaps = [
            (kind, rate)
            for kind, rate in (
                (Kind.LOST, self._faults.lost),
                (Kind.CRASH, self._faults.crash),
                (Kind.MEMORY, self._faults.memory),
                (Kind.TIMEOUT, self._faults.hang),
                (Kind.CONVERGENCE, self._faults.convergence),
            )
            if rate
        ]
        self._seats = [
            _VirtualSeat(SLOWNESS if self._happens(self._faults.slow) else 1.0) for _ in range(n_seats)
        ]
        self._seconds = seconds
        self._latency = latency
        self._report = report
        self._tick = tick
        self._heartbeat = silence / 4  # as a job has it
        self._watch = watch
        self._serial = itertools.count()
        self._queue: list[tuple[float, int, Event | _Sign]] = []
        for number in range(n_seats):
            self._post(latency, Joined(number))
            if silence < float("inf"):
                self._post(latency + self._heartbeat, _Sign(number, repeat=True))
        self._post(tick, Tick())
        if stop_at is not None:
            self._post(stop_at, StopAsked(grace))

    def run(self, most_events: int = 100_000_000) -> Finish:
        """Run until the schedule finishes; raises RuntimeError if it never does."""
        while self.finish is None:
            if not self._queue or self.events >= most_events:
                raise RuntimeError(f"the schedule hangs after {self.events} events at {self.now:.3f} s")
            self.now, _, event = heapq.heappop(self._queue)
            if isinstance(event, _Sign):
                if not self._signs(event):
                    continue
                event = Answered(event.seat, NOTHING, NO_TIME)
            self.events += 1
            commands = self.schedule.handle(event, self.now)
            for command in commands:
                self._obey(command, event)
            if isinstance(event, Tick):
                due = max(self._latency, min(self._tick, self.schedule.next_due - self.now))
                self._post(due, Tick())
            if self._watch is not None:
                self._watch(self, event, commands)
        return self.finish

    @property
    def busy(self) -> float:
        """Seconds that all seats have computed until now."""
        return sum(seat.busy - max(0.0, seat.free_at - self.now) for seat in self._seats)

    @property
    def available(self) -> float:
        """Seconds that all seats have lived until now."""
        return sum(min(seat.dies_at, self.now) for seat in self._seats)

    def _post(self, delay: float, event: Event | _Sign) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._serial), event))

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _obey(self, command: Command, event: Event) -> None:
        match command:
            case Send():
                self._compute(command)
            case Keep(wanted):
                assert isinstance(event, Answered)
                if wanted.any():
                    np.add.at(self.kept, event.tasks[wanted], 1)
                    self.useful += float(event.walls[wanted].sum())
            case Finish():
                self.finish = command

    def _compute(self, work: Send) -> None:
        """A seat receives work: lay out when its answers and mishaps will arrive."""
        number, seat = work.seat, self._seats[work.seat]
        if seat.dies_at < float("inf") or not seat.reached(self.now + self._latency):
            return
        begin = at = max(seat.free_at, self.now + self._latency)
        done: list[int] = []
        sent_at = at
        for task, tries, limit in zip(
            work.tasks.tolist(), work.sturdiness.tolist(), work.limits.tolist(), strict=True
        ):
            fate = self._fate(number, task, tries)
            lasts = HANGING if fate is Kind.TIMEOUT else float(self._seconds[task]) * seat.slowness
            if lasts > limit:
                fate, lasts = Kind.TIMEOUT, limit
            at += lasts
            if fate is None:
                done.append(task)
                if at - sent_at < self._report:
                    continue
            if fate is Kind.LOST:
                dies_at = at
                if self._happens(0.5):
                    self._answer(number, [*done, task], at)
                    dies_at += self._latency
                seat.dies_at = dies_at
                if not self._happens(self._faults.untold):
                    self._post(dies_at - self.now + self._latency, Lost(number))
                break
            self._answer(number, done, at)
            done, sent_at = [], at
            if fate is not None:
                self._say(number, at, Failed(number, task, fate))
        else:
            self._answer(number, done, at)
        seat.busy += at - begin
        seat.free_at = at

    def _fate(self, number: int, task: int, sturdiness: int) -> Kind | None:
        """Whether and how a try fails."""
        if task in self._faults.poison:
            return Kind.CRASH
        if task in self._faults.wrong:
            return Kind.INPUT
        for kind, rate in self._mishaps:
            spared = sturdiness if kind is Kind.CONVERGENCE else number == 0 and kind is Kind.LOST
            if not spared and self._happens(rate):
                return kind
        return None

    def _answer(self, number: int, tasks: list[int], at: float) -> None:
        if tasks:
            numbers = np.array(tasks, dtype=np.int64)
            walls = self._seconds[numbers] * self._seats[number].slowness
            self._say(number, at, Answered(number, numbers, walls, self._latency))

    def _say(self, number: int, at: float, event: Answered | Failed) -> None:
        """A seat sends a message, which may have an accident on its way."""
        seat, faults = self._seats[number], self._faults
        if at >= seat.held_back and at >= seat.cut[1]:
            if self._happens(faults.silent):
                seat.held_back = at + 2 * self._silence
            elif self._happens(faults.cut):
                # long enough to be noticed, even if messages from before come in the middle of it
                seat.cut = at, at + 4 * self._silence + 2 * self._tick
                self._post(seat.cut[1] - self.now + 2 * self._latency, _Sign(number, repeat=False))
        if not seat.reached(at):
            return
        if self._heartbeat < float("inf"):
            seat.says_at.append(at)
        delay = max(at, seat.held_back) - self.now + self._latency
        if self._happens(faults.late):
            delay += self._silence * self._random.random()
        self._post(delay, event)
        if isinstance(event, Answered) and self._happens(faults.again):
            self._post(delay + self._silence * self._random.random(), event)

    def _signs(self, sign: _Sign) -> bool:
        """Whether a seat gives a sign of life now; plans the next one of those that come regularly."""
        seat, sent_at = self._seats[sign.seat], self.now - self._latency
        if sign.repeat and sent_at < seat.dies_at:
            while seat.says_at and seat.says_at[0] <= sent_at:
                seat.said_at = seat.says_at.popleft()
            rest = seat.said_at + self._heartbeat - sent_at
            if rest > self._latency:
                self._post(rest, sign)
                return False
            seat.said_at = sent_at
            self._post(self._heartbeat, sign)
        return seat.reached(sent_at) and sent_at >= seat.held_back
