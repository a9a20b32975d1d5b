"""What the schedule begins, where, and for how long: time limits, whole nodes, the end of the wall time."""

from __future__ import annotations

import numpy as np
import pytest
from test_schedule import answer, sent

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Failed, Finish, Joined, Lost, Send, SetAside, Tick
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import Schedule, State
from qcmb_mpi.farm.simulate import Faults, Simulation
from qcmb_mpi.farm.trust import STREAK


def schedule(n_tasks, policy=None, nodes=None, until=float("inf"), costs=None):
    costs = np.ones(n_tasks, np.float32) if costs is None else np.asarray(costs, np.float32)
    return Schedule(
        CostModel(costs, np.array([0])), np.zeros(n_tasks, bool), policy or Policy(trial=1), nodes, until
    )


def sends(commands) -> list[Send]:
    return [command for command in commands if isinstance(command, Send)]


# ---- time limits


def test_limits_are_the_policys_where_nothing_is_expected():
    limits = Policy(timeout=60.0, timeout_factor=3.0).limits(np.array([np.nan]), np.array([0]))
    assert limits.tolist() == [60.0]


def test_limits_follow_the_expected_time_and_double_with_every_try():
    policy = Policy(timeout=1000.0, timeout_factor=3.0, least_timeout=5.0)
    limits = policy.limits(np.array([0.001, 10.0, 10.0, 10.0, 900.0]), np.array([0, 0, 1, 2, 0]))
    assert limits.tolist() == [5.0, 30.0, 60.0, 120.0, 1000.0]


def test_a_limit_travels_with_its_task():
    s = schedule(3, Policy(trial=1, timeout=50.0))
    (send,) = sends(s.handle(Joined(0), 0.0))
    assert send.limits.tolist() == [50.0] * len(send.tasks)


# ---- tasks that need a node for themselves


def test_what_ran_out_of_memory_comes_back_alone_on_a_node_when_nothing_else_waits():
    s = schedule(4, nodes={0: 0, 1: 0})
    (first,) = sent(s.handle(Joined(0), 0.0))
    (second,) = sent(s.handle(Joined(1), 0.0))
    third = sent(s.handle(Failed(0, first, Kind.MEMORY), 1.0))
    fourth = sent(s.handle(answer(1, second), 2.0))
    assert first not in third + fourth
    assert sends(s.handle(answer(0, *third), 3.0)) == []  # seat 1 is still at work on the node
    (send,) = sends(s.handle(answer(1, *fourth), 4.0))
    assert send.tasks.tolist() == [first]
    assert send.width == 2
    assert send.seat == 1  # not where it failed


def test_a_task_is_alone_on_its_node_only_when_nothing_is_computed_there():
    s = schedule(2, nodes={0: 0, 1: 0, 2: 0})
    (big,) = sent(s.handle(Joined(0), 0.0))
    (other,) = sent(s.handle(Joined(1), 0.0))
    s.handle(Joined(2), 0.0)
    assert sends(s.handle(Failed(0, big, Kind.MEMORY), 1.0)) == []  # seat 2 could, but seat 1 computes
    (send,) = sends(s.handle(answer(1, other), 2.0))
    assert (send.tasks.tolist(), send.width) == ([big], 3)


def test_while_a_task_has_a_node_for_itself_nothing_else_is_begun_there():
    s = schedule(2, nodes={0: 0, 1: 0, 2: 1})
    (big,) = sent(s.handle(Joined(0), 0.0))
    (other,) = sent(s.handle(Joined(2), 0.0))
    (send,) = sends(s.handle(Joined(1), 0.5) + s.handle(Failed(0, big, Kind.MEMORY), 1.0))
    assert (send.seat, send.width) == (1, 2)
    assert sends(s.handle(Failed(2, other, Kind.CRASH), 2.0))[0].seat == 2  # others are paused
    s.handle(answer(1, big), 3.0)
    assert sends(s.handle(Failed(2, other, Kind.CRASH), 4.0))[0].seat in (0, 1)


def test_a_node_is_free_again_when_the_seat_that_had_it_is_lost():
    s = schedule(1, nodes={0: 0, 1: 0})
    s.handle(Joined(0), 0.0)
    s.handle(Joined(1), 0.0)
    (send,) = sends(s.handle(Failed(0, 0, Kind.MEMORY), 1.0))
    assert send.width == 2
    (again,) = sends(s.handle(Lost(send.seat), 2.0))
    assert (again.tasks.tolist(), again.width) == ([0], 1)  # alone, with what is left of the node
    (third,) = sends(s.handle(Joined(send.seat), 2.5) + s.handle(Failed(again.seat, 0, Kind.CRASH), 3.0))
    assert third.width == 2


