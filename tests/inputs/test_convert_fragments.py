"""Bonds and fragments depend on elements and places alone, and agree with the plainest way to find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.assign import assign
from qcmb_mpi.inputs.bonds import components, find_contacts
from qcmb_mpi.inputs.elements import composition
from qcmb_mpi.inputs.fragments import cut, ranges
from qcmb_mpi.inputs.frame import Frame

WATER = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])

places = st.tuples(*[st.floats(-4.0, 4.0, allow_nan=False)] * 3)
atoms = st.lists(
    st.tuples(st.sampled_from(["H", "C", "O", "Cl", "I", "Na", "Zn", "Ar"]), places), min_size=1, max_size=24
)


def frame(symbols, geometry, **fields):
    return Frame(tuple(symbols), np.array(geometry, dtype=float).reshape(-1, 3), **fields)


def fragments_of(structure, listed=None, by=None):
    return cut(structure, find_contacts(structure.symbols, structure.geometry), listed, by)


def sets(fragments):
    return {frozenset(map(int, fragment)) for fragment in fragments.atoms}


def row(*molecules):
    """Molecules, each (symbols, places), four angstrom apart."""
    symbols = [symbol for names, _ in molecules for symbol in names]
    geometry = [np.array(xyz) + np.array([4.0 * i, 0, 0]) for i, (_, xyz) in enumerate(molecules)]
    return frame(symbols, np.concatenate(geometry))


SALT = row(("OHH", WATER), (["Na"], [[0, 0, 0]]), ("OHH", WATER), (["Cl"], [[0, 0, 0]]))


@settings(max_examples=150, deadline=None)
@given(atoms, st.randoms(use_true_random=False))
def test_any_order_of_the_atoms_gives_the_same_fragments(cluster, random):
    symbols, geometry = [symbol for symbol, _ in cluster], np.array([place for _, place in cluster])
    order = list(range(len(cluster)))
    random.shuffle(order)
    there = fragments_of(frame([symbols[old] for old in order], geometry[order]))
    here = fragments_of(frame(symbols, geometry))
    assert {frozenset(order[atom] for atom in fragment) for fragment in sets(there)} == sets(here)
    assert sorted(there.formulas) == sorted(here.formulas)


@settings(max_examples=150, deadline=None)
@given(atoms)
def test_contacts_found_by_cells_are_those_of_all_pairs(cluster):
    symbols, geometry = [symbol for symbol, _ in cluster], np.array([place for _, place in cluster])
    found = find_contacts(symbols, geometry)
    expected = set()
    for one in range(len(cluster)):
        for other in range(one + 1, len(cluster)):
            pair = find_contacts([symbols[one], symbols[other]], geometry[[one, other]])
            expected |= {(one, other, bool(bound)) for bound in pair.bound}
    assert (
        set(zip(found.first.tolist(), found.second.tolist(), found.bound.tolist(), strict=True)) == expected
    )
    assert len(found.first) == len(expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_what_can_be_reached(n, pairs):
    pairs = [(a % n, b % n) for a, b in pairs]
    reach = [{i} for i in range(n)]
    for a, b in pairs:
        joined = reach[a] | reach[b]
        for i in joined:
            reach[i] = joined
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    found = components(n, ends[:, 0], ends[:, 1])
    assert {frozenset(map(int, atoms)) for atoms in found} == {frozenset(atoms) for atoms in reach}
    assert [int(atoms[0]) for atoms in found] == sorted(min(atoms) for atoms in found)


def test_ten_thousand_atoms_anywhere_are_cut_into_molecules():
    rng = np.random.default_rng(1)
    corners = np.stack(np.meshgrid(*[np.arange(15)] * 3), axis=-1).reshape(-1, 3)[:3334] * 3.3
    corners[1000:2000] += 1e7  # far away: cells are numbered all the same
    order = rng.permutation(10_002)
    geometry = (corners[:, None, :] + WATER).reshape(-1, 3)[order]
    found = fragments_of(frame(np.array(["O", "H", "H"] * 3334)[order], geometry))
    assert set(found.formulas) == {"H2O"}
    assert {frozenset(order[atom] // 3 for atom in atoms) for atoms in found.atoms} == {
        frozenset((i,)) for i in range(3334)
    }


@pytest.mark.parametrize(
    ("symbols", "length", "pieces"),
    [
        ("H H", 0.74, 1),
        ("O O", 1.21, 1),
        ("F F", 1.41, 1),
        ("C Cl", 1.77, 1),
        ("S S", 2.05, 1),
        ("I I", 2.67, 1),
        ("O H", 1.50, 2),  # a strong hydrogen bond
        ("Na Cl", 2.36, 2),
        ("Zn O", 2.00, 2),
        ("Ar Ar", 1.50, 2),
    ],
)
def test_bonds_bind_and_ions_and_noble_gases_stay_alone(symbols, length, pieces):
    assert len(fragments_of(frame(symbols.split(), [[0, 0, 0], [0, 0, length]])).atoms) == pieces


def test_fragments_are_as_listed():
    found = fragments_of(SALT, "1-3+8, 5-7 ,4")
    assert [atoms.tolist() for atoms in found.atoms] == [[0, 1, 2, 7], [4, 5, 6], [3]]
    assert found.formulas == ("ClH2O", "H2O", "Na")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("1-3,5-8", ("atoms in no fragment: 4 ",)),
        ("1-3", ("no fragment: 4-8 ",)),
        ("1-4,4-8", ("atom 4 ", "fragments 1 and 2")),
        ("1-4+2,5-8", ("atom 2 ", "twice in fragment 1")),
        ("1-9", ("no atom 9", "1 to 8")),
        ("0-8", ("no atom 0",)),
        ("8-1", ("backwards", "1-8")),
        ("1-4,,5-8", ("1-3+10,4-6", "''")),
        ("1-4;5-8", ("'1-4;5-8'",)),
    ],
)
def test_a_wrong_list_of_fragments_is_refused(listed, words):
    with pytest.raises(InputError, match=r"^--fragments: ") as caught:
        fragments_of(SALT, listed)
    for word in words:
        assert word in str(caught.value)


def test_numbers_are_written_as_ranges():
    assert ranges([0, 1, 2, 9, 4]) == "1-3+5+10"


def charged(structure, charges=None, multiplicities=None):
    return assign(structure, fragments_of(structure), charges, multiplicities)


@pytest.mark.parametrize("text", ["0,1,0,-1", "Na+,Cl-", "Na=1, Cl=-1", "Na1+,Cl-1", "+0,1,0,-1"])
def test_charges_come_by_position_or_by_name(text):
    assigned = charged(SALT, text)
    assert assigned.charges == (0, 1, 0, -1)
    assert assigned.multiplicities == (1, 1, 1, 1)
    assert assigned.charge_given[1]


def test_without_charges_everything_is_neutral_and_of_the_lowest_multiplicity():
    assigned = charged(SALT)
    assert assigned.charges == (0, 0, 0, 0)
    assert assigned.multiplicities == (1, 2, 1, 2)
    assert not any(assigned.charge_given + assigned.multiplicity_given)


AMMONIUM = [[0, 0, 0], [0.6, 0.6, 0.6], [0.6, -0.6, -0.6], [-0.6, 0.6, -0.6], [-0.6, -0.6, 0.6]]
OXYGENS = row(("OO", [[0, 0, 0], [0, 0, 1.21]]), ("O", [[0, 0, 0]]), ("NHHHH", AMMONIUM))


@pytest.mark.parametrize("text", ["NH4+", "H4N+", "H4N=1", "NH4=1", "HNH3=+1"])
def test_a_formula_may_be_written_in_any_order(text):
    assert charged(OXYGENS, text).charges == (0, 0, 1)


def test_multiplicities_come_by_name():
    assert charged(OXYGENS, "NH4+", "O2=3").multiplicities == (3, 1, 1)


@pytest.mark.parametrize(
    ("structure", "charges", "words"),
    [
        (SALT, "K+", ("'K+'", "no such fragment", "1 Na", "2 H2O")),
        (SALT, "0,0", ("2 numbers for 4 fragments",)),
        (SALT, "Na+,Na=1", ("'Na+'", "'Na=1'", "same")),
        (SALT, "Na", ("'Na'", "Na+")),
        (SALT, "sodium+", ("'sodium+'",)),
        (SALT, "Xx=1", ("'Xx=1'",)),
        (SALT, "Na=much", ("Na", "'much'")),
        (SALT, "0,Na+", ("'0'",)),
        (OXYGENS, "O2-", ("two ways", "O2=-1", "O=-2")),
    ],
)
def test_charges_that_mean_nothing_are_refused(structure, charges, words):
    with pytest.raises(InputError, match=r"^--charges: ") as caught:
        charged(structure, charges)
    for word in words:
        assert word in str(caught.value)


def test_the_charge_that_a_file_states_is_checked_against_the_sum():
    stated = Frame(SALT.symbols, SALT.geometry, charge=1)
    with pytest.raises(InputError, match="add up to 0, but the file gives the whole a charge of 1"):
        charged(stated, "Na+,Cl-")
    assert charged(stated, "Na+").charges == (0, 1, 0, 0)
    alone = Frame(("O", "H"), np.array([[0, 0, 0], [0, 0, 0.97]]), charge=-1)
    assert charged(alone).charges == (-1,)


@pytest.mark.parametrize(
    ("formula", "atoms"),
    [("H2O", {"H": 2, "O": 1}), ("CH3CN", {"C": 2, "H": 3, "N": 1}), ("Hx", None), ("", None)],
)
def test_a_formula_is_read(formula, atoms):
    assert composition(formula) == atoms
