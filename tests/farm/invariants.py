"""What must hold after every event, checked from outside: a ledger of the events and commands alone.

It keeps its own account of who holds what, what has failed where, and which answers were kept, and
compares the schedule's with it.  Of the schedule's own it asks which seats it believes in and what lies
in its queue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from hypothesis import strategies as st

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Answered, Command, Event, Failed, Finish, Keep, Send, SetAside, StopAsked
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import LOST_LIMIT, Schedule, State
from qcmb_mpi.farm.simulate import Faults, Simulation
from qcmb_mpi.farm.trust import STREAK

__all__ = ["Case", "Ledger", "cases", "play"]

MOST_TASKS = 40


class Ledger:
    """Watches a simulation; raises AssertionError when a rule is broken."""

    def __init__(self, schedule: Schedule, nodes: Mapping[int, int], until: float):
        self.schedule = schedule
        self.nodes = nodes
        self.until = until
        self.done = set(np.flatnonzero(schedule.state == State.DONE).tolist())
        self.out: dict[int, int] = {}  # task -> the seat that is to compute it
        self.holds: dict[int, set[int]] = defaultdict(set)  # seat -> what it has to compute, wanted or not
        self.failures: Counter[int] = Counter()
        self.losses: Counter[int] = Counter()
        self.forgiven: Counter[int] = Counter()  # failures that may have been the fault of seats set aside
        self.unconverged: Counter[int] = Counter()
        self.blamed: dict[int, set[int]] = defaultdict(set)  # task -> seats where it failed
        self.troubled: dict[int, set[int]] = defaultdict(set)  # node -> tasks that crashed or hung there
        self.hopeless: set[int] = set()  # wrong input
        self.wide: set[int] = set()  # ran out of memory once
        self.alone: dict[int, int] = {}  # node -> seat that has it for itself
        self.late: set[int] = set()
        self.stop_at: float | None = None

    def __call__(self, simulation: Simulation, event: Event, commands: Sequence[Command]) -> None:
        self.now = simulation.now
        self.living = set(self.schedule._seats.living())
        self.able = set(self.schedule._candidates(self.now))  # those that may get something
        self.just_taken: set[int] = set()  # those that could until a moment ago
        self._note(event, [c for c in commands if isinstance(c, Keep)])
        self._note_losses()
        for command in commands:
            if isinstance(command, SetAside):
                self._note_set_aside(command)
            if isinstance(command, Send):
                self._check_send(command)
        self._check_places()
        self._check_late()
        self._check_idle_seats()
        self._check_end([c for c in commands if isinstance(c, Finish)])
        assert simulation.kept.max(initial=0) <= 1, "an answer was counted twice"

    # ---- the account ----

    def _note(self, event: Event, keeps: list[Keep]) -> None:
        match event:
            case Answered(seat, tasks):
                (keep,) = keeps
                new = [task not in self.done for task in tasks.tolist()]
                assert keep.wanted.tolist() == new, "every first answer is kept, and no other"
                self.done.update(tasks.tolist())
                self.holds[seat].difference_update(tasks.tolist())
                for task in tasks.tolist():
                    self.out.pop(task, None)
            case Failed(seat, task, kind):
                self.holds[seat].discard(task)
                if self.out.get(task) == seat:
                    del self.out[task]
                    self._note_failure(seat, task, kind)
            case StopAsked(grace):
                self.stop_at = self.now + grace

    def _note_failure(self, seat: int, task: int, kind: Kind) -> None:
        self.failures[task] += 1
        if kind is Kind.CONVERGENCE:
            self.unconverged[task] += 1
        else:
            self.blamed[task].add(seat)
        if kind in (Kind.CRASH, Kind.TIMEOUT):
            self.troubled[self.nodes[seat]].add(task)
        if kind is Kind.INPUT:
            self.hopeless.add(task)
        if kind is Kind.MEMORY:
            self.wide.add(task)

    def _note_losses(self) -> None:
        for seat in [seat for seat in self.holds if seat not in self.living]:
            for task in self.holds.pop(seat):
                if self.out.get(task) == seat:
                    del self.out[task]
                    self.losses[task] += 1
                    self.blamed[task].add(seat)
        self.alone = {node: seat for node, seat in self.alone.items() if self.holds.get(seat)}

    def _note_set_aside(self, command: SetAside) -> None:
        for task, seats in self.blamed.items():
            self.forgiven[task] += not seats.isdisjoint(command.seats)

    # ---- the rules ----

    def _spent(self, task: int, forgiven: int) -> bool:
        """Whether a task may not be tried any more."""
        too_often = self.failures[task] - forgiven > self.schedule.policy.max_retries
        return too_often or self.losses[task] >= LOST_LIMIT or task in self.hopeless

    def _better_elsewhere(self, task: int, seat: int) -> bool:
        """Whether a task has failed at a seat, and one that may get something has not failed at it."""
        return seat in self.blamed[task] and not self.able <= self.blamed[task]

    def _others(self, seat: int) -> set[int]:
        """What the other seats of a seat's node hold."""
        here = [s for s in self.living - {seat} if self.nodes[s] == self.nodes[seat]]
        return {task for other in here for task in self.holds[other]}

    def _check_send(self, send: Send) -> None:
        tasks = send.tasks.tolist()
        node = self.nodes[send.seat]
        assert self.stop_at is None, "something is sent after the stop"
        assert send.seat in self.living, "something is sent to a seat that is gone"
        assert node not in self.alone, "something is sent to a node that is taken"
        assert 0 < len(set(tasks)) == len(tasks), "a batch names a task twice, or none"
        for task, sturdiness in zip(tasks, send.sturdiness.tolist(), strict=True):
            assert task not in self.done, "a task is computed again"
            assert task not in self.out, "a task is sent while another seat computes it"
            assert not self._spent(task, self.forgiven[task]), "a task is tried too often"
            assert not self._better_elsewhere(task, send.seat), "a task is tried again where it failed"
            assert sturdiness == self.unconverged[task], "each try after no convergence is sturdier"
            self.out[task] = send.seat
        expected = self.schedule.model.seconds(send.tasks)
        assert not (self.now + expected > self.until + 1e-9).any(), "a task is begun that cannot end"
        if self.wide.intersection(tasks):
            assert len(tasks) == 1, "a task that needs a node is sent with others"
            assert not self._others(send.seat) | self.holds[send.seat], "such a task is sent to a busy node"
            assert send.width == sum(self.nodes[seat] == node for seat in self.living)
            self.alone[node] = send.seat
            self.just_taken |= {seat for seat in self.living if self.nodes[seat] == node}
        else:
            assert send.width == 1
        self.holds[send.seat].update(tasks)

    def _check_places(self) -> None:
        """Each task is in exactly one place."""
        state = self.schedule.state
        places = {value: np.flatnonzero(state == value).tolist() for value in range(4)}
        assert places[State.DONE] == sorted(self.done), "DONE is what has been answered"
        assert places[State.OUT] == sorted(self.out), "OUT is what a seat computes"
        assert places[State.WAITING] == sorted(self.schedule._queue.tasks), "WAITING is what is in the queue"
        assert all(self._spent(task, 0) for task in places[State.FAILED]), "FAILED has a reason"
        counts = self.schedule.n_done, self.schedule.n_failed, self.schedule.n_waiting
        assert counts == tuple(len(places[s]) for s in (State.DONE, State.FAILED, State.WAITING))

    def _check_late(self) -> None:
        """What is not begun any more could not end in time when that was decided."""
        queue = self.schedule._queue
        late = set(queue.tasks) - set(queue.ready) - set(queue.wide)
        new = np.array(sorted(late - self.late), dtype=np.int64)
        begin = self.now + self.schedule.policy.batch  # a seat may have something to do before it
        assert (begin + self.schedule.model.seconds(new) > self.until).all(), "a task is left for no reason"
        self.late = late

    def _check_idle_seats(self) -> None:
        """Nothing waits while a seat idles, save for a reason."""
        if self.stop_at is not None or self.schedule.finished:
            return
        queue = self.schedule._queue
        idle = [seat for seat in self.living if not self.holds[seat]]
        assert self.able or self.alone or not self.living, "nobody gets anything"
        for seat in idle:
            node = self.nodes[seat]
            if seat not in self.able:
                assert node in self.alone or len(self.troubled[node]) >= STREAK, f"seat {seat} is not used"
        used = [seat for seat in idle if seat in self.able]
        self.able |= self.just_taken  # what they are to do instead is seen to at the next event
        for seat in used:
            for task in queue.ready or ([] if self._others(seat) else queue.wide):
                assert self._better_elsewhere(task, seat), f"seat {seat} idles while task {task} waits"

    def _check_end(self, finishes: list[Finish]) -> None:
        waiting = set(self.schedule._queue.tasks)
        left = bool(waiting or self.out)
        asked = self.stop_at is not None and (not self.out or self.now >= self.stop_at)
        all_late = not self.out and waiting == self.late
        expected = [Finish(stopped=left)] if asked or all_late or not left else []
        assert finishes == expected, "it ends when nothing is left to wait for, and not before"


