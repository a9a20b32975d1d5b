"""Increments: as defined, set by set, and adding up to what each body order contributes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from families import expansions, subsets
from hypothesis import given
from hypothesis import strategies as st

from qcmb_mpi.expansion.assemble import Assembly
from qcmb_mpi.expansion.exact import rounded
from qcmb_mpi.expansion.increments import increments, largest_of_pairs
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.weights import through


@given(expansions(), st.integers(0, 2**32 - 1))
def test_increments_are_as_defined_and_add_up(expansion, seed):
    table = plan(expansion)
    energies = np.random.default_rng(seed).uniform(-80, -70, table.n_tasks)
    number = {table.members(task): task for task in range(table.n_tasks)}
    whole = tuple(range(expansion.n_fragments))
    assembly = Assembly(table, through(table))
    for block in table.blocks:
        assembly.add(np.arange(block.start, block.start + block.size), energies[block.tasks])
    sums = assembly.exact()
    seen = set()
    for one in increments(table, energies):
        seen.add((one.treatment, one.n))
        for nmer, value in zip(map(tuple, one.nmers.tolist()), one.values, strict=True):
            expected = 0.0
            for real in subsets(nmer):
                basis = {"nocp": real, "cp": whole if one.n > 1 else nmer, "vmfc": nmer}[one.treatment]
                expected += (-1) ** (one.n - len(real)) * energies[number[one.level, real, basis]]
            assert abs(value - expected) < 1e-11
        of = sums[one.treatment]
        contribution = of[one.n] - of[one.n - 1] if one.n > 1 else of[1]
        if not (expansion.supersystem is not None and one.n == expansion.n_fragments):
            assert abs(one.values.sum() - rounded(contribution)[0]) < 1e-9
    for treatment in expansion.treatments:
        for n in range(2, expansion.max_nbody + 1):
            if expansion.nmers[n].size:
                assert (treatment, n) in seen


def test_an_increment_is_unknown_until_all_its_tasks_are_there():
    table = plan(Expansion(4, ("nocp",), ((1, 2, 3),)))
    energies = np.arange(1.0, table.n_tasks + 1)
    energies[table.blocks[1].start] = np.nan  # the dimer of the first two fragments
    of = {one.n: one for one in increments(table, energies)}
    assert np.isnan(of[2].values).tolist() == [True] + 5 * [False]
    assert np.isnan(of[3].values).tolist() == [True, True, False, False]
    assert of[3].n_known == 2


def test_the_distance_of_a_trimer_is_the_largest_of_its_pairs():
    places = np.array([0.0, 1.0, 3.0, 7.0])
    matrix = np.abs(places[:, None] - places[None, :])
    trimers = np.array(list(combinations(range(4), 3)))
    assert largest_of_pairs(matrix, trimers).tolist() == [3.0, 7.0, 7.0, 6.0]
    assert np.isnan(largest_of_pairs(matrix, np.array([[0]]))).all()
