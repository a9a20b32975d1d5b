"""The tblite engine against plain tblite."""

import json

import numpy as np
import pytest
from engine_cases import HYDROXYL, ONE, WATER, cluster, level, moved, piece, slope, waters

from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.tblite import TbliteEngine
from qcmb_mpi.errors import InputError

pytest.importorskip("tblite")
from tblite.interface import Calculator


@pytest.fixture(scope="module")
def engine():
    return TbliteEngine()


def xtb(method="gfn2", basis=None, **keywords):
    return level(method, basis, program="tblite", **keywords)


def oracle(method, molecule, **attributes):
    calculator = Calculator(
        method, molecule.numbers, molecule.geometry, float(molecule.charge), molecule.multiplicity - 1
    )
    calculator.set("verbosity", 0)
    for name, value in attributes.items():
        calculator.set(name, value)
    return calculator.singlepoint()


@pytest.mark.parametrize(
    ("name", "full"),
    [("gfn1", "GFN1-xTB"), ("GFN2", "GFN2-xTB"), ("gfn1-xTB", "GFN1-xTB"), ("ipea1-xtb", "IPEA1-xTB")],
)
def test_energies_and_gradients_are_those_of_plain_tblite(engine, name, full):
    molecule = piece(waters(2), [0, 1])
    answer = engine.compute(xtb(name), "gradient", molecule, ONE)
    expected = oracle(full, molecule)
    assert answer.energy == expected.get("energy")
    np.testing.assert_array_equal(answer.gradient, expected.get("gradient"))
    assert engine.compute(xtb(name), "energy", molecule, ONE).gradient is None


def test_charge_and_spin_reach_tblite(engine):
    ion = piece(cluster(WATER, moved(HYDROXYL, x=6), charges=[1, 0], multiplicities=[2, 2]), [0, 1])
    assert (ion.charge, ion.multiplicity) == (1, 3)
    assert engine.compute(xtb(), "energy", ion, ONE).energy == oracle("GFN2-xTB", ion).get("energy")


def test_keywords_reach_tblite(engine):
    molecule = piece(waters(2), [0, 1])
    hot = engine.compute(xtb(electronic_temperature=5000.0, accuracy=0.1), "energy", molecule, ONE).energy
    assert hot == oracle("GFN2-xTB", molecule, temperature=5000 * 3.166808578545117e-6, accuracy=0.1).get(
        "energy"
    )
    assert hot != engine.compute(xtb(), "energy", molecule, ONE).energy


def test_gradients_are_slopes_of_the_energy(engine):
    molecule = piece(waters(2), [0, 1])
    tight = xtb(accuracy=0.01)
    gradient = engine.compute(tight, "gradient", molecule, ONE).gradient
    assert gradient[3, 0] == pytest.approx(slope(engine, tight, molecule, 3, 0), abs=1e-6)


def test_what_did_not_converge_is_no_energy_and_is_tried_more_gently(engine, capfd):
    molecule = piece(waters(2), [0, 1])
    with pytest.raises(EngineFailure) as failure:
        engine.compute(xtb(max_iter=2), "energy", molecule, ONE)
    assert failure.value.kind is Kind.CONVERGENCE
    answer = engine.compute(xtb(max_iter=2), "energy", molecule, ONE, attempt=1)
    assert answer.energy == pytest.approx(engine.compute(xtb(), "energy", molecule, ONE).energy, abs=1e-5)
    assert answer.note == "SCC with slower mixing"
    assert capfd.readouterr() == ("", "")


def test_ghost_atoms_are_refused_and_not_ignored(engine):
    assert engine.ghosts is False
    with pytest.raises(EngineFailure, match="ghost") as failure:
        engine.compute(xtb(), "energy", piece(waters(2), [0], [0, 1]), ONE)
    assert failure.value.kind is Kind.INPUT


def test_point_charges_are_refused(engine):
    embedded = cluster(WATER, moved(WATER, x=6), embedding=[-0.8, 0.4, 0.4] * 2)
    with pytest.raises(EngineFailure, match="point charges"):
        engine.compute(xtb(), "energy", piece(embedded, [0]), ONE)


@pytest.mark.parametrize(
    ("chosen", "driver", "words"),
    [
        (xtb("gfn3"), "energy", "method: .*did you mean"),
        (xtb(basis="def2-svp"), "energy", "basis: .*'def2-svp'"),
        (xtb(accurate=1.0), "energy", "keywords.accurate: .*accuracy"),
        (xtb(accuracy=0), "energy", "keywords.accuracy: "),
        (xtb(max_iter=1.5), "energy", "keywords.max_iter: "),
        (xtb(), "hessian", "driver: .*no analytic Hessian"),
    ],
)
def test_what_cannot_be_is_refused_by_name(engine, chosen, driver, words):
    with pytest.raises(InputError, match=words):
        engine.check(chosen, driver, waters(2))


def test_elements_beyond_radon_and_impossible_spins_are_refused_beforehand(engine):
    with pytest.raises(InputError, match="no parameters for Fr"):
        engine.check(xtb(), "energy", cluster([("Fr", (0, 0, 0))], charges=[1]))
    with pytest.raises(InputError, match="fragment 1 has 9 electrons"):
        engine.check(xtb(), "energy", cluster(HYDROXYL))


@pytest.mark.parametrize("basis", [None, "", "(auto)"])
def test_no_basis_is_no_basis_however_written(engine, basis):
    engine.check(xtb(basis=basis), "energy", waters(2))


def test_records_are_qcschema(engine):
    from qcelemental.models.v2 import AtomicResult

    molecule = piece(waters(1), [0])
    answer = engine.compute(xtb(), "gradient", molecule, ONE, keep_record=True)
    record = AtomicResult(**json.loads(json.dumps(answer.record)))
    assert record.properties.return_energy == answer.energy
    np.testing.assert_array_equal(record.return_result, answer.gradient)


def test_sizes_grow_with_the_atoms(engine):
    assert engine.sizes(xtb(), cluster(WATER, [("Xe", (9, 0, 0))])).tolist() == [6.0, 9.0]
