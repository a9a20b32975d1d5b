"""Weights are those of the definition, term by term, for any family closed under subsets."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from families import by_task, expansions, through_by_definition
from hypothesis import example, given, settings

from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.weights import coefficients, combine, through


def screened(n_fragments: int, **kept: list[list[int]]) -> dict[int, np.ndarray]:
    return {
        k: np.array(kept.get(f"k{k}", []), dtype=np.int16).reshape(-1, k) for k in range(2, n_fragments + 1)
    }


PAIR_ONLY = screened(3, k2=[[0, 1]])
EVERY = ("nocp", "cp", "vmfc")


@settings(max_examples=300, deadline=None)
@given(expansion=expansions(largest=8))
@example(expansion=Expansion(3, EVERY, ((1, 2, 3),), families=PAIR_ONLY))
@example(expansion=Expansion(3, ("vmfc",), ((1, 2, 3),), families=PAIR_ONLY))
@example(expansion=Expansion(3, EVERY, ((1, 2, 3), ()), 1, families=PAIR_ONLY))
@example(expansion=Expansion(3, EVERY, ((1, 2, 3),), 0, families=PAIR_ONLY))
@example(expansion=Expansion(3, EVERY, ((1, 2), (3,), ()), 2))
@example(expansion=Expansion(4, EVERY, ((1,), (2, 3)), families=screened(4)))
def test_weights_are_those_of_the_definition(expansion: Expansion) -> None:
    table = plan(expansion)
    weights = through(table)
    assert tuple(weights) == expansion.treatments
    for treatment, sums in weights.items():
        orders = set(range(1, expansion.max_nbody + 1))
        if expansion.supersystem is not None:
            orders.add(expansion.n_fragments)
        assert set(sums) == orders
        for n, terms in sums.items():
            assert by_task(table, terms) == through_by_definition(expansion, treatment, n), (treatment, n)


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("n_fragments", [2, 3, 5])
def test_supersystem_ie_only_weighs_the_whole_and_the_monomers(n_fragments: int, total: bool) -> None:
    orders = (tuple(range(1, n_fragments + 1)),)
    table = plan(Expansion(n_fragments, ("nocp", "cp"), orders, None, total, True))
    every = tuple(range(n_fragments))
    own = {(0, (i,), (i,)): 1 for i in every}
    weights = through(table)
    assert {n: by_task(table, terms) for n, terms in weights["nocp"].items()} == {
        1: own,
        n_fragments: {(0, every, every): 1},
    }
    monomers = own if total else {}
    interaction = {(0, every, every): 1} | {(0, (i,), every): -1 for i in every}
    assert {n: by_task(table, terms) for n, terms in weights["cp"].items()} == {
        1: monomers,
        n_fragments: interaction | monomers,
    }


@settings(max_examples=100, deadline=None)
@given(expansion=expansions(treatments=("nocp", "vmfc")))
def test_where_all_energies_are_additive_every_order_gives_their_sum(expansion: Expansion) -> None:
    table = plan(expansion)
    for sums in through(table).values():
        for terms in sums.values():
            each = [0] * expansion.n_fragments
            for (_, real, _), weight in by_task(table, terms).items():
                for fragment in real:
                    each[fragment] += weight
            assert each == [1] * expansion.n_fragments


@pytest.mark.parametrize("n_fragments", [10, 400, 2350])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_closed_form_counts_each_fragment_once_however_large_the_cluster(n_fragments: int, n: int) -> None:
    by_size = coefficients(Expansion(n_fragments, ("nocp",), (tuple(range(1, n + 1)),)), n)
    assert sum(int(weight) * comb(n_fragments - 1, k - 1) for k, weight in by_size.items()) == 1


def test_screening_that_keeps_everything_is_no_screening() -> None:
    whole = Expansion(6, EVERY, ((1,), (2, 3)), return_total_data=True)
    families = {k: whole.nmers[k].rows for k in (2, 3)}
    kept = Expansion(6, EVERY, ((1,), (2, 3)), return_total_data=True, families=families)
    first, second = plan(whole), plan(kept)
    for treatment, sums in through(first).items():
        for n, terms in sums.items():
            assert by_task(first, terms) == by_task(second, through(second)[treatment][n])


def test_combining_drops_blocks_that_cancel() -> None:
    each = np.array([1, -2], dtype=np.int64)
    assert combine({0: 1, 1: each}, {2: 3}, minus={0: 1, 1: each}) == {2: 3}
