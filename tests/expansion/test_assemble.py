"""The assembled number is the exact one, whatever the order in which answers arrive."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import isclose, sqrt

import numpy as np
from families import by_task, expansions
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.expansion.assemble import Assembly, coordinates, error_growth, hessian_elements, ready
from qcmb_mpi.expansion.exact import SCALE, rounded
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.weights import through

SEEDS = st.integers(0, 2**32 - 1)


def pieces(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """The numbers below n in random order, cut at random places."""
    cuts = np.sort(rng.integers(0, n + 1, rng.integers(0, 5)))
    return np.split(rng.permutation(n), cuts)


@settings(max_examples=150, deadline=None)
@given(expansion=expansions(largest=7), seed=SEEDS)
def test_energies_are_rational_sums_rounded_once_for_any_order_of_arrival(
    expansion: Expansion, seed: int
) -> None:
    table, rng = plan(expansion), np.random.default_rng(seed)
    weights = through(table)
    energies = rng.normal(size=table.n_tasks) * 10.0 ** rng.integers(-8, 5, table.n_tasks)
    assemblies = [Assembly(table, weights), Assembly(table, weights)]
    for block in table.blocks:
        tasks = np.arange(block.start, block.start + block.size)
        assemblies[0].add(tasks, energies[tasks])
    for piece in pieces(rng, table.n_tasks):
        for _, positions in table.split(piece):
            assemblies[1].add(piece[positions], energies[piece[positions]])
    at_once, as_they_come = (assembly.exact() for assembly in assemblies)
    number = {table.members(task): task for task in range(table.n_tasks)}
    for treatment, sums in weights.items():
        for n, terms in sums.items():
            exact = sum(
                weight * Fraction(energies[number[task]]) for task, weight in by_task(table, terms).items()
            )
            assert Fraction(at_once[treatment][n][0], 2**SCALE) == exact
            assert rounded(at_once[treatment][n])[0] == float(exact)
            assert as_they_come[treatment][n][0] == at_once[treatment][n][0]


@settings(max_examples=60, deadline=None)
@given(expansion=expansions(largest=4), sizes=st.lists(st.integers(1, 3), min_size=4, max_size=4), seed=SEEDS)
def test_derivatives_are_scattered_through_the_atoms_of_each_task(
    expansion: Expansion, sizes: list[int], seed: int
) -> None:
    table, rng = plan(expansion), np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes[: expansion.n_fragments])]).astype(np.int64)
    width = 3 * int(offsets[-1])
    weights = through(table)
    gradients = {}
    for task in range(table.n_tasks):
        n_atoms = sum(sizes[fragment] for fragment in table.members(task)[2])
        gradients[table.members(task)] = rng.normal(size=(n_atoms, 3))
    assembly = Assembly(table, weights, width)
    for piece in pieces(rng, table.n_tasks):
        for block, positions in table.split(piece):
            tasks = piece[positions]
            for group, addresses in coordinates(block.basis(tasks - block.start), offsets):
                values = np.array([gradients[table.members(int(task))].reshape(-1) for task in tasks[group]])
                assembly.add(tasks[group], values, addresses)
    assembled = assembly.exact()
    for treatment, sums in weights.items():
        for n, terms in sums.items():
            wanted = [Fraction(0)] * width
            for members, weight in by_task(table, terms).items():
                atoms = [atom for f in members[2] for atom in range(offsets[f], offsets[f + 1])]
                for atom, row in zip(atoms, gradients[members], strict=True):
                    for axis in range(3):
                        wanted[3 * atom + axis] += weight * Fraction(row[axis])
            assert [Fraction(number, 2**SCALE) for number in assembled[treatment][n]] == wanted


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=3, max_size=6), n=st.integers(1, 3), seed=SEEDS)
def test_coordinates_and_hessian_elements_lie_where_a_plain_loop_finds_them(
    sizes: list[int], n: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    width = 3 * int(offsets[-1])
    basis = np.array([np.sort(rng.permutation(len(sizes))[:n]) for _ in range(7)], dtype=np.int16)
    seen = []
    for positions, addresses in coordinates(basis, offsets):
        elements = hessian_elements(addresses, width)
        for position, mine, pairs in zip(positions, addresses, elements, strict=True):
            seen.append(int(position))
            atoms = [atom for f in basis[position] for atom in range(offsets[f], offsets[f + 1])]
            wanted = [3 * atom + axis for atom in atoms for axis in range(3)]
            assert mine.tolist() == wanted
            assert pairs.tolist() == [row * width + column for row in wanted for column in wanted]
    assert sorted(seen) == list(range(len(basis)))


@settings(max_examples=100, deadline=None)
@given(expansion=expansions(), seed=SEEDS)
def test_data_are_ready_once_every_task_with_a_weight_is_done(expansion: Expansion, seed: int) -> None:
    table, rng = plan(expansion), np.random.default_rng(seed)
    number = {table.members(task): task for task in range(table.n_tasks)}
    for sums in through(table).values():
        for terms in sums.values():
            needed = np.array([number[task] for task in by_task(table, terms)], dtype=np.int64)
            done = rng.random(table.n_tasks) < 0.5
            assert ready(table, terms, done) == done[needed].all()
            done[needed] = True
            assert ready(table, terms, done)
            if len(needed):
                done[rng.choice(needed)] = False
                assert not ready(table, terms, done)


@settings(max_examples=100, deadline=None)
@given(expansion=expansions())
def test_independent_errors_grow_with_the_root_of_the_summed_squares(expansion: Expansion) -> None:
    table = plan(expansion)
    for sums in through(table).values():
        for terms in sums.values():
            wanted = sqrt(sum(weight**2 for weight in by_task(table, terms).values()))
            assert isclose(error_growth(table, terms), wanted)


@settings(max_examples=50, deadline=None)
@given(expansion=expansions(), seed=SEEDS)
def test_errors_of_equivalent_tasks_are_added_up_first(expansion: Expansion, seed: int) -> None:
    table, rng = plan(expansion), np.random.default_rng(seed)
    representative = np.arange(table.n_tasks)
    for block in table.blocks:
        earlier = np.arange(block.size) * rng.random(block.size)
        representative[block.tasks] = block.start + earlier.astype(np.int64)
    number = {table.members(task): task for task in range(table.n_tasks)}
    for sums in through(table).values():
        for terms in sums.values():
            of_class: Counter[int] = Counter()
            for task, weight in by_task(table, terms).items():
                of_class[int(representative[number[task]])] += weight
            wanted = sqrt(sum(weight**2 for weight in of_class.values()))
            assert isclose(error_growth(table, terms, representative), wanted, abs_tol=1e-9)


def test_nothing_may_be_added() -> None:
    table = plan(Expansion(2, ("nocp",), ((1, 2),)))
    assembly = Assembly(table, through(table))
    assembly.add(np.empty(0, dtype=np.int64), np.empty(0))
    assert assembly.exact()["nocp"][2][0] == 0
