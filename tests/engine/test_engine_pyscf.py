"""The PySCF engine against plain PySCF, finite differences and known traps."""

import glob
import json
import os

import numpy as np
import pytest
from engine_cases import HYDROXYL, ONE, WATER, cluster, level, moved, piece, slope, waters

from qcmb_mpi.engine.base import Resources
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.pyscf import PySCFEngine

pytest.importorskip("pyscf")
from pyscf import cc, df, dft, gto, mp, scf

TIGHT = {"conv_tol": 1e-12, "conv_tol_grad": 1e-7}
TIGHT_CC = {**TIGHT, "cc_conv_tol": 1e-10, "conv_tol_normt": 1e-8}


@pytest.fixture(scope="module")
def engine():
    return PySCFEngine()


@pytest.fixture(scope="module")
def dimer():
    return waters(2)


def plain_mole(molecule, basis, **more):
    """The Mole that a PySCF user would write."""
    atoms = [
        [s if real else f"ghost-{s}", tuple(p)]
        for s, p, real in zip(molecule.symbols, molecule.geometry, molecule.real, strict=True)
    ]
    return gto.M(
        atom=atoms, unit="Bohr", basis=basis, charge=molecule.charge,
        spin=molecule.multiplicity - 1, verbose=0, **more,
    )  # fmt: skip


def energy(engine, level_, molecule, **more):
    return engine.compute(level_, "energy", molecule, ONE, **more).energy


# -- energies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "keywords", "oracle"),
    [
        ("hf", {}, lambda m: scf.RHF(m).run().e_tot),
        ("HF", {"reference": "uhf"}, lambda m: scf.UHF(m).run().e_tot),
        ("b3lyp", {"grid_level": 0}, lambda m: dft.RKS(m, xc="b3lyp").run(grids=_grid(m, 0)).e_tot),
        ("PBE", {"grid_level": 1}, lambda m: dft.RKS(m, xc="pbe").run(grids=_grid(m, 1)).e_tot),
        ("mp2", {}, lambda m: mp.MP2(scf.RHF(m).run()).run().e_tot),
        ("mp2", {"frozen_core": True}, lambda m: mp.MP2(scf.RHF(m).run(), frozen=1).run().e_tot),
        ("mp2", {"freeze_core": "true"}, lambda m: mp.MP2(scf.RHF(m).run(), frozen=1).run().e_tot),
        ("mp2", {"frozen": 2}, lambda m: mp.MP2(scf.RHF(m).run(), frozen=2).run().e_tot),
        ("ccsd", {}, lambda m: cc.CCSD(scf.RHF(m).run()).run().e_tot),
        ("CCSD(T)", {}, lambda m: _with_triples(cc.CCSD(scf.RHF(m).run()).run())),
        ("hf", {"density_fit": True}, lambda m: scf.RHF(m).density_fit().run().e_tot),
        (
            "pbe",
            {"density_fit": True, "grid_level": 0},
            lambda m: dft.RKS(m, xc="pbe").density_fit().run(grids=_grid(m, 0)).e_tot,
        ),
        (
            "mp2",
            {"density_fit": "cc-pvdz-jkfit"},
            lambda m: mp.MP2(scf.RHF(m).density_fit("cc-pvdz-jkfit").run()).run().e_tot,
        ),
        (
            "mp2",
            {"density_fit": "cc-pvdz-jkfit", "mp2_fit": "cc-pvdz-ri"},
            lambda m: (
                mp.MP2(scf.RHF(m).density_fit("cc-pvdz-jkfit").run())
                .run(with_df=df.DF(m, auxbasis="cc-pvdz-ri"))
                .e_tot
            ),
        ),
    ],
)
def test_energies_are_those_of_plain_pyscf_with_ghosts(engine, dimer, method, keywords, oracle):
    basis = "cc-pvdz" if "density_fit" in keywords else "6-31G"
    molecule = piece(dimer, [0], [0, 1])
    ours = energy(engine, level(method, basis, **keywords), molecule)
    assert ours == pytest.approx(oracle(plain_mole(molecule, basis)), abs=2e-9)


def _grid(mol, grid_level):
    grids = dft.gen_grid.Grids(mol)
    grids.level = grid_level
    return grids


def _with_triples(theory):
    return theory.e_tot + theory.ccsd_t()


