"""The state machine that decides who computes what, when.

Rules of this file
------------------
It imports nothing but numpy and its pure neighbours: events, kinds of failure, policy, queue and cost
model.  It never looks at a clock, a file or a socket: time comes in with every event.  All policy of
the farm is in these files and nowhere else, so the same ones run a laptop, a 64-rank job and a
simulated machine of 10,000 ranks.

Theory of operation
-------------------
``handle(event, now)`` takes one event and returns the commands that follow from it.

*Seats* are what computes: one runner on one rank.  *Tasks* are numbers.  A task is always in
exactly one state::

    state      means                         leaves it by
    ---------  ----------------------------  ------------------------------------------------------
    WAITING    in the queue                  Send -> OUT
    OUT        held by one seat              Answered -> DONE; Failed -> WAITING or FAILED;
                                             Lost -> WAITING or FAILED
    DONE       its answer is to be kept      (for good)
    FAILED     failed for good               Answered, if a late answer comes after all -> DONE

and a seat too::

    state      means                         leaves it by
    ---------  ----------------------------  ------------------------------------------------------
    absent     never heard of                Joined -> idle
    idle       holds nothing                 Send -> busy; Lost -> gone
    busy       holds tasks                   its last answer -> idle; Lost, or silence -> gone
    gone       not believed any more         Joined, Answered -> idle or busy

What waits is in the queue (:mod:`qcmb_mpi.farm.queue`): the most expensive tasks first, and before them
those to be tried again.

A seat gets a batch of tasks worth a fraction of a second, and the next one shortly before it is
through with the last, so it never waits for the master.  Batches shrink towards the end, so that
all seats end together.  Behind tasks of unknown duration a seat gets nothing until it has answered.

What a failure costs depends on its kind:

    kind          tries again?                                    where
    ------------  ----------------------------------------------  --------------------------------
    INPUT         never                                           -
    CONVERGENCE   up to max_retries, each with a sturdier method  anywhere
    MEMORY        up to max_retries                               another seat, if there is one
    CRASH         up to max_retries                               another seat, if there is one
    TIMEOUT       up to max_retries                               another seat, if there is one
    LOST          costs no retry; set aside after LOST_LIMIT      another seat, if there is one

When it is asked to stop it sends nothing more, and finishes when no task is out or the grace is over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.cost import CostModel
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
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.queue import Queue

__all__ = ["Schedule", "State"]

LOST_LIMIT = 3  # a task that was on this many seats when they were lost is set aside


class State:
    """What has become of a task: plain integers, since numpy is slow with members of an enumeration."""

    WAITING = 0
    OUT = 1
    DONE = 2
    FAILED = 3


@dataclass(eq=False)
class _Seat:
    """What the schedule knows of a seat."""

    number: int
    gone: bool = False
    warm: bool = False  # has answered before
    held: set[int] = field(default_factory=set)
    dry_at: float = 0.0  # when it will probably have computed all it holds
    due_at: float = 0.0  # when it is to get its next batch
    heard: float = 0.0


class Schedule:
    """Decides who computes what, when.

    Parameters
    ----------
    model
        What tasks cost.
    done : (n_tasks,) bool
        Tasks whose answers are known already.
    policy
        The numbers to go by.
    """

    def __init__(self, model: CostModel, done: NDArray[np.bool_], policy: Policy):
        self.model = model
        self.policy = policy
        self.state = np.where(done, State.DONE, State.WAITING).astype(np.uint8)
        self.n_done = int(done.sum())
        self.n_failed = 0
        self.ran_dry = 0  # how often a seat had nothing to do
        self.finished = False
        waiting = np.flatnonzero(~done)
        self._queue = Queue(model, waiting, policy)
        self._tries: dict[int, int] = {}
        self._losses: dict[int, int] = {}
        self._sturdiness: dict[int, int] = {}
        self._seats: dict[int, _Seat] = {}
        self._idle: dict[int, None] = {}  # seats holding nothing, longest idle first
        self._due: list[tuple[float, int]] = []  # when a seat will want its next batch
        self._unsure: set[int] = set()  # seats at work of unknown duration
        self._left = model.by_block(waiting)  # estimated cost of what is neither DONE nor FAILED
        self._stop_at: float | None = None
        self._look_at = -float("inf")  # when to look for silent seats again

    # ---- what others may ask ----

    @property
    def n_tasks(self) -> int:
        return len(self.state)

    @property
    def n_waiting(self) -> int:
        return len(self._queue)

    @property
    def next_due(self) -> float:
        """When the schedule wants its next Tick at the latest."""
        times = [self._next_due()] if self.n_waiting else []
        if self._stop_at is not None:
            times.append(self._stop_at)
        return min(times, default=float("inf"))

    @property
    def impatient(self) -> bool:
        """Whether a seat is at work of unknown duration: its answer has to be followed by more at once."""
        return bool(self._unsure) and self.n_waiting > 0

    def tries(self, tasks: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each task has failed so far, shape (n,)."""
        counts = np.zeros(len(tasks), dtype=np.int64)
        if self._tries or self._losses:
            counts[:] = [self._tries.get(t, 0) + self._losses.get(t, 0) for t in tasks.tolist()]
        return counts

    def losses(self, task: int) -> int:
        """How many seats were lost that held a task."""
        return self._losses.get(task, 0)

    def seconds_left(self) -> float | None:
        """Expected seconds until the end; None as long as nothing is measured."""
        seats = sum(not seat.gone for seat in self._seats.values())
        total = self.model.total_seconds(self._left)
        return None if total is None or not seats else total / seats

    def busy_fraction(self) -> float:
        """Fraction of the living seats that hold tasks."""
        living = [seat for seat in self._seats.values() if not seat.gone]
        return sum(bool(seat.held) for seat in living) / max(1, len(living))

    # ---- events in, commands out ----

    def handle(self, event: Event, now: float) -> list[Command]:
        """React to ``event`` at time ``now`` [s]."""
        commands: list[Command] = []
        match event:
            case Answered(seat, tasks, walls, age):
                if len(tasks):
                    self._unsure.discard(seat)
                commands.append(Keep(self._answered(self._hear(seat, now), tasks, walls, now - age)))
            case Failed(seat, task, kind):
                self._unsure.discard(seat)
                self._failed(self._hear(seat, now), task, kind)
            case Joined(seat):
                self._hear(seat, now)
            case Lost(seat):
                self._lose(self._hear(seat, now))
            case StopAsked(grace):
                self._stop_at = min(now + grace, self._stop_at or float("inf"))
            case Tick():
                self._look_for_silence(now)
        number = getattr(event, "seat", None)
        if number is not None and not self._seats[number].held and not self._seats[number].gone:
            self.ran_dry += number not in self._idle
            self._idle[number] = None
        if self._stop_at is None:
            commands += self._feed(now)
        commands += self._end(now)
        return commands

    def _answered(
        self, seat: _Seat, tasks: NDArray[np.int64], walls: NDArray[np.float64], at: float
    ) -> NDArray[np.bool_]:
        before = self.state[tasks]
        wanted = np.asarray(before != State.DONE)
        # a batch names each task once; a repeated one could only come from a broken seat
        numbers = set(tasks.tolist())
        if len(numbers) < len(tasks):
            first = np.zeros(len(tasks), dtype=bool)
            first[np.unique(tasks, return_index=True)[1]] = True
            wanted &= first
        if not len(tasks):
            return wanted
        self.state[tasks] = State.DONE
        self.n_done += int(wanted.sum())
        self.n_failed -= int((wanted & (before == State.FAILED)).sum())
        self._learn(seat, tasks, walls)
        self._left -= self.model.by_block(tasks[wanted & (before != State.FAILED)])
        if (wanted & (before == State.WAITING)).any():
            self._queue.sieve(self.state == State.WAITING)
        seat.held -= numbers
        if seat.held:
            held = np.fromiter(seat.held, dtype=np.int64, count=len(seat.held))
            self._expect(seat, at + float(np.nansum(self.model.seconds(held))))
        return wanted

    def _learn(self, seat: _Seat, tasks: NDArray[np.int64], walls: NDArray[np.float64]) -> None:
        """Measure; the first task of a seat takes longer than it should, and its lane is probed again."""
        cold = 0 if seat.warm else 1
        seat.warm = True
        if cold:
            self.model.hint(tasks[:1], walls[:1])
            self._queue.probe_again(int(tasks[0]))
        if len(tasks) > cold:
            self.model.observe(tasks[cold:], walls[cold:])

    def _failed(self, seat: _Seat, task: int, kind: Kind) -> None:
        if task not in seat.held:
            return  # it was taken away from this seat in the meantime
        seat.held.discard(task)
        if self.state[task] != State.OUT:
            return
        self._tries[task] = self._tries.get(task, 0) + 1
        if kind is Kind.CONVERGENCE:
            self._sturdiness[task] = self._sturdiness.get(task, 0) + 1
        else:
            self._queue.shun(task, seat.number)
        if kind is Kind.INPUT or self._tries[task] > self.policy.max_retries:
            self._give_up(task)
        else:
            self.state[task] = State.WAITING
            self._queue.retry(task)

    def _lose(self, seat: _Seat) -> None:
        """Requeue what a lost seat holds; being there costs a task no retry, up to a limit."""
        seat.gone = True
        self._unsure.discard(seat.number)
        self._idle.pop(seat.number, None)
        for task in sorted(seat.held):
            if self.state[task] != State.OUT:
                continue
            self._losses[task] = self._losses.get(task, 0) + 1
            self._queue.shun(task, seat.number)
            if self._losses[task] >= LOST_LIMIT:
                self._give_up(task)
            else:
                self.state[task] = State.WAITING
                self._queue.retry(task)
        seat.held.clear()

    def _give_up(self, task: int) -> None:
        self.state[task] = State.FAILED
        self.n_failed += 1
        self._left -= self.model.by_block(np.array([task]))

    # ---- handing out ----

    def _feed(self, now: float) -> list[Command]:
        """Give work to seats that have none, then to those that will soon have none."""
        commands: list[Command] = []
        for number in list(self._idle):
            if not self.n_waiting:
                break
            commands += self._serve(self._seats[number], now)
        while self.n_waiting and self._next_due() <= now:
            seat = self._seats[heapq.heappop(self._due)[1]]
            if seat.dry_at - self._ahead() <= now:
                commands += self._serve(seat, now)
            else:  # batches have become shorter meanwhile
                self._expect(seat, seat.dry_at)
        return commands

    def _serve(self, seat: _Seat, now: float) -> list[Command]:
        seconds = max(self._batch_seconds(), self._ahead() - max(0.0, seat.dry_at - now))
        tasks = self._queue.take(seat.number, seconds, self._living())
        if not len(tasks):
            return []
        self.state[tasks] = State.OUT
        seat.held.update(tasks.tolist())
        self._idle.pop(seat.number, None)
        seconds = float(self.model.seconds(tasks).sum())
        if np.isfinite(seconds):
            self._expect(seat, max(seat.dry_at, now) + seconds)
        if not self.model.measured[self.model.blocks(tasks[:1])].all():
            self._unsure.add(seat.number)
        sturdiness = np.zeros(len(tasks), dtype=np.int64)
        if self._sturdiness:
            sturdiness[:] = [self._sturdiness.get(task, 0) for task in tasks.tolist()]
        return [Send(seat.number, tasks, sturdiness)]

    def _batch_seconds(self) -> float:
        """Seconds of work in the next batch: a quarter of an even share of what is left."""
        rest = self.model.total_seconds(self._left) or 0.0
        share = rest / (4 * max(1, len(self._seats)))
        return min(self.policy.batch, max(self.policy.shortest_batch, share))

    def _ahead(self) -> float:
        """How long before a seat runs dry it gets its next batch [s]."""
        return max(self.policy.ahead, self._batch_seconds() / 2)

    # ---- seats ----

    def _living(self) -> Iterator[int]:
        return (number for number, seat in self._seats.items() if not seat.gone)

    def _hear(self, number: int, now: float) -> _Seat:
        """A sign of life: also a seat that was given up is believed again."""
        seat = self._seats.setdefault(number, _Seat(number))
        seat.gone = False
        seat.heard = now
        return seat

    def _expect(self, seat: _Seat, dry_at: float) -> None:
        """A seat will probably have computed all it holds at ``dry_at``: it is due a little earlier."""
        seat.dry_at = dry_at
        seat.due_at = dry_at - self._ahead()
        heapq.heappush(self._due, (seat.due_at, seat.number))

    def _next_due(self) -> float:
        """When the next seat wants its next batch; what does not hold any more is dropped."""
        while self._due:
            due_at, number = self._due[0]
            seat = self._seats[number]
            if due_at == seat.due_at and seat.held and number not in self._unsure:
                return due_at
            heapq.heappop(self._due)
        return float("inf")

    def _look_for_silence(self, now: float) -> None:
        if now < self._look_at or self.policy.silence == float("inf"):
            return
        self._look_at = now + self.policy.silence / 10
        for seat in self._seats.values():
            if not seat.gone and now - seat.heard > self.policy.silence:
                self._lose(seat)

    def _end(self, now: float) -> list[Command]:
        """Finish when there is nothing left to wait for."""
        out = self.n_tasks - self.n_done - self.n_failed - self.n_waiting
        over = self.n_done + self.n_failed == self.n_tasks
        stopped = self._stop_at is not None and (out == 0 or now >= self._stop_at)
        if (over or stopped) and not self.finished:
            self.finished = True
            return [Finish(stopped=not over)]
        return []
