"""What the PySCF engine refuses, and how it says so."""

import numpy as np
import pytest
from engine_cases import HYDROXYL, WATER, cluster, level, moved, waters

from qcmb_mpi.engine.pyscf import PySCFEngine
from qcmb_mpi.errors import InputError

pytest.importorskip("pyscf")


@pytest.fixture(scope="module")
def engine():
    return PySCFEngine()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (level("b3lip"), r"method: .*'b3lip'; the nearest is 'b3lyp'"),
        (level("ccsdtq"), "method: "),
        (level("b2plyp"), "method: "),
        (level("b3lyp-d3bj"), "method: .*dispersion"),
        (level("b3lyp-d3(bj)"), "method: .*dispersion"),
        (level("wb97x-d"), "method: .*dispersion"),
        (level("b97-d"), "method: .*dispersion"),
        (level("b97-3c"), "method: .*dispersion"),
        (level("pbe0-d4"), "method: .*dispersion"),
        (level(basis=None), "basis: PySCF needs a basis"),
        (level(basis="cc-pvdzz"), "basis: .*nearest that PySCF knows is 'ccpvdz'"),
        (level(basis="no such basis"), "basis: PySCF does not know"),
        (level(convtol=1e-9), "keywords.convtol: .*did you mean 'conv_tol'"),
        (level(grid_level=3), "keywords.grid_level: "),
        (level(conv_tol_normt=1e-6), "keywords.conv_tol_normt: "),
        (level("ccsd", cc_conv_toll=1e-6), "keywords.cc_conv_toll: .*'cc_conv_tol'"),
        (level(conv_tol="tight"), "keywords.conv_tol: expected a number above zero"),
        (level(conv_tol=-1.0), "keywords.conv_tol: "),
        (level(max_cycle=2.5), "keywords.max_cycle: "),
        (level(init_guess="good"), "keywords.init_guess: "),
        (level("pbe", grid_level=12), "keywords.grid_level: expected an integer from 0 to 9"),
        (level(reference="ghf"), "keywords.reference: expected rhf, uhf or rohf"),
        (level("uhf", reference="rhf"), "keywords.reference: contradicts"),
        (level("mp2", reference="rohf"), "keywords.reference: .*use 'uhf'"),
        (level("ccsd(t)", reference="rohf"), "keywords.reference: .*use 'uhf'"),
        (level("mp2", frozen_core=2), "keywords.frozen_core: expected true or false"),
        (level("mp2", frozen_core=True, frozen=1), "keywords.frozen_core: says the same|keywords.frozen"),
        (level("mp2", frozen=-1), "keywords.frozen: "),
        (level(frozen=1), "keywords.frozen: there is nothing to freeze"),
        (level(density_fit="no such set"), "keywords.density_fit: "),
        (level(density_fit=3), "keywords.density_fit: "),
        (level("mp2", density_fit=True, mp2_fit="no such set"), "keywords.mp2_fit: "),
        (level("mp2", density_fit=True, mp2_fit=True), "keywords.mp2_fit: expected the name"),
        (level("mp2", mp2_fit="cc-pvdz-ri"), "keywords.mp2_fit: goes with mp2 and density_fit"),
        (level(cart="yes"), "keywords.cart: "),
    ],
)
def test_what_cannot_be_is_refused_by_name(engine, chosen, words):
    with pytest.raises(InputError, match=words):
        engine.check(chosen, "energy", waters(2))


@pytest.mark.parametrize(
    "chosen",
    [
        level("HF", "STO-3G"),
        level("scf", "aug-CC-pVDZ"),
        level("wb97m-v", "def2-svp"),
        level("pbe,pbe", "6-311++G(d,p)"),
        level("M06-2X", "6-31G*"),
        level("cam-b3lyp", "def2svp", density_fit=True),
        level("0.25*HF + 0.75*PBE, PBE"),
        level("hf", frozen_core=True),
        level("CCSD(T)", CONV_TOL=1e-10, cc_conv_tol=1e-9, frozen_core=False),
    ],
)
def test_what_pyscf_knows_is_accepted_in_any_case(engine, chosen):
    engine.check(chosen, "energy", waters(2))