def test_a_monomer_is_lower_in_the_basis_of_the_dimer(engine, dimer):
    alone = energy(engine, level(), piece(dimer, [0]))
    ghosted = energy(engine, level(), piece(dimer, [0], [0, 1]))
    pair = energy(engine, level(), piece(dimer, [0, 1]))
    assert pair < ghosted - 10
    assert -1e-2 < ghosted - alone < -1e-6


def test_grids_of_functionals_cover_ghosts(engine):
    """A ghost's functions are integrated as well as a real atom's: the energy of helium in the
    functions of a far neon must not depend on the fineness of the grid."""
    pair = cluster([("He", (0, 0, 0))], [("Ne", (0, 0, 2.5))])
    molecule = piece(pair, [0], [0, 1])
    coarse, fine = (energy(engine, level("pbe", "6-31g", grid_level=g), molecule) for g in (3, 6))
    alone = energy(engine, level("pbe", "6-31g", grid_level=6), piece(pair, [0]))
    assert coarse == pytest.approx(fine, abs=2e-5)
    assert fine < alone


def test_frozen_core_counts_real_atoms_only(engine):
    pair = cluster([("Ne", (0, 0, 0))], [("Ne", (0, 0, 5))])
    ghosted = energy(engine, level("mp2", "6-31g", frozen_core=True), piece(pair, [0], [0, 1]))
    mol = plain_mole(piece(pair, [0], [0, 1]), "6-31g")
    assert ghosted == pytest.approx(mp.MP2(scf.RHF(mol).run(), frozen=1).run().e_tot, abs=2e-9)


def test_cartesian_functions_on_request(engine, dimer):
    molecule = piece(dimer, [0])
    ours = energy(engine, level(basis="6-31G*", cart=True), molecule)
    assert ours == pytest.approx(scf.RHF(plain_mole(molecule, "6-31g*", cart=True)).run().e_tot, abs=2e-9)
    assert ours < energy(engine, level(basis="6-31G*"), molecule) - 1e-6


@pytest.mark.parametrize("method", ["hf", "mp2", "ccsd(t)"])
def test_single_atoms_and_bare_protons(engine, method):
    three = cluster(
        [("He", (0, 0, 0))],
        [("H", (0, 0, 9))],
        [("H", (0, 0, 12))],
        charges=[0, 0, 1],
        multiplicities=[1, 2, 1],
    )
    sto3g = level(method)
    assert energy(engine, sto3g, piece(three, [0])) == pytest.approx(-2.807784, abs=1e-6)
    assert energy(engine, sto3g, piece(three, [1])) == pytest.approx(-0.466582, abs=1e-6)
    assert energy(engine, sto3g, piece(three, [2])) == pytest.approx(0.0, abs=1e-99)
    assert energy(engine, sto3g, piece(three, [0, 1])) == pytest.approx(-3.274366, abs=1e-5)
    answer = engine.compute(sto3g, "energy", piece(three, [2], [0, 2]), ONE)
    assert answer.energy == pytest.approx(0.0, abs=1e-99)


def test_restricted_open_shells(engine):
    radical = piece(cluster(HYDROXYL, multiplicities=[2]), [0])
    mol = plain_mole(radical, "6-31g")
    assert energy(engine, level(basis="6-31g", reference="rohf"), radical) == pytest.approx(
        scf.ROHF(mol).run().e_tot, abs=2e-9
    )
    assert energy(engine, level(basis="6-31g"), radical) < scf.ROHF(mol).run().e_tot - 1e-4


# -- the known traps ----------------------------------------------------------------------------


def test_effective_core_potentials_come_with_the_basis(engine):
    """Without the potential xenon converges too, 2,557 Eh off."""
    pair = cluster([("Xe", (0, 0, 0))], [("Xe", (0, 0, 8))])
    alone = energy(engine, level(basis="def2-SVP"), piece(pair, [0]))
    mol = gto.M(atom="Xe", basis="def2-svp", ecp="def2-svp", verbose=0)
    assert alone == pytest.approx(scf.RHF(mol).run().e_tot, abs=1e-8)
    ghosted = energy(engine, level(basis="def2-SVP"), piece(pair, [0], [0, 1]))
    assert 0 < alone - ghosted < 1e-2
    correlated = engine.calculate(level("mp2", "def2-svp", frozen_core=True), "energy", piece(pair, [0]), ONE)
    # def2's potential leaves 4s 4p 4d 5s 5p; 4s and 4p and 4d are core.
    oracle = mp.MP2(scf.RHF(mol).run()).set_frozen().run()
    assert correlated.answer.energy == pytest.approx(oracle.e_tot, abs=1e-8)


