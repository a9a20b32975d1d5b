"""What a plan will cost: exact where the times are known, cautious where they are not."""

from __future__ import annotations

import heapq
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.kinds import count_kinds, sort_fragments
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.prediction import MASTER, Model, Point, bill, makespan, wall
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.farm.simulate import Simulation

FEW = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 7.5]), st.integers(0, 40)), max_size=5)

MANY = st.lists(st.tuples(st.floats(1e-4, 1e3), st.integers(1, 10**7)), min_size=1, max_size=6)


def one_by_one(seconds, counts, ranks: int) -> float:
    """The longest task left goes to the least loaded rank, one after the other."""
    loads = [0.0] * ranks
    for duration in sorted(np.repeat(seconds, counts).tolist(), reverse=True):
        heapq.heapreplace(loads, loads[0] + duration)
    return max(loads)


@settings(max_examples=300, deadline=None)
@given(FEW, st.integers(1, 30))
def test_the_makespan_is_that_of_handing_out_task_by_task(kinds, ranks) -> None:
    seconds, counts = np.array([s for s, _ in kinds]), np.array([n for _, n in kinds], dtype=np.int64)
    assert makespan(seconds, counts, ranks) == one_by_one(seconds, counts, ranks)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1e-4, 1e3), st.integers(1, 10**7)), min_size=1, max_size=6),
    st.integers(1, 3000),
)
def test_no_makespan_is_below_the_work_or_the_longest_task_nor_far_above(kinds, ranks) -> None:
    seconds, counts = np.array([s for s, _ in kinds]), np.array([n for _, n in kinds], dtype=np.int64)
    work, longest = float(seconds @ counts) / ranks, float(seconds.max())
    found = makespan(seconds, counts, ranks)
    assert max(work, longest) * (1 - 1e-9) <= found <= (work + longest) * (1 + 1e-9)


def test_millions_of_tasks_on_ten_thousand_ranks_are_predicted_at_once() -> None:
    seconds = np.linspace(0.01, 5.0, 100)
    begin = time.monotonic()
    makespan(seconds, np.full(100, 100_000), 10_000)
    assert time.monotonic() - begin < 10.0


def some_kinds(n_fragments: int = 12, treatments=("nocp",), levels: int = 1):
    orders = ((1, 2, 3),) if levels == 1 else ((1, 2), (3,))
    table = plan(Expansion(n_fragments, treatments, orders, return_total_data=True))
    sizes = np.full((levels, n_fragments), 10.0)
    sorts = sort_fragments(sizes, np.arange(n_fragments + 1), np.ones(n_fragments, dtype=np.int64))
    return table, count_kinds(table, sorts)


def points(kinds, seconds) -> list[Point]:
    return [
        Point(*kinds.block(k), float(kinds.functions[k]), seconds[k])
        for k in range(len(kinds))
        if seconds[k] is not None
    ]


@pytest.mark.parametrize("seats", [1, 8, 64])
def test_the_real_schedule_needs_the_predicted_time(seats: int) -> None:
    table, kinds = some_kinds(12)
    known = [0.5, 2.0, 5.0]
    model = Model(points(kinds, known))
    each = np.concatenate([np.full(block.size, s) for block, s in zip(table.blocks, known, strict=True)])
    costs = CostModel(each.astype(np.float32), table.starts)
    schedule = Schedule(costs, np.zeros(table.n_tasks, dtype=bool), Policy(seats=seats))
    simulation = Simulation(schedule, seats, each)
    simulation.run()
    predicted = wall(kinds, model, seats)
    assert bill(kinds, model).seconds == pytest.approx(each.sum())
    assert bill(kinds, model).extrapolated == 0
    assert simulation.now == pytest.approx(predicted.seconds, rel=0.05)
    assert predicted.busy == pytest.approx(each.sum() / (seats * predicted.seconds))


def test_what_is_not_measured_grows_with_the_slope_of_the_largest_that_is() -> None:
    _, kinds = some_kinds()
    size = kinds.functions
    seconds, measured = Model(points(kinds, [2e-6 * size[0] ** 5, 2e-6 * size[1] ** 5, None])).seconds(kinds)
    assert measured.tolist() == [True, True, False]
    assert seconds[2] == pytest.approx(2e-6 * size[2] ** 5)


@pytest.mark.parametrize(("slope", "taken"), [(0.2, 3.0), (4.0, 4.0), (40.0, 7.0)])
def test_neither_small_tasks_nor_noise_make_a_power_that_no_method_has(slope, taken) -> None:
    _, kinds = some_kinds()
    size = kinds.functions
    model = Model(points(kinds, [1.0, float(size[1] / size[0]) ** slope, None]))
    assert model.power(0) == pytest.approx(taken)


def test_a_level_of_which_nothing_is_known_is_like_the_others() -> None:
    _, kinds = some_kinds(levels=2)
    first = kinds.level.tolist().index(0)
    known = [1.0 if k == first else None for k in range(len(kinds))]
    seconds, measured = Model(points(kinds, known)).seconds(kinds)
    assert measured.tolist() == [k == first for k in range(len(kinds))]
    assert seconds == pytest.approx((kinds.functions / kinds.functions[first]) ** 3)


def test_a_task_that_was_stopped_tells_how_long_its_like_take_at_least() -> None:
    _, kinds = some_kinds()
    stopped = Point(*kinds.block(1), float(kinds.functions[1]), 500.0, at_least=True)
    seconds, measured = Model([*points(kinds, [1.0, None, None]), stopped]).seconds(kinds)
    assert measured.tolist() == [True, False, False]
    assert seconds.tolist() == [1.0, 500.0, 500.0]
    with pytest.raises(ValueError, match="nothing"):
        Model([stopped])


def test_many_short_tasks_take_as_long_as_the_master_needs_to_hand_them_out() -> None:
    _, kinds = some_kinds(60)
    model = Model(points(kinds, [1e-4, 1e-4, 1e-4]))
    assert wall(kinds, model, 4096, warm_up=0.5).seconds == pytest.approx(MASTER * kinds.n_tasks + 0.5)
    assert bill(kinds, model).useful_ranks == int(1e-4 / MASTER)
    longer = Model(points(kinds, [1.0, 1.0, 40.0]))
    assert bill(kinds, longer).useful_ranks == int(bill(kinds, longer).seconds / 40.0)
