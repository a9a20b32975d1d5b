"""The loop of rank 0: carries events to the schedule and its commands out to the seats.

It decides nothing; it moves tasks, answers and time between schedule, seats and store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Attempt, Kind
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.farm.events import (
    Answered,
    Back,
    Event,
    Failed,
    Finish,
    Joined,
    Keep,
    Lost,
    Send,
    SetAside,
    Silent,
    StopAsked,
    Tick,
)
from qcmb_mpi.farm.local import Crew
from qcmb_mpi.farm.messages import Answers, Tag, make_work
from qcmb_mpi.farm.schedule import Schedule

__all__ = ["Master", "Ranks", "Sink", "Statistics"]

WATCH = 0.2  # seconds between two rounds while every seat has work
IMPATIENT = 0.002  # the same while another rank may be waiting for work
LAST_LOOK = 0.01  # the same when there is nothing left to hand out, in the first second after an answer
GROWTH = 1.2  # from one round to the next, while none is
OLDEST_NEWS = 0.6  # seconds from an answer's birth to its arrival here, while all is well
EAGER = 0.001  # the least time between two rounds


class Ranks(Protocol):
    """The other ranks, as the master uses them."""

    def send(self, rank: int, tag: int, data: bytes) -> None: ...

    def poll(self) -> list[tuple[int, int, bytes]]: ...

    def lost(self) -> list[int]:
        """Ranks that have died since the last call."""
        ...


class Sink(Protocol):
    """Where answers go."""

    def append(self, answers: Answers, seat: int, attempts: NDArray[np.int64]) -> None: ...

    def append_failures(self, answers: Answers, seat: int, attempts: NDArray[np.int64]) -> None: ...

    def set_aside(self, seats: frozenset[int]) -> None:
        """Called when seats get nothing more because they are broken."""
        ...

    def save(self) -> None: ...

    def lost(self, rank: int) -> None:
        """Called when a rank has died."""
        ...

    def silent(self, rank: int) -> None:
        """Called when a rank has given no sign of life for so long that others get its tasks."""
        ...

    def back(self, rank: int) -> None:
        """Called when a rank that was given up gives signs of life again."""
        ...

    def round(self, schedule: Schedule, now: float) -> None:
        """Called in every round of the loop: time to save and to show progress."""
        ...


@dataclass
class Statistics:
    """Where the time went.

    Attributes
    ----------
    wall
        Seconds from the first task to the last answer.
    engine
        Seconds that engines computed, over all seats.
    cpu
        Seconds of processor time in them.
    longest, longest_task
        Seconds of the longest task, and its number; -1 if there was none.
    master
        Seconds that this loop itself was busy.
    """

    wall: float = 0.0
    engine: float = 0.0
    cpu: float = 0.0
    longest: float = 0.0
    longest_task: int = -1
    master: float = 0.0

    def note(self, heads: NDArray[np.void]) -> None:
        """Add the times of some answers."""
        self.engine += float(heads["wall"].sum())
        self.cpu += float(heads["cpu"].sum())
        if len(heads) and heads["wall"].max() > self.longest:
            position = int(heads["wall"].argmax())
            self.longest, self.longest_task = float(heads["wall"][position]), int(heads["task"][position])


class Master:
    """Drives a schedule.

    Parameters
    ----------
    table
        The tasks.
    schedule
        Decides.
    crew
        Runners of this process.
    ranks
        The other ranks, if there are any.
    sink
        Takes the answers.
    stop
        Asked in every round: seconds of grace if the job has just been asked to stop, else None.
    alarms
        File descriptors that wake the loop.
    """

    def __init__(
        self,
        table: TaskTable,
        schedule: Schedule,
        crew: Crew,
        ranks: Ranks | None,
        sink: Sink,
        stop: Callable[[], float | None],
        alarms: Sequence[int] = (),
    ):
        self._table = table
        self._schedule = schedule
        self._crew = crew
        self._ranks = ranks
        self._sink = sink
        self._stop = stop
        self._alarms = alarms
        self._finish: Finish | None = None
        self._answered_at = time.monotonic()
        self._patience = WATCH
        self._ran_dry = 0
        self._roll_call = -float("inf")  # when it is due
        self.failed: dict[int, list[Attempt]] = {}  # task -> its failed attempts
        self.statistics = Statistics()

    def run(self) -> Finish:
        """Compute until the schedule says that it is over."""
        begin = time.monotonic()
        self._call_the_roll(begin)
        self._tell(Tick(), begin)
        while self._finish is None:
            awake = time.monotonic()
            self._round(awake)
            now = time.monotonic()
            self.statistics.master += now - awake
            if self._finish is None:
                self._crew.wait(self._nap(now), self._alarms)
        self.statistics.wall = time.monotonic() - begin
        return self._finish

    def _nap(self, now: float) -> float:
        """Seconds until the next round: long while all is well, short while a rank may be waiting.

        A runner of this process that runs out of work wakes the master at once.  Other ranks cannot;
        so it looks for them often after one of them has had nothing to do (in the beginning nobody
        knows how long tasks take), and less and less often as long as that does not happen again.
        While an answer may be followed by something to do at once, or by the end, it looks after every
        hundredth of the time since the last answer.
        """
        if self._ranks is not None and not self._schedule.n_waiting:
            return min(WATCH, max(LAST_LOOK, (now - self._answered_at) / 100))
        if self._ranks is not None:
            if self._schedule.ran_dry > self._ran_dry:
                self._ran_dry, self._patience = self._schedule.ran_dry, IMPATIENT
            self._patience = min(WATCH, self._patience * GROWTH)
            if self._schedule.impatient:
                self._patience = min(self._patience, max(IMPATIENT, (now - self._answered_at) / 100))
        return min(self._patience, max(EAGER, self._schedule.next_due - now))

    def _round(self, now: float) -> None:
        for seat, answers in self._crew.poll():
            self._take(seat, answers, now)
        for rank, tag, data in self._ranks.poll() if self._ranks else []:
            if tag == Tag.LOST:
                self._tell(Lost(rank), now)
            else:
                self._take(rank, Answers.decode(data), now)
        for rank in self._ranks.lost() if self._ranks else []:
            self._sink.lost(rank)
            self._tell(Lost(rank), now)
        if now >= self._roll_call:
            self._call_the_roll(now)
        grace = self._stop()
        if grace is not None:
            self._sink.save()
            self._tell(StopAsked(grace), now)
        self._tell(Tick(), now)
        self._sink.round(self._schedule, now)

    def _call_the_roll(self, now: float) -> None:
        """Own seats live as long as this loop, whatever they compute."""
        self._roll_call = now + self._schedule.policy.silence / 10
        for seat in self._crew.seats:
            self._tell(Joined(seat), now)

    def _take(self, seat: int, answers: Answers, now: float) -> None:
        self._answered_at = now
        kinds = answers.heads["kind"]
        tasks = answers.heads["task"]
        attempts = self._schedule.tries(tasks)
        for position in np.flatnonzero(kinds).tolist():
            task = int(tasks[position])
            kind = Kind(int(kinds[position]))
            self._note(seat, task, kind, answers, position)
            self._tell(Failed(seat, task, kind), now)
        if kinds.any():
            self._sink.append_failures(answers.only(kinds != 0), seat, attempts[kinds != 0])
            answers, attempts = answers.only(kinds == 0), attempts[kinds == 0]
        walls = answers.heads["wall"].astype(np.float64)
        self.statistics.note(answers.heads)
        # other nodes' clocks are trusted only as far as news can be old
        age = time.time() - float(answers.heads["finished"].max(initial=0.0)) if len(answers) else 0.0
        age = min(max(age, 0.0), OLDEST_NEWS)
        event = Answered(seat, answers.heads["task"].astype(np.int64), walls, age)
        wanted = self._tell(event, now)
        if wanted is not None and wanted.any():
            self._sink.append(answers.only(wanted), seat, attempts[wanted])

    def _note(self, seat: int, task: int, kind: Kind, answers: Answers, position: int) -> None:
        """Remember a failed attempt; of those before it, the first line of what was said."""
        head = answers.heads[position]
        before = [replace(a, message=a.message.partition("\n")[0]) for a in self.failed.get(task, [])]
        attempt = Attempt(
            kind=kind,
            rank=seat,
            seconds=float(head["wall"]),
            finished=float(head["finished"]),
            sturdiness=int(head["sturdiness"]),
            message=answers.text(position),
        )
        self.failed[task] = [*before, attempt]

    def _tell(self, event: Event, now: float) -> NDArray[np.bool_] | None:
        """Give an event to the schedule and carry out its commands; returns what Keep says."""
        wanted = None
        for command in self._schedule.handle(event, now):
            match command:
                case Send(seat, tasks, sturdiness, limits, width):
                    work = make_work(self._table, tasks, sturdiness, limits, width)
                    if seat in self._crew.seats:
                        self._crew.send(seat, work)
                    elif self._ranks is not None:
                        self._ranks.send(seat, Tag.WORK, work.encode())
                case Keep(mask):
                    wanted = mask
                case SetAside(seats):
                    self._sink.set_aside(seats)
                case Silent(rank):
                    self._sink.silent(rank)
                case Back(rank):
                    self._sink.back(rank)
                case Finish():
                    self._finish = command
        return wanted