@pytest.mark.parametrize(
    ("symbol", "basis"),
    [
        ("I", "lanl2dz"),
        ("I", "cc-pVDZ-PP"),
        ("I", "def2-mtzvp"),
        ("I", "bfd-vdz"),
        ("I", "ccecp-cc-pvdz"),
        ("Au", "aug-cc-pvdz-pp"),
        ("Au", "cc-pwCVDZ-PP"),
    ],
)
def test_heavy_atoms_are_never_computed_in_a_valence_basis_alone(engine, symbol, basis):
    """Also where PySCF keeps the potential under another name than the basis."""
    anion = cluster([(symbol, (0, 0, 0))], charges=[-1])
    engine.check(level(basis=basis), "energy", anion)
    assert -320 < energy(engine, level(basis=basis), piece(anion, [0])) < -5


def test_no_potential_no_calculation(engine):
    from qcmb_mpi.errors import InputError

    gold = cluster([("I", (0, 0, 0))], charges=[-1])
    with pytest.raises(InputError, match=r"basis: .*valence basis for I"):
        engine.check(level(basis="minao"), "energy", gold)


def test_two_hydroxyl_radicals_side_by_side_reach_the_stable_solution(engine):
    pair = cluster(HYDROXYL, moved(HYDROXYL, x=6.0), multiplicities=[2, 2])
    answer = engine.compute(level(basis="6-31g"), "energy", piece(pair, [0, 1]), ONE)
    apart = sum(energy(engine, level(basis="6-31g"), piece(pair, [i])) for i in (0, 1))
    assert answer.energy == pytest.approx(apart, abs=5e-3)
    unstable = scf.UHF(plain_mole(piece(pair, [0, 1]), "6-31g")).run()
    if unstable.e_tot > answer.energy + 1e-6:
        assert "instabilit" in answer.note


def test_an_scf_that_did_not_converge_is_no_energy(engine, dimer):
    for method in ("hf", "pbe", "mp2"):
        with pytest.raises(EngineFailure, match="did not converge") as failure:
            energy(engine, level(method, max_cycle=2), piece(dimer, [0]))
        assert failure.value.kind is Kind.CONVERGENCE


def test_amplitudes_that_did_not_converge_are_no_energy(engine, dimer):
    with pytest.raises(EngineFailure, match="amplitudes") as failure:
        energy(engine, level("ccsd", cc_max_cycle=2), piece(dimer, [0]))
    assert failure.value.kind is Kind.CONVERGENCE


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize(("method", "keywords"), [("hf", {"max_cycle": 1}), ("ccsd", {"cc_max_cycle": 2})])
def test_later_attempts_are_sturdier_say_so_and_find_the_same_solution(
    engine, dimer, method, keywords, attempt
):
    molecule = piece(dimer, [0])
    answer = engine.compute(level(method, **keywords), "energy", molecule, ONE, attempt=attempt)
    assert "level shift" in answer.note
    assert answer.energy == pytest.approx(energy(engine, level(method), molecule), abs=5e-7)


def test_second_order_steps_finish_what_shifting_does_not(engine, dimer):
    """One cycle of a level-shifted SCF cannot converge from the core Hamiltonian."""
    from qcmb_mpi.engine import pyscf_run

    molecule = piece(dimer, [0])
    wanted = energy(engine, level(), molecule)
    mol = plain_mole(molecule, "sto-3g")
    mf = scf.hf.RHF(mol)
    mf.max_cycle = 1
    mf.kernel()
    assert not mf.converged
    pyscf_run._second_order(mf, mf.mo_coeff, mf.mo_occ)
    assert mf.converged
    assert mf.e_tot == pytest.approx(wanted, abs=1e-8)


