"""The state machine that decides who computes what, when.

Rules of this file
------------------
It imports nothing but numpy and its pure neighbours: events, kinds of failure, policy, queue, seats,
trust and cost model.  It never looks at a clock, a file or a socket: time comes in with every event.
All policy of the farm is in these files and nowhere else, so the same ones run a laptop, a 64-rank job
and a simulated machine of 10,000 ranks.

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
all seats end together.  Behind tasks of unknown duration a seat gets nothing until it has answered,
nor behind tasks that take longer than they should; a seat that is slow in all of them gets less.

What a failure costs depends on its kind:

    kind          tries again?                                    where
    ------------  ----------------------------------------------  --------------------------------
    INPUT         never                                           -
    CONVERGENCE   up to max_retries, each with a sturdier method  anywhere
    MEMORY        up to max_retries                               alone on a node, with all its memory
    CRASH         up to max_retries                               another seat, if there is one
    TIMEOUT       up to max_retries                               another seat, if there is one
    LOST          costs no retry; set aside after LOST_LIMIT      another seat, if there is one

A task that needs a node for itself waits until no other is left to hand out: then nodes fall idle
anyhow, and no seat has to pause for it.  Seats and nodes where tasks crash or hang that succeed
elsewhere are set aside (:mod:`qcmb_mpi.farm.trust`), and what failed there is forgotten.

Where the wall time ends, a task that would not be through by then is not begun.  When only such tasks
are left, or when it is asked to stop, the schedule sends nothing more, and finishes when no task is
out or the grace is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import (
    Answered,
    Back,
    Command,
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
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.queue import Queue
from qcmb_mpi.farm.seats import Seat, Seats
from qcmb_mpi.farm.trust import Trust

__all__ = ["Schedule", "State"]

LOST_LIMIT = 3  # a task that was on this many seats when they were lost is set aside
LEAST_PACE = 0.1  # a seat is not believed to be ten times as fast as expected: the expectation is wrong


class State:
    """What has become of a task: plain integers, since numpy is slow with members of an enumeration."""

    WAITING = 0
    OUT = 1
    DONE = 2
    FAILED = 3


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
    nodes
        Node of each seat; by default all are on one.
    until
        Time [s] by which tasks have to end.
    """

    def __init__(
        self,
        model: CostModel,
        done: NDArray[np.bool_],
        policy: Policy,
        nodes: Mapping[int, int] | None = None,
        until: float = float("inf"),
    ):
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
        self._seats = Seats(nodes or {})
        self._trust = Trust()
        self._taken: dict[int, int] = {}  # nodes that a seat has for itself
        self._left = model.by_block(waiting)  # estimated cost of what is neither DONE nor FAILED
        self._until = until
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
        if self._stop_at is not None:
            return self._stop_at
        return self._seats.next_due if self._queue.n_ready else float("inf")

    @property
    def impatient(self) -> bool:
        """Whether a seat is at work of unknown duration: its answer has to be followed by more at once."""
        return bool(self._seats.unsure) and self._queue.n_ready > 0

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
        n_living = sum(1 for _ in self._seats.living())
        total = self.model.total_seconds(self._left)
        return None if total is None or not n_living else total / n_living

    def busy_fraction(self) -> float:
        """Fraction of the living seats that hold tasks."""
        n_living = sum(1 for _ in self._seats.living())
        return (n_living - len(self._seats.idle)) / max(1, n_living)

    # ---- events in, commands out ----

    def handle(self, event: Event, now: float) -> list[Command]:
        """React to ``event`` at time ``now`` [s]."""
        commands: list[Command] = []
        if isinstance(event, (Joined, Answered, Failed)) and self._seats.is_gone(event.seat):
            commands.append(Back(event.seat))
        match event:
            case Answered(number, tasks, walls, age):
                seat = self._hear(number, now)
                commands.append(Keep(self._answered(seat, tasks, walls, now - age)))
                commands += self._judge(seat, tasks)
                self._rest(seat)
            case Failed(number, task, kind):
                seat = self._hear(number, now)
                self._failed(seat, task, kind, now)
                self._rest(seat)
            case Joined(number):
                self._rest(self._hear(number, now))
            case Lost(number):
                self._lose(self._hear(number, now))
            case StopAsked(grace):
                self._stop_at = min(now + grace, self._stop_at or float("inf"))
            case Tick():
                commands += self._look_for_silence(now)
        if self._stop_at is None:
            commands += self._feed(now)
        commands += self._end(now)
        return commands

    def _answered(
        self, seat: Seat, tasks: NDArray[np.int64], walls: NDArray[np.float64], at: float
    ) -> NDArray[np.bool_]:
        before = self.state[tasks]
        wanted = np.asarray(before != State.DONE)
        if not len(tasks):
            return wanted
        self._seats.unsure.discard(seat.number)
        # a batch names each task once; a repeated one could only come from a broken seat
        numbers = set(tasks.tolist())
        if len(numbers) < len(tasks):
            first = np.zeros(len(tasks), dtype=bool)
            first[np.unique(tasks, return_index=True)[1]] = True
            wanted &= first
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
            seconds = seat.pace * float(np.nansum(self.model.seconds(held)))
            self._seats.expect(seat, at + seconds, self._ahead())
            seat.answer_by = seat.dry_at
        return wanted

    def _learn(self, seat: Seat, tasks: NDArray[np.int64], walls: NDArray[np.float64]) -> None:
        """Measure; the first task of a seat takes longer than it should, and its lane is probed again."""
        cold = 0 if seat.warm else 1
        seat.warm = True
        if cold:
            self.model.hint(tasks[:1], walls[:1])
            self._queue.probe_again(int(tasks[0]))
        if len(tasks) > cold:
            self.model.observe(tasks[cold:], walls[cold:])
            expected = float(self.model.seconds(tasks[cold:]).sum())
            if expected > 0.0:
                seat.pace = max(LEAST_PACE, 0.5 * (seat.pace + float(walls[cold:].sum()) / expected))

    def _judge(self, seat: Seat, tasks: NDArray[np.int64]) -> list[Command]:
        """Set aside what is proven broken by these successes; what failed there gets its tries back."""
        verdict = self._trust.succeeded(seat.number, tasks.tolist()) if len(tasks) else None
        if verdict is None:
            return []
        for task in verdict.tasks:
            self._tries[task] = max(0, self._tries[task] - 1)
        return [SetAside(verdict.seats)]

    def _failed(self, seat: Seat, task: int, kind: Kind, now: float) -> None:
        self._seats.unsure.discard(seat.number)
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
        if kind in (Kind.CRASH, Kind.TIMEOUT):
            self._trust.failed(seat.number, task, now)
        if kind is Kind.INPUT or self._tries[task] > self.policy.max_retries:
            self._give_up(task)
        else:
            self.state[task] = State.WAITING
            self._queue.retry(task, wide=kind is Kind.MEMORY)

    def _lose(self, seat: Seat) -> None:
        """Requeue what a lost seat holds; being there costs a task no retry, up to a limit."""
        for task in sorted(self._seats.lose(seat)):
            if self.state[task] != State.OUT:
                continue
            self._losses[task] = self._losses.get(task, 0) + 1
            self._queue.shun(task, seat.number)
            if self._losses[task] >= LOST_LIMIT:
                self._give_up(task)
            else:
                self.state[task] = State.WAITING
                self._queue.retry(task)
        self._leave(seat)

    def _give_up(self, task: int) -> None:
        self.state[task] = State.FAILED
        self.n_failed += 1
        self._left -= self.model.by_block(np.array([task]))

    # ---- handing out ----

    def _feed(self, now: float) -> list[Command]:
        """Give work to seats that have none, then to those that will soon have none."""
        commands: list[Command] = []
        for number in list(self._seats.idle) if self._queue.n_ready else ():
            if not self._queue.n_ready:
                break
            commands += self._serve(self._seats[number], now)
        while self._queue.n_ready and (seat := self._seats.pop_due(now)) is not None:
            if now > seat.answer_by + self.policy.batch:
                continue  # it is slow or hangs: nothing more before it has answered
            if seat.dry_at - self._ahead() <= now:
                commands += self._serve(seat, now)
            else:  # batches have become shorter meanwhile
                self._seats.expect(seat, seat.dry_at, self._ahead())
        if self._queue.n_wide and not self._queue.n_ready:
            commands += self._feed_nodes(now)
        return commands

    def _serve(self, seat: Seat, now: float) -> list[Command]:
        doubted = self._trust.doubted(seat.number)
        if not self.may_serve(seat, now) or (doubted and seat.held):
            return []
        begin = max(seat.dry_at, now) if seat.held else now
        seconds = 0.0 if doubted else max(self._batch_seconds(), self._ahead() - (begin - now)) / seat.pace
        tasks = self._queue.take(seat.number, seconds, partial(self._candidates, now), self._until - begin)
        return [self._send(seat, tasks, begin)] if len(tasks) else []

    def _feed_nodes(self, now: float) -> list[Command]:
        """Give tasks that need a node for themselves to nodes on which nothing is computed."""
        commands: list[Command] = []
        busy: set[int] = set()
        for number in list(self._seats.idle):
            seat = self._seats[number]
            if seat.node in busy or not self.may_serve(seat, now):
                continue
            here = self._seats.on(seat.node)
            if any(other.held for other in here):
                busy.add(seat.node)
                continue
            task = self._queue.take_wide(seat.number, partial(self._candidates, now), self._until - now)
            if task is not None:
                self._taken[seat.node] = seat.number
                commands.append(self._send(seat, np.array([task]), now, width=len(here)))
        return commands

    def _send(self, seat: Seat, tasks: NDArray[np.int64], begin: float, width: int = 1) -> Send:
        self.state[tasks] = State.OUT
        first = not seat.held
        seat.held.update(tasks.tolist())
        self._seats.idle.pop(seat.number, None)
        seconds = self.model.seconds(tasks)
        if np.isfinite(seconds).all():
            self._seats.expect(seat, begin + seat.pace * float(seconds.sum()), self._ahead())
            seat.answer_by = seat.dry_at if first else seat.answer_by
        if not self.model.measured[self.model.blocks(tasks[:1])].all():
            self._seats.unsure.add(seat.number)
        sturdiness = np.zeros(len(tasks), dtype=np.int64)
        if self._sturdiness:
            sturdiness[:] = [self._sturdiness.get(task, 0) for task in tasks.tolist()]
        limits = self.policy.limits(seconds, self.tries(tasks))
        return Send(seat.number, tasks, sturdiness, limits, width)

    def _batch_seconds(self) -> float:
        """Seconds of work in the next batch: a quarter of an even share of what is left."""
        rest = self.model.total_seconds(self._left) or 0.0
        share = rest / (4 * max(1, len(self._seats)))
        return min(self.policy.batch, max(self.policy.shortest_batch, share))

    def _ahead(self) -> float:
        """How long before a seat runs dry it gets its next batch [s]."""
        return max(self.policy.ahead, self._batch_seconds() / 2)

    # ---- seats ----

    def may_serve(self, seat: Seat, now: float) -> bool:
        """Whether a seat may get tasks: not while its node belongs to another, or is in doubt."""
        return seat.node not in self._taken and self._trust.serves(seat.number, self._seats.living(), now)

    def _candidates(self, now: float) -> Iterable[int]:
        """Seats of which one may be better for a task than where it has failed."""
        return (number for number in self._seats.living() if self.may_serve(self._seats[number], now))

    def _hear(self, number: int, now: float) -> Seat:
        seat = self._seats.hear(number, now)
        self._trust.join(number, seat.node)
        return seat

    def _rest(self, seat: Seat) -> None:
        """Note if a seat holds nothing any more."""
        if self._seats.rest(seat):
            self.ran_dry += 1
        if not seat.held:
            self._leave(seat)

    def _leave(self, seat: Seat) -> None:
        """A seat gives back the node that it had for itself."""
        if self._taken.get(seat.node) == seat.number:
            del self._taken[seat.node]

    def _look_for_silence(self, now: float) -> list[Command]:
        if now < self._look_at or self.policy.silence == float("inf"):
            return []
        self._look_at = now + self.policy.silence / 10
        silent = [seat for seat in self._seats if not seat.gone and now - seat.heard > self.policy.silence]
        for seat in silent:
            self._lose(seat)
        return [Silent(seat.number) for seat in silent]

    def _end(self, now: float) -> list[Command]:
        """Finish when there is nothing left to wait for."""
        out = self.n_tasks - self.n_done - self.n_failed - self.n_waiting
        over = self.n_done + self.n_failed == self.n_tasks
        stopped = self._stop_at is not None and (out == 0 or now >= self._stop_at)
        late = out == 0 and self.n_waiting > 0 and self._queue.n_late == self.n_waiting
        if (over or stopped or late) and not self.finished:
            self.finished = True
            return [Finish(stopped=not over)]
        return []
