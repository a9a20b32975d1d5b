"""Tasks are equivalent exactly where a motion brings one onto the other, and derivatives move with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Expansion, TaskTable, plan
from qcmb_mpi.expansion.rigid import fit
from qcmb_mpi.expansion.symmetry import Symmetry, find_symmetry

Floats = NDArray[np.float64]
Fragments = Sequence["Fragment"]


@dataclass(frozen=True, eq=False)
class Fragment:
    """Atoms that stay together."""

    numbers: tuple[int, ...]
    places: Floats
    charge: float = 0.0
    multiplicity: int = 1

    def at(self, places: Floats) -> Fragment:
        return replace(self, places=places)


def classes(
    fragments: Fragments, treatment: str = "nocp", max_nbody: int | None = None
) -> tuple[TaskTable, Symmetry]:
    """The tasks of a cluster and which of them are equivalent."""
    n = len(fragments)
    table = plan(Expansion(n, (treatment,), (tuple(range(1, (max_nbody or n) + 1)),)))
    return table, find_symmetry(
        table,
        numbers=np.concatenate([fragment.numbers for fragment in fragments]),
        geometry=np.concatenate([fragment.places for fragment in fragments]),
        offsets=np.cumsum([0, *(len(fragment.numbers) for fragment in fragments)]),
        charges=np.array([fragment.charge for fragment in fragments]),
        multiplicities=np.array([fragment.multiplicity for fragment in fragments]),
        keep_orders=True,
    )


def rotation(seed: int) -> Floats:
    """Orthogonal, as likely improper as proper."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]


def moved(fragments: Fragments, seed: int, noise: float = 0.0) -> tuple[list[Fragment], list[int]]:
    """A copy far away: rotated or reflected, fragments and like atoms in another order; and that order."""
    random = np.random.default_rng(seed)
    turn, away = rotation(seed), random.uniform(-30.0, 30.0, 3) + 80.0
    order = random.permutation(len(fragments)).tolist()
    copies = []
    for number in order:
        fragment = fragments[number]
        atoms = random.permutation(len(fragment.numbers))
        places = fragment.places[atoms] @ turn.T + away + random.uniform(-noise, noise, (len(atoms), 3))
        copies.append(replace(fragment, numbers=tuple(fragment.numbers[a] for a in atoms), places=places))
    return copies, order


def _around(n: int, fragment: Fragment, radius: float) -> list[Fragment]:
    """Copies of a fragment around the z axis."""
    turns = []
    for k in range(n):
        cos, sin = np.cos(2 * np.pi * k / n), np.sin(2 * np.pi * k / n)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
        turns.append(fragment.at((fragment.places + np.array([radius, 0, 0])) @ turn.T))
    return turns


ARGON = Fragment((18,), np.zeros((1, 3)))
WATER = Fragment((8, 1, 1), np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]]))
TILTED = WATER.at(WATER.places @ rotation(4).T)
HYDROGEN = Fragment((1, 1), np.array([[0.0, 0.0, -0.7], [0.0, 0.0, 0.7]]))
CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])

#: Clusters in which many atoms are alike, or lie in a plane or on a line.
SHAPES = {
    "one atom": [ARGON],
    "line of atoms": [ARGON.at(np.array([[0, 0, 5.0 * k]])) for k in range(3)],
    "line of molecules": [HYDROGEN.at(HYDROGEN.places + np.array([0, 0, 4.0 * k])) for k in range(3)],
    "plane": [WATER, WATER.at(WATER.places + np.array([0, 5.5, 0]))],
    "ring of atoms": _around(4, ARGON, 4.0),
    "ring with a mirror": _around(3, WATER, 5.0),
    "ring without": _around(4, TILTED, 5.5),
    "tetrahedron": [ARGON.at(4.0 * corner[None].astype(float)) for corner in CORNERS],
    "water and atoms": [WATER, ARGON.at(np.array([[0, 7.0, 3.0]])), ARGON.at(np.array([[0, 7.0, -3.0]]))],
}


@st.composite
def clusters(draw: st.DrawFn) -> list[Fragment]:
    """One of the shapes, or fragments at random places."""
    if draw(st.booleans()):
        return SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(st.sampled_from([ARGON, WATER, HYDROGEN]), min_size=1, max_size=3))
    return [
        kind.at(
            kind.places @ rotation(int(random.integers(1 << 30))).T + [5.5 * i, *random.uniform(-2, 2, 2)]
        )
        for i, kind in enumerate(kinds)
    ]


