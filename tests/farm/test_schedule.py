"""The rules of the schedule, one by one; what holds whatever goes wrong is in test_simulation.py."""

from __future__ import annotations

import numpy as np
import pytest

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import (
    Answered,
    Back,
    Failed,
    Finish,
    Joined,
    Keep,
    Lost,
    Send,
    Silent,
    StopAsked,
    Tick,
)
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import LOST_LIMIT, Schedule, State
from qcmb_mpi.farm.simulate import Faults, Simulation


def schedule(
    n_tasks: int, policy: Policy | None = None, done: list[int] | None = None, costs=None
) -> Schedule:
    mask = np.zeros(n_tasks, dtype=bool)
    mask[done or []] = True
    costs = np.ones(n_tasks, dtype=np.float32) if costs is None else np.asarray(costs, dtype=np.float32)
    return Schedule(CostModel(costs, np.array([0])), mask, policy or Policy(trial=1))


def sent(commands, seat: int | None = None) -> list[int]:
    sends = [c for c in commands if isinstance(c, Send) and seat in (None, c.seat)]
    return [task for command in sends for task in command.tasks.tolist()]


def answer(seat: int, *tasks: int, wall: float = 1.0) -> Answered:
    return Answered(seat, np.array(tasks, dtype=np.int64), np.full(len(tasks), wall))


def kept(commands) -> list[bool]:
    return next(c.wanted.tolist() for c in commands if isinstance(c, Keep))


def test_the_most_expensive_task_goes_first():
    s = schedule(4, costs=[1.0, 8.0, 2.0, 4.0])
    assert sent(s.handle(Joined(0), 0.0)) == [1]


def test_before_anything_is_measured_a_seat_gets_one_task():
    s = schedule(1000)
    assert len(sent(s.handle(Joined(0), 0.0))) == 1


def test_with_very_many_tasks_a_seat_is_measured_with_a_few():
    s = schedule(1000, Policy(trial=16, seats=2))
    assert len(sent(s.handle(Joined(0), 0.0))) == 10
    assert len(sent(s.handle(Joined(1), 0.0))) == 1  # the lane is on trial already


def warmed_up(s: Schedule, wall: float) -> list[int]:
    """What seat 0 is sent once it has answered twice (the first time counts for little)."""
    tasks = sent(s.handle(Joined(0), 0.0))
    tasks = sent(s.handle(answer(0, *tasks, wall=5 * wall), 0.0))
    return sent(s.handle(answer(0, *tasks, wall=wall), 0.0))


def test_short_tasks_go_out_in_batches_worth_a_second_at_most():
    assert 500 <= len(warmed_up(schedule(100_000), 0.001)) <= 1000


def test_the_first_task_of_a_seat_takes_longer_and_is_not_believed():
    s = schedule(100)
    warmed_up(s, 0.001)
    assert s.model.seconds(np.array([99])) == pytest.approx(0.001)


def test_the_next_batch_comes_before_the_last_one_ends():
    s = schedule(10_000)
    ends = 0.01 * len(warmed_up(s, 0.01))
    assert s.next_due < ends
    assert sent(s.handle(Tick(), s.next_due))


def test_nothing_is_queued_behind_a_task_of_unknown_duration():
    s = schedule(1000)
    assert len(sent(s.handle(Joined(0), 0.0))) == 1
    assert sent(s.handle(Tick(), 1000.0)) == []


