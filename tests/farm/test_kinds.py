"""Kinds of tasks: counted without listing them, they are those that a list would give."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.screen import families
from qcmb_mpi.farm.cost import POWER, estimated_costs
from qcmb_mpi.farm.kinds import ALIKE, MOST_SORTS, Sorts, count_kinds, draw, representatives, sort_fragments

LEVELS = [(((1, 2, 3),), None), (((1,), (2, 3)), None), (((1, 2), ()), 1)]


@st.composite
def cases(draw_from: st.DrawFn):
    """A plan, half of the time screened, and the sorts of its fragments."""
    n = draw_from(st.integers(3, 7))
    orders, supersystem = draw_from(st.sampled_from(LEVELS))
    treatments = draw_from(st.lists(st.sampled_from(["nocp", "cp", "vmfc"]), min_size=1, unique=True))
    random = np.random.default_rng(draw_from(st.integers(0, 1000)))
    kept = None
    if draw_from(st.booleans()):
        points = random.random((n, 3))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        kept = families(distances, {2: 0.8, 3: 0.6}, max(orders[0]) if len(orders) == 1 else 3)
    expansion = Expansion(n, tuple(treatments), orders, supersystem, draw_from(st.booleans()), families=kept)
    of_fragment = random.integers(0, 3, n)
    sizes = np.array([[5.0, 7.0, 19.0], [30.0, 31.0, 90.0]])[: len(orders), of_fragment]
    offsets = np.concatenate([[0], np.cumsum(np.array([1, 3, 3])[of_fragment])])
    return plan(expansion), sort_fragments(sizes, offsets, np.ones(n, dtype=np.int64)), sizes


def make(sorts: Sorts, members) -> tuple[int, ...]:
    return tuple(np.bincount(sorts.of_fragment[list(members)], minlength=len(sorts.atoms)).tolist())


@settings(max_examples=80, deadline=None)
@given(cases())
def test_kinds_are_counted_as_if_every_task_had_been_looked_at(case) -> None:
    table, sorts, sizes = case
    kinds = count_kinds(table, sorts)
    listed: Counter = Counter()
    for task in range(table.n_tasks):
        level, real, basis = table.members(task)
        ghosts = set(basis) - set(real)
        listed[level, len(real), len(basis), make(sorts, real), make(sorts, ghosts)] += 1
    counted = {
        (*kinds.block(k), tuple(kinds.real[k].tolist()), tuple(kinds.ghosts[k].tolist())): int(kinds.count[k])
        for k in range(len(kinds))
    }
    assert counted == listed
    # and they weigh what the farm expects of the tasks
    costs = estimated_costs(table, sizes).astype(float).sum()
    assert (kinds.count * kinds.functions**POWER).sum() == pytest.approx(costs, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 100))
def test_what_is_drawn_is_a_task_of_that_kind(case, seed) -> None:
    table, sorts, _ = case
    kinds = count_kinds(table, sorts)
    for kind in range(len(kinds)):
        for real, basis in draw(kinds, kind, 3, table, sorts, np.random.default_rng(seed)):
            assert table.find(int(kinds.level[kind]), real.tolist(), basis.tolist()) is not None
            assert make(sorts, real) == tuple(kinds.real[kind].tolist())
            assert make(sorts, set(basis.tolist()) - set(real.tolist())) == tuple(kinds.ghosts[kind].tolist())


@settings(max_examples=40, deadline=None)
@given(cases())
def test_every_kind_has_a_representative_of_nearly_its_size(case) -> None:
    table, sorts, _ = case
    kinds = count_kinds(table, sorts)
    chosen = representatives(kinds, range(len(kinds)))
    assert len(chosen) == len(set(chosen))
    for kind in range(len(kinds)):
        sizes = [kinds.functions[c] for c in chosen if kinds.block(c) == kinds.block(kind)]
        apart = np.abs(np.log(kinds.functions[kind] / np.array(sizes))).min()
        assert apart <= np.log(ALIKE) + 1e-12
    cheapest = {int(kinds.level[c]): c for c in sorted(chosen, key=lambda c: -kinds.functions[c])}
    assert sorted(chosen[: len(cheapest)]) == sorted(cheapest.values())
    others = chosen[len(cheapest) :]
    assert others == sorted(others, key=lambda c: kinds.functions[c])


def test_only_wanted_kinds_are_represented() -> None:
    sorts = sort_fragments(np.ones((1, 5)), np.arange(6), np.ones(5, dtype=np.int64))
    kinds = count_kinds(plan(Expansion(5, ("nocp", "cp"), ((1, 2),))), sorts)
    assert set(representatives(kinds, [1, 3])) == {1, 3}


def test_billions_of_tasks_are_counted_at_once_and_never_listed() -> None:
    n = 2000
    sizes = np.where(np.arange(n) % 3, 13.0, 30.0)[None]
    sorts = sort_fragments(sizes, 3 * np.arange(n + 1), np.ones(n, dtype=np.int64))
    begin = time.monotonic()
    table = plan(Expansion(n, ("nocp", "cp", "vmfc"), ((1, 2, 3),), return_total_data=True))
    kinds = count_kinds(table, sorts)
    assert kinds.n_tasks == table.n_tasks > 10**10
    assert all("rows" not in vars(block.family) for block in table.blocks)
    assert time.monotonic() - begin < 10.0


def test_fragments_of_many_sizes_are_taken_together_without_changing_the_whole() -> None:
    sizes = np.array([np.arange(10.0, 60.0), 3 * np.arange(10.0, 60.0)])
    sorts = sort_fragments(sizes, np.arange(51), np.ones(50, dtype=np.int64))
    assert sorts.sizes.shape == (2, MOST_SORTS)
    assert (np.diff(sorts.of_fragment) >= 0).all()
    assert (sorts.sizes * sorts.counts).sum(axis=1) == pytest.approx(sizes.sum(axis=1))


def test_a_radical_is_a_sort_of_its_own() -> None:
    sorts = sort_fragments(np.full((1, 3), 7.0), np.arange(4), np.array([1, 2, 1]))
    assert sorts.of_fragment.tolist() == [0, 1, 0]