SEEDS = st.integers(0, 2**32)


def pairs_of_tasks(
    table: TaskTable, order: Sequence[int], treatment: str
) -> list[tuple[int, int, tuple[int, ...]]]:
    """Tasks of a cluster, the same ones of its copy behind it, and the real fragments of the former."""
    n = len(order)
    copy_of = {number: n + place for place, number in enumerate(order)}
    found = []
    for size in range(1, n + 1):
        for basis in combinations(range(n), size):
            for n_real in range(1, size + 1) if treatment == "vmfc" else [size]:
                for real in combinations(basis, n_real):
                    there = [tuple(sorted(copy_of[f] for f in some)) for some in (real, basis)]
                    tasks = table.find(0, real, basis), table.find(0, *there)
                    assert None not in tasks
                    found.append((*tasks, real))
    return found


@settings(max_examples=40, deadline=None)
@given(clusters(), SEEDS, st.sampled_from(["nocp", "vmfc"]), st.sampled_from([0.0, 1e-8, 2e-7]))
def test_what_was_moved_is_equivalent(
    fragments: list[Fragment], seed: int, treatment: str, noise: float
) -> None:
    copies, order = moved(fragments, seed, noise)
    table, symmetry = classes([*fragments, *copies], treatment, len(fragments))
    for task, copy, _ in pairs_of_tasks(table, order, treatment):
        assert symmetry.representative[copy] == symmetry.representative[task] <= task
    assert symmetry.farthest <= 1e-12 + 4 * noise


@settings(max_examples=20, deadline=None)
@given(clusters(), SEEDS)
def test_what_was_stretched_by_a_thousandth_is_not(fragments: list[Fragment], seed: int) -> None:
    copies, order = moved(fragments, seed)
    stretched = [copy.at(copy.places * 1.001) for copy in copies]
    table, symmetry = classes([*fragments, *stretched], max_nbody=len(fragments))
    for task, copy, real in pairs_of_tasks(table, order, "nocp"):
        if sum(len(fragments[f].numbers) for f in real) > 1:
            assert symmetry.representative[copy] != symmetry.representative[task]


@settings(max_examples=20, deadline=None)
@given(clusters(), SEEDS, st.sampled_from([{"charge": 1.0}, {"multiplicity": 3}]))
def test_charge_and_multiplicity_count_where_a_fragment_is_real(
    fragments: list[Fragment], seed: int, changes: dict[str, int]
) -> None:
    copies, order = moved(fragments, seed)
    copies[0] = replace(copies[0], **changes)
    table, symmetry = classes([*fragments, *copies], "vmfc", len(fragments))
    for task, copy, real in pairs_of_tasks(table, order, "vmfc"):
        same = symmetry.representative[copy] == symmetry.representative[task]
        assert same == (order[0] not in real)


def test_isomers_with_the_same_distances_between_elements_are_told_apart_by_their_fragments() -> None:
    square = 2.0 * np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0.0]])
    side, diagonal = [0, 1, 2, 3], [0, 2, 1, 3]
    pairs = [
        Fragment((1, 1), square[order[2 * k : 2 * k + 2]] + [40.0 * far, 0, 0])
        for far, order in enumerate((side, diagonal))
        for k in range(2)
    ]
    table, symmetry = classes(pairs, max_nbody=2)
    first, second = table.find(0, (0, 1), (0, 1)), table.find(0, (2, 3), (2, 3))
    assert first is not None
    assert second is not None
    assert symmetry.representative[second] == second != first