def test_an_element_without_functions_is_named(engine):
    with pytest.raises(InputError, match=r"basis: .*'6-31g' has no functions for Xe"):
        engine.check(level(basis="6-31g"), "energy", cluster([("Xe", (0, 0, 0))]))


@pytest.mark.parametrize(
    ("charges", "multiplicities", "words"),
    [
        ([0, 0], [1, 3], "fragment 2 has 9 electrons"),
        ([0, 1], [1, 2], "fragment 2 has 8 electrons"),
        ([0, 0], [13, 2], "fragment 1 has 10 electrons"),
        ([0.5, 0], [1, 2], "fragment 1 has the charge 0.5"),
    ],
)
def test_impossible_spins_and_charges_are_refused(engine, charges, multiplicities, words):
    pair = cluster(WATER, moved(HYDROXYL, x=6), charges=charges, multiplicities=multiplicities)
    with pytest.raises(InputError, match=words):
        engine.check(level(), "energy", pair)


def test_a_restricted_reference_needs_closed_shells(engine):
    pair = cluster(WATER, moved(HYDROXYL, x=6), multiplicities=[1, 2])
    with pytest.raises(InputError, match=r"keywords\.reference: fragment 2 is open-shell"):
        engine.check(level(reference="rhf"), "energy", pair)
    engine.check(level(), "energy", pair)


@pytest.mark.parametrize(
    ("chosen", "driver", "words"),
    [
        (level("mp2"), "hessian", "Hessian of MP2"),
        (level("mp2", density_fit=True), "gradient", "density fitting"),
        (level("ccsd", density_fit=True), "gradient", "density fitting"),
        (level("ccsd(t)", reference="uhf"), "gradient", "unrestricted"),
        (level("ccsd", reference="rohf"), "gradient", "restricted open-shell"),
        (level("hf", reference="rohf"), "hessian", "restricted open-shell"),
        (level("wb97m-v"), "hessian", "nonlocal"),
    ],
)
def test_derivatives_that_pyscf_lacks_are_refused(engine, chosen, driver, words):
    with pytest.raises(InputError, match=f"driver: .*{words}"):
        engine.check(chosen, driver, waters(2))


def test_hessians_in_a_field_of_charges_are_refused(engine):
    embedded = cluster(WATER, moved(WATER, x=6), embedding=[-0.8, 0.4, 0.4] * 2)
    engine.check(level(), "gradient", embedded)
    with pytest.raises(InputError, match="point charges"):
        engine.check(level(), "hessian", embedded)


def test_unrestricted_triples_have_no_gradient_for_open_shells_only(engine):
    engine.check(level("ccsd(t)"), "gradient", waters(2))
    with pytest.raises(InputError, match="unrestricted"):
        engine.check(level("ccsd(t)"), "gradient", cluster(HYDROXYL, multiplicities=[2]))


def test_each_element_is_looked_up_once_however_many_fragments(engine, monkeypatch):
    from pyscf import gto

    from qcmb_mpi.engine import pyscf_basis

    pyscf_basis.element_basis.cache_clear()
    asked = []
    load = gto.basis.load
    monkeypatch.setattr(gto.basis, "load", lambda name, symbol: asked.append(symbol) or load(name, symbol))
    large = waters(400)
    engine.check(level(), "gradient", large)
    np.testing.assert_array_equal(engine.sizes(level(), large), np.full(400, 7.0))
    assert sorted(asked) == ["H", "O"]


def test_a_missing_pyscf_is_named_with_the_command(engine, monkeypatch):
    import importlib.metadata

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(InputError, match=r"pip install 'qcmb-mpi\[pyscf\]'"):
        PySCFEngine().check(level(), "energy", waters(1))


def test_importing_the_engines_imports_no_program():
    import subprocess
    import sys

    code = (
        "import sys, qcmb_mpi.engine.pyscf, qcmb_mpi.engine.tblite, qcmb_mpi.engine.qcengine, "
        "qcmb_mpi.engine.registry; "
        "assert not {'pyscf', 'tblite', 'qcengine', 'qcelemental', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
