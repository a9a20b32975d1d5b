"""Cutting molecules out of the cluster."""

import json

import numpy as np
import pytest
from engine_cases import HYDROXYL, WATER, cluster, moved, piece

from qcmb_mpi.engine.fragment import to_qcschema


def test_atoms_come_in_the_order_of_the_basis_fragments():
    whole = cluster(WATER, moved(HYDROXYL, x=6), moved(WATER, x=12), multiplicities=[1, 2, 1])
    molecule = piece(whole, [1, 2])
    assert molecule.symbols == ("O", "H", "O", "H", "H")
    assert molecule.numbers.tolist() == [8, 1, 8, 1, 1]
    np.testing.assert_array_equal(molecule.geometry, whole.geometry[3:])
    assert molecule.real.all()
    assert molecule.fragments == (2, 3)
    assert molecule.point_charges is None


def test_ghosts_are_neutral_singlets_and_add_nothing_to_charge_or_spin():
    whole = cluster(
        WATER, moved(HYDROXYL, x=6), moved(HYDROXYL, x=12), charges=[1, -1, 0], multiplicities=[2, 1, 2]
    )
    molecule = piece(whole, [1], [0, 1, 2])
    assert molecule.real.tolist() == [False] * 3 + [True] * 2 + [False] * 2
    assert (molecule.charge, molecule.multiplicity) == (-1, 1)
    assert molecule.fragment_charges == (0.0, -1.0, 0.0)
    assert molecule.fragment_multiplicities == (1, 1, 1)


@pytest.mark.parametrize("real", [[0], [1, 2], [0, 2], [0, 1, 2], [0, 1, 3], [0, 1, 2, 3]])
def test_charge_and_multiplicity_are_those_of_qcelemental(real):
    from qcelemental.models.v2 import Molecule

    whole = cluster(
        WATER,
        moved(HYDROXYL, x=6),
        moved(HYDROXYL, x=12),
        moved([("O", (0, 0, 0))], x=18),
        charges=[1, 0, -1, 0],
        multiplicities=[2, 2, 1, 3],
    )
    everything = [0, 1, 2, 3]
    full = Molecule(**{**to_qcschema(piece(whole, everything)), "validated": False})
    ghosts = [i for i in everything if i not in real]
    theirs = full.get_fragment(real, ghosts, orient=False, group_fragments=False)
    ours = piece(whole, real, everything)
    assert ours.charge == theirs.molecular_charge
    assert ours.multiplicity == theirs.molecular_multiplicity
    np.testing.assert_array_equal(ours.real, theirs.real)


def test_point_charges_are_those_of_all_fragments_outside_the_basis():
    whole = cluster(WATER, moved(WATER, x=6), moved(WATER, x=12), embedding=[-0.8, 0.4, 0.4] * 3)
    assert len(piece(whole, [0, 1, 2]).point_charges) == 0
    charges = piece(whole, [0], [0, 2]).point_charges
    np.testing.assert_allclose(charges[:, :3], whole.geometry[3:6])
    np.testing.assert_allclose(charges[:, 3], [-0.8, 0.4, 0.4])


def test_qcschema_molecule_is_the_same_molecule():
    from qcelemental.models.v2 import Molecule

    whole = cluster(WATER, moved(HYDROXYL, x=6.123456789012), multiplicities=[1, 2])
    ours = piece(whole, [1], [0, 1])
    theirs = Molecule(validate=False, **to_qcschema(ours))
    np.testing.assert_array_equal(theirs.geometry, ours.geometry)
    np.testing.assert_array_equal(theirs.atomic_numbers, ours.numbers)
    np.testing.assert_array_equal(theirs.real, ours.real)
    assert [f.tolist() for f in theirs.fragments] == [[0, 1, 2], [3, 4]]
    assert theirs.fragment_multiplicities == [1, 2]
    assert (theirs.molecular_charge, theirs.molecular_multiplicity) == (0.0, 2)
    assert theirs.fix_com
    assert theirs.fix_orientation
    assert json.loads(theirs.model_dump_json())["real"] == [False] * 3 + [True] * 2