def by_hand(fragments: Fragments, members: Sequence[Sequence[int]]) -> list[int]:
    """For each n-mer of diatomic molecules the first that some assignment of atoms makes the same."""
    matrices = []
    for nmer in members:
        places = np.concatenate([fragments[f].places for f in nmer])
        matrices.append(np.linalg.norm(places[:, None] - places[None, :], axis=2))
    n = len(members[0])
    orders = [
        [2 * f + (flip if k == 0 else 1 - flip) for f, flip in zip(whole, flips, strict=True) for k in (0, 1)]
        for whole in permutations(range(n))
        for flips in product((0, 1), repeat=n)
    ]
    return [
        next(
            j
            for j in range(i + 1)
            if any(np.abs(matrix[np.ix_(order, order)] - matrices[j]).max() < 1e-6 for order in orders)
        )
        for i, matrix in enumerate(matrices)
    ]


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_classes_are_those_of_trying_all_assignments_of_atoms(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.permutation(list(product((0, 1), repeat=3)))[:6]
    axes = random.integers(0, 2, len(corners))  # along z or along x
    fragments = [
        HYDROGEN.at(4.5 * corner + HYDROGEN.places[:, [0, 1, 2] if axis else [2, 1, 0]])
        for corner, axis in zip(corners, axes, strict=True)
    ]
    table, symmetry = classes(fragments, max_nbody=3)
    for block in table.blocks:
        expected = by_hand(fragments, block.real().tolist())
        found = symmetry.representative[block.tasks] - block.start
        assert found.tolist() == expected


@pytest.mark.parametrize("n_orders", [2, 3])
def test_a_lattice_of_atoms_has_as_many_classes_as_sets_of_distances(n_orders: int) -> None:
    corners = np.array(list(product(range(3), repeat=3)))
    _, symmetry = classes([ARGON.at(5.0 * corner[None]) for corner in corners], max_nbody=n_orders)
    squares = ((corners[:, None] - corners[None, :]) ** 2).sum(axis=2)
    shapes = {
        tuple(sorted(squares[i, j] for i, j in combinations(nmer, 2)))
        for k in range(1, n_orders + 1)
        for nmer in combinations(range(27), k)
    }
    assert symmetry.n_classes == len(shapes)


@pytest.mark.parametrize("chunk", [1, 200])
def test_classes_do_not_depend_on_how_many_tasks_are_handled_at_once(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments = _around(6, TILTED, 7.0)
    whole = classes(fragments, "vmfc", 3)[1]
    monkeypatch.setattr("qcmb_mpi.expansion.symmetry.ELEMENTS", chunk)
    assert (classes(fragments, "vmfc", 3)[1].representative == whole.representative).all()


def test_in_the_basis_of_the_whole_cluster_only_its_own_symmetry_counts() -> None:
    ring = _around(6, ARGON, 5.0)
    table, symmetry = classes(ring, "cp", 2)
    of_pairs = table.blocks[table.index[0, 2, 6]]
    assert len(np.unique(symmetry.representative[of_pairs.tasks])) == 3  # ortho, meta, para
    table, symmetry = classes([*ring, ARGON.at(np.array([[1.0, 2.0, 9.0]]))], "cp", 2)
    of_pairs = table.blocks[table.index[0, 2, 7]]
    assert len(np.unique(symmetry.representative[of_pairs.tasks])) == of_pairs.size


# -- derivatives ---------------------------------------------------------------------------------------------


def potential(places: Floats, strengths: Floats) -> tuple[Floats, Floats]:
    """Gradient and Hessian of ``sum a/s^3 - b/s`` over pairs and ``c/(s s' s'')^(1/2)`` over triples.

    ``s`` are squared distances, in which derivatives are taken before those in coordinates.
    """
    n = len(places)
    pairs = list(combinations(range(n), 2))
    index = {pair: p for p, pair in enumerate(pairs)}
    slopes, curvatures = np.zeros(len(pairs)), np.zeros((len(pairs), len(pairs)))
    squares = np.array([((places[i] - places[j]) ** 2).sum() for i, j in pairs])
    for p, (i, j) in enumerate(pairs):
        a, b, s = 40.0 * strengths[i] * strengths[j], strengths[i] + strengths[j], squares[p]
        slopes[p] += -3 * a / s**4 + b / s**2
        curvatures[p, p] += 12 * a / s**5 - 2 * b / s**3
    for i, j, k in combinations(range(n), 3):
        three = [index[i, j], index[i, k], index[j, k]]
        term = strengths[i] * strengths[j] * strengths[k] / np.sqrt(squares[three].prod())
        for p in three:
            slopes[p] -= 0.5 * term / squares[p]
            for q in three:
                curvatures[p, q] += (0.75 if p == q else 0.25) * term / (squares[p] * squares[q])
    first, second = np.zeros((len(pairs), n, 3)), np.zeros((n, 3, n, 3))
    for p, (i, j) in enumerate(pairs):
        first[p, i], first[p, j] = 2 * (places[i] - places[j]), 2 * (places[j] - places[i])
        for x in range(3):
            second[[i, j], x, [i, j], x] += 2 * slopes[p]
            second[[i, j], x, [j, i], x] -= 2 * slopes[p]
    flat = first.reshape(len(pairs), 3 * n)
    gradient = slopes @ flat
    return gradient, second.reshape(3 * n, 3 * n) + flat.T @ curvatures @ flat


def of_task(table: TaskTable, task: int, fragments: Fragments) -> tuple[Floats, Floats]:
    """What the potential says of a task; ghosts count for a tenth."""
    _, real, basis = table.members(task)
    places = np.concatenate([fragments[f].places for f in basis])
    strengths = [(1.0 if f in real else 0.1) * number**0.5 for f in basis for number in fragments[f].numbers]
    return potential(places, np.array(strengths))


def test_the_potential_of_these_tests_is_differentiated_right() -> None:
    fragments = SHAPES["water and atoms"]
    places = np.concatenate([fragment.places for fragment in fragments])
    strengths = np.arange(1.0, 6.0)
    _, hessian = potential(places, strengths)
    for coordinate in range(places.size):
        step = np.zeros(places.size)
        step[coordinate] = 1e-5
        sides = [potential(places + sign * step.reshape(-1, 3), strengths)[0] for sign in (1, -1)]
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(hessian[coordinate], abs=1e-7)


def compare_derivatives(fragments: Fragments, seed: int, treatment: str) -> None:
    """Those of all n-mers of a cluster, moved to its copy, with those of the copy."""
    copies, order = moved(fragments, seed)
    everything = [*fragments, *copies]
    table, symmetry = classes(everything, treatment, len(fragments))
    for task, copy, _ in pairs_of_tasks(table, order, treatment):
        gradient, hessian = of_task(table, task, everything)
        direct = of_task(table, copy, everything)
        motions = symmetry.motions(task, np.array([copy]))
        assert motions.gradients(gradient)[0] == pytest.approx(direct[0], abs=1e-8)
        moved_hessian = motions.hessians(hessian.reshape(-1))[0].reshape(direct[1].shape)
        assert moved_hessian == pytest.approx(direct[1], abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_move_with_clusters_of_many_like_atoms(shape: str) -> None:
    compare_derivatives(SHAPES[shape], len(shape), "nocp" if "ring" in shape else "vmfc")


@settings(max_examples=8, deadline=None)
@given(clusters(), SEEDS, st.sampled_from(["nocp", "vmfc"]))
def test_derivatives_move_with_the_atoms(fragments: list[Fragment], seed: int, treatment: str) -> None:
    compare_derivatives(fragments, seed, treatment)


def test_the_bits_of_moved_derivatives_do_not_depend_on_how_many_are_moved_at_once() -> None:
    fragments = _around(5, TILTED, 6.0)
    table, symmetry = classes(fragments, max_nbody=2)
    task = int(symmetry.representative[table.blocks[1].start])
    others = symmetry.members(task)
    gradient, hessian = of_task(table, task, fragments)
    together = symmetry.motions(task, others)
    for position, other in enumerate(others.tolist()):
        alone = symmetry.motions(task, np.array([other]))
        assert (alone.gradients(gradient)[0] == together.gradients(gradient)[position]).all()
        assert (
            alone.hessians(hessian.reshape(-1))[0] == together.hessians(hessian.reshape(-1))[position]
        ).all()
    assert len(others) == 5


@given(SEEDS, st.integers(1, 6), st.integers(0, 3))
def test_the_motion_is_orthogonal_and_fits_also_in_planes_on_lines_and_in_points(
    seed: int, n: int, dimensions: int
) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform(-5.0, 5.0, (1, n, 3))
    places[:, :, dimensions:] = 1.0
    turn = rotation(seed)
    rotations, farthest = fit(places @ rotation(seed + 1), places @ rotation(seed + 1) @ turn.T + 3.0)
    assert rotations[0] @ rotations[0].T == pytest.approx(np.eye(3), abs=1e-12)
    assert farthest[0] < 1e-12
