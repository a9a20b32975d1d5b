"""The table of tasks: every task once, however it is looked at."""

from __future__ import annotations

import json
from itertools import combinations as by_python

import numpy as np
import pytest
from families import Task, by_task, expansions, kept_nmers, subsets, through_by_definition
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.expansion.plan import Expansion, combinations, plan
from qcmb_mpi.expansion.weights import through


@pytest.mark.parametrize("n", range(1, 9))
def test_combinations_are_those_of_itertools_in_the_same_order(n: int) -> None:
    for k in range(1, n + 2):
        rows = combinations(n, k)
        assert rows.shape[1] == k
        assert [tuple(row) for row in rows.tolist()] == list(by_python(range(n), k))


def test_combinations_of_many_fragments_do_not_overflow() -> None:
    rows = combinations(40_000, 1)
    assert rows[-1, 0] == 39_999
    assert combinations(300, 2)[-1].tolist() == [298, 299]


def planned(expansion: Expansion) -> set[Task]:
    """The tasks of an expansion without supersystem, from the definition of each treatment."""
    everything = tuple(range(expansion.n_fragments))
    tasks: set[Task] = set()
    for level, orders in enumerate(expansion.orders):
        nmers = kept_nmers(expansion, orders[-1])
        if "nocp" in expansion.treatments:
            tasks |= {(level, nmer, nmer) for nmer in nmers}
        if "cp" in expansion.treatments and orders[-1] > 1:
            tasks |= {(level, nmer, everything) for nmer in nmers}
        if "vmfc" in expansion.treatments:
            tasks |= {(level, real, nmer) for nmer in nmers if len(nmer) in orders for real in subsets(nmer)}
        if expansion.has_monomers(level):
            tasks |= {(level, (i,), (i,)) for i in everything}
    return tasks


@settings(max_examples=150, deadline=None)
@given(expansion=expansions())
def test_every_task_is_there_once(expansion: Expansion) -> None:
    table = plan(expansion)
    tasks = [table.members(task) for task in range(table.n_tasks)]
    assert len(tasks) == len(set(tasks))
    if expansion.supersystem is None:
        assert set(tasks) == planned(expansion)
    else:
        everything = tuple(range(expansion.n_fragments))
        assert (expansion.supersystem, everything, everything) in tasks


@settings(max_examples=100, deadline=None)
@given(expansion=expansions())
def test_every_task_with_a_weight_is_planned_and_no_block_is_empty(expansion: Expansion) -> None:
    table = plan(expansion)
    tasks = {table.members(task) for task in range(table.n_tasks)}
    for treatment, sums in through(table).items():
        for n, terms in sums.items():
            assert by_task(table, terms).keys() <= tasks
            assert through_by_definition(expansion, treatment, n).keys() <= tasks
    assert all(block.size for block in table.blocks)


@settings(max_examples=100, deadline=None)
@given(expansion=expansions(), data=st.data())
def test_blocks_slices_rows_members_and_labels_agree(expansion: Expansion, data: st.DataObject) -> None:
    table = plan(expansion)
    names = [f"level {i}" for i in range(len(expansion.orders))]
    begin = 0
    for number, block in enumerate(table.blocks):
        assert block.start == begin == table.starts[number]
        assert block.tasks == slice(begin, begin + block.size)
        assert table.index[block.level, block.n_real, block.n_basis] == number
        begin += block.size
        real, basis = block.real(), block.basis()
        assert real.shape == (block.size, block.n_real)
        assert basis.shape == (block.size, block.n_basis)
        rows = np.array(data.draw(st.lists(st.integers(0, block.size - 1), max_size=5)), dtype=np.int64)
        np.testing.assert_array_equal(block.real(rows), real[rows])
        np.testing.assert_array_equal(block.basis(rows), basis[rows])
        part = slice(block.size // 3, block.size // 2)
        np.testing.assert_array_equal(block.real(part), real[part])
        np.testing.assert_array_equal(block.basis(part), basis[part])
        for row in rows:
            task = block.start + int(row)
            assert table.block_of(task) is block
            level, reals, bases = table.members(task)
            assert (level, list(reals), list(bases)) == (block.level, real[row].tolist(), basis[row].tolist())
            assert set(reals) <= set(bases)
            label = json.loads(table.label(task, names))
            assert label == [names[level], [i + 1 for i in reals], [i + 1 for i in bases]]
    assert table.n_tasks == begin


@settings(max_examples=100, deadline=None)
@given(expansion=expansions(), data=st.data())
def test_split_sorts_tasks_into_their_blocks(expansion: Expansion, data: st.DataObject) -> None:
    table = plan(expansion)
    if not table.n_tasks:
        return
    tasks = np.array(data.draw(st.lists(st.integers(0, table.n_tasks - 1), max_size=20)), dtype=np.int64)
    seen = np.zeros(len(tasks), dtype=int)
    for block, positions in table.split(tasks):
        seen[positions] += 1
        assert all(table.block_of(int(task)) is block for task in tasks[positions])
    assert (seen == 1).all()


def test_counts_of_a_large_cluster_need_no_enumeration() -> None:
    table = plan(Expansion(2350, ("nocp",), ((1, 2, 3),)))
    assert table.n_tasks == 2350 + 2350 * 2349 // 2 + 2350 * 2349 * 2348 // 6 > 2**31
    assert not any("rows" in vars(block.family) for block in table.blocks)