def test_every_lane_is_measured_before_the_rest_goes_out():
    costs = np.array([1.0] * 50 + [8.0] * 50 + [27.0] * 50, dtype=np.float32)
    s = Schedule(CostModel(costs, np.array([0, 50, 100])), np.zeros(150, bool), Policy())
    first = [sent(s.handle(Joined(seat), 0.0)) for seat in range(3)]
    assert [len(tasks) for tasks in first] == [1, 1, 1]
    assert {int(tasks[0]) // 50 for tasks in first} == {0, 1, 2}


def test_done_tasks_are_not_computed_again():
    s = schedule(3, done=[0, 2])
    assert sent(s.handle(Joined(0), 0.0)) == [1]
    assert Finish(stopped=False) in s.handle(answer(0, 1), 1.0)


def test_a_crash_is_retried_at_another_seat():
    s = schedule(1)
    assert sent(s.handle(Joined(0), 0.0)) == [0]
    s.handle(Joined(1), 0.0)
    assert sent(s.handle(Failed(0, 0, Kind.CRASH), 1.0)) == [0]
    assert s.state[0] == State.OUT
    assert 0 in s._seats[1].held


def test_a_crash_is_retried_at_the_same_seat_if_there_is_no_other():
    s = schedule(1)
    s.handle(Joined(0), 0.0)
    assert sent(s.handle(Failed(0, 0, Kind.CRASH), 1.0), seat=0) == [0]


def test_no_convergence_is_retried_with_a_sturdier_method():
    s = schedule(1)
    s.handle(Joined(0), 0.0)
    (send,) = (c for c in s.handle(Failed(0, 0, Kind.CONVERGENCE), 1.0) if isinstance(c, Send))
    assert send.sturdiness.tolist() == [1]


def test_wrong_input_is_never_retried():
    s = schedule(1)
    s.handle(Joined(0), 0.0)
    assert s.handle(Failed(0, 0, Kind.INPUT), 1.0) == [Finish(stopped=False)]
    assert s.n_failed == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_task_is_tried_once_more_than_max_retries(retries):
    s = schedule(1, Policy(max_retries=retries))
    s.handle(Joined(0), 0.0)
    for _ in range(retries):
        assert sent(s.handle(Failed(0, 0, Kind.CRASH), 1.0)) == [0]
    assert Finish(stopped=False) in s.handle(Failed(0, 0, Kind.CRASH), 1.0)


def test_a_lost_seat_costs_its_tasks_no_retry():
    s = schedule(1, Policy(max_retries=0))
    s.handle(Joined(0), 0.0)
    s.handle(Joined(1), 0.0)
    assert sent(s.handle(Lost(0), 1.0), seat=1) == [0]


def test_a_task_that_took_several_seats_with_it_is_set_aside():
    s = schedule(1)
    for seat in range(LOST_LIMIT + 1):
        s.handle(Joined(seat), 0.0)
    for seat in range(LOST_LIMIT):
        s.handle(Lost(seat), 1.0)
    assert s.state[0] == State.FAILED


def test_a_silent_seat_is_not_believed_any_more_and_its_late_answer_is_still_taken():
    s = schedule(2, Policy(silence=10.0), costs=[1.0, 1.0])
    (held,) = sent(s.handle(Joined(0), 0.0))
    (other,) = sent(s.handle(Joined(1), 0.0))
    s.handle(answer(1, other), 9.0)
    commands = s.handle(Tick(), 11.0)
    assert sent(commands, seat=1) == [held]
    assert Silent(0) in commands
    commands = s.handle(answer(0, held), 12.0)
    assert kept(commands) == [True]
    assert Back(0) in commands
    assert kept(s.handle(answer(1, held), 13.0)) == [False]
    assert s.n_done == 2


def test_after_a_stop_nothing_goes_out_and_what_arrives_is_taken():
    s = schedule(2)
    s.handle(Joined(0), 0.0)
    assert s.handle(StopAsked(grace=10.0), 1.0) == []
    commands = s.handle(answer(0, 0), 2.0)
    assert kept(commands) == [True]
    assert sent(commands) == []
    assert commands[-1] == Finish(stopped=True)


def test_a_stop_does_not_wait_longer_than_its_grace():
    s = schedule(2)
    s.handle(Joined(0), 0.0)
    s.handle(StopAsked(grace=10.0), 1.0)
    assert s.handle(Tick(), 10.9) == []
    assert s.handle(Tick(), 11.0) == [Finish(stopped=True)]


@pytest.mark.parametrize(("milliseconds", "n_tasks"), [(1, 20_000), (10, 2_000), (100, 200), (1000, 64)])
def test_two_seats_are_busy_nearly_all_the_time(milliseconds, n_tasks):
    seconds = np.full(n_tasks, milliseconds / 1000)
    simulation = Simulation(schedule(n_tasks), 2, seconds, latency=0.1, report=0.2)
    simulation.run()
    lost = 2 * simulation.now - simulation.busy
    assert lost < 2 * (7 * 0.2 + 2 * milliseconds / 1000)  # the first round trips and the tail


def test_a_thousand_seats_stay_busy_until_the_tail():
    rng = np.random.default_rng(1)
    seconds = rng.uniform(1.0, 100.0, 5_000)
    s = schedule(5_000, Policy(seats=1000), costs=seconds)
    simulation = Simulation(s, 1000, seconds)
    simulation.run()
    assert simulation.busy / (1000 * simulation.now) > 0.95


def test_a_seat_that_hangs_gets_no_more_than_one_batch_behind():
    s = schedule(1000)
    warmed_up(s, 10.0)
    for second in range(1, 100):
        s.handle(Tick(), 0.5 * second)
    assert len(s._seats[0].held) == 2


def test_a_slow_seat_is_not_what_the_others_wait_for_in_the_end():
    seconds = np.full(3000, 0.2)
    simulation = Simulation(schedule(3000), 20, seconds, faults=Faults(slow=0.1), seed=5)
    simulation.run()
    assert simulation.busy / simulation.available > 0.9
    assert simulation.busy > 1.05 * seconds.sum()  # there was one


def test_after_a_stop_the_schedule_wants_to_be_asked_again_when_the_grace_is_over():
    s = schedule(10_000)
    warmed_up(s, 0.01)
    s.handle(StopAsked(grace=10.0), 0.0)
    assert s.next_due == 10.0
