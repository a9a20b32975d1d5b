"""Screening keeps the n-mers that lie close together, and a family closed under subsets."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from input_samples import cli, schema

from qcmb_mpi.expansion.plan import plan
from qcmb_mpi.expansion.screen import families, shortest_distances
from qcmb_mpi.inputs import from_model


def cloud(n_fragments, seed=0, spread=10.0):
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 5, n_fragments)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    places = np.repeat(random.uniform(0, spread, (n_fragments, 3)), sizes, axis=0)
    return places + random.normal(size=places.shape), offsets


def by_hand(distances, cutoff, order):
    fragments = range(len(distances))
    return [
        c for c in combinations(fragments, order) if all(distances[p] <= cutoff for p in combinations(c, 2))
    ]


@pytest.mark.parametrize("chunk", [1, 50, 4_000_000])
def test_distances_are_between_the_closest_atoms(monkeypatch, chunk):
    monkeypatch.setattr("qcmb_mpi.expansion.screen.CHUNK", chunk)
    geometry, offsets = cloud(12)
    pieces = [geometry[a:b] for a, b in pairwise(offsets)]
    expected = [[min(np.linalg.norm(p - q) for p in a for q in b) for b in pieces] for a in pieces]
    assert shortest_distances(geometry, offsets) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 37, 4_000_000])
@pytest.mark.parametrize(
    ("cutoffs", "effective"),
    [
        ({2: 6.0, 3: 4.5}, {2: 6.0, 3: 4.5, 4: 4.5, 5: 4.5}),
        ({2: 5.0}, {2: 5.0, 3: 5.0, 4: 5.0, 5: 5.0}),
        ({3: 5.0}, {2: np.inf, 3: 5.0, 4: 5.0, 5: 5.0}),
        ({2: 6.0, 4: 5.0}, {2: 6.0, 3: 6.0, 4: 5.0, 5: 5.0}),
        ({2: 6.0, 3: 6.0, 5: 5.0}, {2: 6.0, 3: 6.0, 4: 6.0, 5: 5.0}),
        ({2: 0.0}, {2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0}),
        ({2: 1e3}, dict.fromkeys(range(2, 6), np.inf)),
    ],
)
def test_kept_families_are_those_found_by_hand(monkeypatch, cutoffs, effective, chunk):
    monkeypatch.setattr("qcmb_mpi.expansion.screen.CHUNK", chunk)
    distances = shortest_distances(*cloud(14))
    kept = families(distances, cutoffs, 5)
    for order, cutoff in effective.items():
        expected = by_hand(distances, cutoff, order)
        if order in kept:
            assert kept[order].tolist() == [list(row) for row in expected]
            assert kept[order].shape == (len(expected), order)
        else:
            assert len(expected) == len(list(combinations(range(14), order)))


@pytest.mark.parametrize("seed", range(5))
def test_kept_families_are_closed_under_subsets(seed):
    distances = shortest_distances(*cloud(14, seed))
    kept = families(distances, {2: 7.0, 3: 5.0, 4: 4.9}, 5)
    for order in range(3, 6):
        lower = {tuple(row) for row in kept[order - 1].tolist()}
        assert all(part in lower for row in kept[order].tolist() for part in combinations(row, order - 1))


def test_a_screened_input_has_fewer_tasks():
    raw = {**schema(), "screening": {"distance": {"2": 6.0}, "unit": "bohr"}}
    expansion = from_model(raw).problem.expansion
    assert expansion.families[2].tolist() == [[0, 1], [0, 2]]
    assert expansion.families[3].tolist() == []
    assert plan(expansion).n_tasks < plan(from_model(schema()).problem.expansion).n_tasks


def test_a_pair_at_the_cutoff_is_within_it():
    raw = cli(screening={"distance": {"2": 3.0}})
    assert from_model(raw).problem.expansion.families[2].tolist() == [[0, 1], [1, 2]]


def test_a_cutoff_beyond_everything_screens_nothing():
    raw = {**schema(), "screening": {"distance": {"2": 100.0}}}
    assert from_model(raw).problem.expansion.families is None


def test_screening_follows_the_fragments_not_the_atoms():
    raw = schema()
    raw["molecule"]["fragments"] = [[8, 6, 7], [0, 1, 2], [3, 4, 5]]
    raw["screening"] = {"distance": {"2": 6.0}, "unit": "bohr"}
    assert from_model(raw).problem.expansion.families[2].tolist() == [[0, 1], [1, 2]]