def test_nothing_is_left_behind(engine, dimer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    from pyscf import lib

    monkeypatch.setattr(lib.param, "TMPDIR", str(scratch))
    use = Resources(threads=1, scratch=str(scratch))
    for method in ("hf", "ccsd(t)"):
        engine.compute(level(method), "gradient", piece(dimer, [0]), use)
    assert os.listdir(scratch) == []
    assert glob.glob(str(tmp_path / "*")) == [str(scratch)]


def test_remembered_basis_files_do_not_change_the_guess(engine):
    from pyscf.gto.basis import parse_nwchem

    from qcmb_mpi.engine.pyscf_basis import remember_basis_files

    remember_basis_files()
    once = parse_nwchem.search_seg
    remember_basis_files()
    assert parse_nwchem.search_seg is once
    path = os.path.join(os.path.dirname(parse_nwchem.__file__), "sto-3g.dat")
    first = once(path, "O")
    first.clear()
    assert once(path, "O")
    with pytest.raises(FileNotFoundError):
        once("no-such-file.dat", "O")


# -- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "keywords"),
    [
        ("hf", TIGHT),
        ("hf", {**TIGHT, "density_fit": "def2-universal-jkfit"}),
        ("lda,vwn", {**TIGHT, "grid_level": 3}),
        ("mp2", {**TIGHT, "frozen_core": True}),
        ("ccsd", {**TIGHT_CC, "frozen_core": True}),
        ("ccsd(t)", TIGHT_CC),
    ],
)
def test_gradients_are_slopes_of_the_energy_ghost_atoms_included(engine, method, keywords):
    pair = cluster(WATER, [("Li", (4.0, 0.3, 0.2))], charges=[0, 1])
    molecule = piece(pair, [0], [0, 1])
    chosen = level(method, "sto-3g", **keywords)
    gradient = engine.compute(chosen, "gradient", molecule, ONE).gradient
    # A functional's grid moves with the atoms, which PySCF's gradient leaves out.
    close = 2e-3 if method == "lda,vwn" else 2e-6
    for atom, axis in ((0, 2), (3, 0)):
        assert gradient[atom, axis] == pytest.approx(slope(engine, chosen, molecule, atom, axis), abs=close)
    assert abs(gradient[3, 0]) > 1e-5


@pytest.mark.parametrize(
    ("method", "keywords"),
    [
        ("hf", TIGHT),
        ("hf", {**TIGHT, "reference": "rohf"}),
        ("mp2", {**TIGHT, "frozen_core": True}),
        ("ccsd", TIGHT_CC),
    ],
)
def test_gradients_of_open_shells(engine, method, keywords):
    cation = piece(cluster(WATER, charges=[1], multiplicities=[2]), [0])
    chosen = level(method, **keywords)
    gradient = engine.compute(chosen, "gradient", cation, ONE).gradient
    assert gradient[0, 2] == pytest.approx(slope(engine, chosen, cation, 0, 2), abs=5e-6)


@pytest.mark.parametrize("method", ["hf", "lda,vwn", "mp2", "ccsd"])
def test_gradients_in_a_field_of_charges_with_ghosts(engine, method):
    """PySCF itself leaves rubbish in the rows of the ghosts here."""
    three = cluster(
        WATER, [("He", (4.0, 0.3, 0.2))], moved(WATER, x=-6), embedding=[0] * 4 + [-0.8, 0.4, 0.4]
    )
    molecule = piece(three, [0], [0, 1])
    chosen = level(method, **(TIGHT_CC if method == "ccsd" else TIGHT))
    gradient = engine.compute(chosen, "gradient", molecule, ONE).gradient
    close = 2e-3 if method == "lda,vwn" else 2e-6
    for atom, axis in ((0, 2), (3, 0)):
        assert gradient[atom, axis] == pytest.approx(slope(engine, chosen, molecule, atom, axis), abs=close)


def test_point_charges_act_on_electrons_and_nuclei_but_not_on_each_other(engine):
    """A bare proton shows the nuclear part; helium far away from a charge feels next to nothing."""
    field = cluster([("H", (0, 0, 0))], [("He", (0, 0, 4.0))], charges=[1, 0], embedding=[0.0, 0.5])
    answer = engine.compute(level(), "gradient", piece(field, [0]), ONE)
    assert answer.energy == pytest.approx(0.5 / 4.0, abs=1e-12)
    assert answer.gradient[0, 2] == pytest.approx(0.5 / 16.0, abs=1e-12)
    far = cluster([("He", (0, 0, 0))], [("H", (0, 0, 1e4))], multiplicities=[1, 2], embedding=[0.0, 0.5])
    assert energy(engine, level(), piece(far, [0])) == pytest.approx(-2.807784, abs=1e-6)