@dataclass(frozen=True)
class Case:
    """A job on a machine with faults."""

    seed: int
    n_tasks: int
    n_seats: int
    n_nodes: int
    blocks: int
    retries: int
    faults: Faults
    stop_at: float | None
    grace: float
    until: float
    timeout_factor: float | None


def _mostly(usual: object, other: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.just(usual), st.just(usual), other)


def _faults() -> st.SearchStrategy[Faults]:
    rate = st.sampled_from([0.0, 0.05, 0.3])
    tasks = st.frozensets(st.integers(0, MOST_TASKS - 1), max_size=2)
    rates = {field.name: rate for field in fields(Faults) if field.name not in ("poison", "wrong")}
    return st.builds(Faults, poison=tasks, wrong=tasks, **rates)


cases = st.builds(
    Case,
    seed=st.integers(0, 2**32 - 1),
    n_tasks=st.integers(0, MOST_TASKS),
    n_seats=st.integers(1, 7),
    n_nodes=st.integers(1, 3),
    blocks=st.integers(1, 4),
    retries=st.integers(0, 3),
    faults=_faults(),
    stop_at=_mostly(None, st.floats(0.0, 5.0)),
    grace=st.sampled_from([0.0, 0.5, 10.0]),
    until=_mostly(float("inf"), st.floats(0.0, 5.0)),
    timeout_factor=st.sampled_from([None, 3.0]),
)


def play(case: Case, kind: type[Schedule] = Schedule) -> Simulation:
    """Run a case with a ledger watching; also what must hold in the end is checked."""
    rng = np.random.default_rng(case.seed)
    seconds = rng.exponential(0.3, case.n_tasks)
    starts = np.unique(np.append(rng.integers(0, max(case.n_tasks, 1), case.blocks - 1), 0)).astype(np.int64)
    model = CostModel((seconds + 0.01).astype(np.float32), starts)
    done = rng.random(case.n_tasks) < 0.2
    policy = Policy(max_retries=case.retries, silence=5.0, timeout_factor=case.timeout_factor)
    nodes = {seat: seat % case.n_nodes for seat in range(case.n_seats)}
    schedule = kind(model, done, policy, nodes, case.until)
    simulation = Simulation(
        schedule,
        case.n_seats,
        seconds,
        faults=case.faults,
        seed=case.seed,
        tick=0.5,
        stop_at=case.stop_at,
        grace=case.grace,
        watch=Ledger(schedule, nodes, case.until),
    )
    simulation.run(most_events=5_000)
    assert (simulation.kept == (schedule.state == State.DONE) & ~done).all(), "every answer is kept once"
    return simulation