def test_with_one_seat_a_node_is_that_seat():
    s = schedule(1)
    s.handle(Joined(0), 0.0)
    (send,) = sends(s.handle(Failed(0, 0, Kind.MEMORY), 1.0))
    assert (send.tasks.tolist(), send.width) == ([0], 1)


# ---- seats and nodes that are broken


def test_a_broken_seat_is_set_aside_and_what_failed_there_has_all_its_tries_left():
    s = schedule(40, Policy(trial=1, max_retries=1))
    (lonely,) = sent(s.handle(Joined(1), 0.0))
    at_work = sent(s.handle(Joined(0), 0.0))
    failed = []
    while len(failed) < STREAK:
        (task,) = at_work
        failed.append(task)
        at_work = sent(s.handle(Failed(0, task, Kind.CRASH), 0.1 * len(failed)), seat=0)
    assert at_work == []  # in doubt: nothing more for now
    retried = sent(s.handle(answer(1, lonely), 1.0), seat=1)
    assert retried == failed[:1]
    commands = s.handle(answer(1, *retried), 2.0)
    assert SetAside(frozenset({0})) in commands
    assert s.tries(np.array(failed)).tolist() == [0] * STREAK
    assert sent(s.handle(Tick(), 1e6), seat=0) == []  # however long it idles


def test_a_seat_in_doubt_gets_a_single_task_when_its_pause_is_over():
    s = schedule(1000, Policy(trial=1, max_retries=9))
    for seat in (0, 1):
        tasks = sent(s.handle(Joined(seat), 0.0), seat=seat)
        for _ in range(2):  # the first answer of a seat counts for little
            tasks = sent(s.handle(answer(seat, *tasks, wall=0.01), 0.0), seat=seat)
    assert len(s._seats[0].held) > STREAK  # tasks of 10 ms go out in batches
    while s._seats[0].held:
        commands = s.handle(Failed(0, min(s._seats[0].held), Kind.CRASH), 1.0)
    assert sent(commands, seat=0) == []
    assert len(sent(s.handle(Tick(), 100.0), seat=0)) == 1


def test_tasks_that_fail_everywhere_are_not_blamed_on_a_seat():
    seconds = np.full(60, 0.1)
    s = schedule(60, Policy(trial=1), nodes={0: 0, 1: 1, 2: 2})
    told = []
    handle = s.handle
    s.handle = lambda event, now: [told.append(c) or c for c in handle(event, now)]  # type: ignore[method-assign]
    simulation = Simulation(s, 3, seconds, faults=Faults(poison=frozenset(range(8))), tick=0.1)
    assert simulation.run() == Finish(stopped=False)
    assert s.n_failed == 8
    assert not [c for c in told if isinstance(c, SetAside)]


# ---- the end of the wall time


def test_a_task_that_cannot_end_in_time_is_not_begun_and_shorter_ones_are():
    s = schedule(4, until=10.0, costs=[8.0, 1.0, 1.0, 4.0])
    assert sent(s.handle(Joined(0), 0.0)) == [0]  # nobody knows how long it takes
    assert sent(s.handle(answer(0, 0, wall=4.0), 4.0)) == [3]
    after = s.handle(answer(0, 3, wall=4.0), 8.5)  # a second for each unit of cost
    assert len(sent(after)) == 1
    assert sent(after)[0] in (1, 2)
    assert s.handle(answer(0, *sent(after), wall=1.0), 9.5)[-1] == Finish(stopped=True)
    assert (s.state == State.WAITING).sum() == 1


@pytest.mark.parametrize("until", [0.05, 1.0, 3.3])
def test_no_task_is_out_when_the_time_is_over(until):
    seconds = np.linspace(0.05, 0.5, 200)
    s = schedule(200, Policy(trial=1, seats=4), until=until, costs=seconds)
    simulation = Simulation(s, 4, seconds, tick=0.01)
    assert simulation.run() == Finish(stopped=True)
    assert (s.state == State.OUT).sum() == 0
    assert simulation.now < until + 0.6  # the first ones were begun before anything was known
    assert until < 1 or simulation.busy > 0.8 * 4 * until