def test_one_electron_feels_the_field(engine):
    """PySCF's factories hand out another class for one electron, which leaves part of the field out."""
    field = cluster([("H", (0, 0, 0))], [("He", (0, 0, 9e3))], multiplicities=[2, 1], embedding=[0.0, 900.0])
    # A neutral atom far from a charge: attraction and repulsion cancel.
    assert energy(engine, level(), piece(field, [0])) == pytest.approx(-0.466582, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "keywords", "close"), [("hf", TIGHT, 2e-5), ("lda,vwn", {**TIGHT, "grid_level": 2}, 1e-2)]
)
def test_hessians_are_slopes_of_the_gradient_and_bring_it_along(engine, method, keywords, close):
    pair = cluster(WATER, [("He", (4.0, 0.3, 0.2))])
    molecule = piece(pair, [0], [0, 1])
    chosen = level(method, **keywords)
    answer = engine.compute(chosen, "hessian", molecule, ONE)
    assert answer.hessian.shape == (12, 12)
    np.testing.assert_allclose(answer.hessian, answer.hessian.T, atol=1e-7)
    np.testing.assert_allclose(
        answer.gradient, engine.compute(chosen, "gradient", molecule, ONE).gradient, atol=1e-7
    )
    from engine_cases import displaced

    for atom, axis in ((0, 2), (3, 0)):
        up, down = (
            engine.compute(chosen, "gradient", displaced(molecule, atom, axis, s), ONE).gradient
            for s in (1e-3, -1e-3)
        )
        np.testing.assert_allclose(answer.hessian[3 * atom + axis], ((up - down) / 2e-3).ravel(), atol=close)


def test_hessians_of_open_shells(engine):
    radical = piece(cluster(HYDROXYL, multiplicities=[2]), [0])
    hessian = engine.compute(level(**TIGHT), "hessian", radical, ONE).hessian
    assert hessian.shape == (6, 6)
    assert hessian[2, 2] > 0.3


# -- the rest -----------------------------------------------------------------------------------


def test_records_are_qcschema_that_repeats_the_task(engine, dimer):
    from qcelemental.models.v2 import AtomicResult

    molecule = piece(dimer, [0], [0, 1])
    chosen = level(conv_tol=1e-10)
    answer = engine.compute(chosen, "gradient", molecule, ONE, keep_record=True)
    record = AtomicResult(**json.loads(json.dumps(answer.record)))
    assert record.success
    assert record.properties.return_energy == answer.energy
    np.testing.assert_array_equal(record.return_result, answer.gradient)
    assert record.properties.calcinfo_nbasis == 14
    assert record.input_data.specification.keywords == {"conv_tol": 1e-10}
    assert record.input_data.molecule.real.tolist() == molecule.real.tolist()
    assert record.provenance.creator == "PySCF"
    plain = engine.compute(chosen, "gradient", molecule, ONE)
    assert plain.record is None
    assert plain.energy == answer.energy


def test_the_same_task_gives_the_same_bits(engine, dimer):
    molecule = piece(dimer, [0, 1])
    first = engine.compute(level("b3lyp", "6-31g", grid_level=1), "gradient", molecule, ONE)
    PySCFEngine().compute(level("hf"), "energy", piece(dimer, [1]), ONE)
    again = engine.compute(level("b3lyp", "6-31g", grid_level=1), "gradient", molecule, ONE)
    assert again.energy == first.energy
    np.testing.assert_array_equal(again.gradient, first.gradient)


def test_sizes_are_the_numbers_of_basis_functions(engine):
    mixed = cluster(WATER, moved(HYDROXYL, x=6), [("Xe", (20, 0, 0))], multiplicities=[1, 2, 1])
    for basis, more in (("def2-svp", {}), ("def2-svp", {"cart": True}), ("def2-TZVP", {})):
        wanted = [
            gto.M(atom=[[s, p] for s, p in f], unit="Bohr", basis=basis, spin=None, verbose=0, **more).nao
            for f in (WATER, HYDROXYL, [("Xe", (0, 0, 0))])
        ]
        assert engine.sizes(level(basis=basis, **more), mixed).tolist() == wanted


def test_the_expected_error_follows_the_thresholds(engine):
    assert engine.energy_error(level()) == 1e-9
    assert engine.energy_error(level(conv_tol=1e-11)) == 1e-11
    assert engine.energy_error(level("ccsd", conv_tol=1e-11)) == 1e-7
    assert engine.energy_error(level("ccsd", conv_tol=1e-11, cc_conv_tol=1e-10)) == 1e-10
