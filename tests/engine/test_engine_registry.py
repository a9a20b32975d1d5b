"""Engines by name, plugins, and our programs inside QCEngine."""

import sys

import numpy as np
import pytest
from engine_cases import HYDROXYL, ONE, WATER, cluster, level, moved, piece, waters

from qcmb_mpi.engine.fragment import to_qcschema
from qcmb_mpi.engine.pyscf import PySCFEngine
from qcmb_mpi.engine.qcengine import QCEngineEngine
from qcmb_mpi.engine.registry import get_engine, load_plugins, probe_ghosts, register_with_qcengine
from qcmb_mpi.engine.tblite import TbliteEngine
from qcmb_mpi.errors import InputError


def test_programs_find_their_engine_in_any_case():
    assert isinstance(get_engine("PySCF"), PySCFEngine)
    assert isinstance(get_engine("tblite"), TbliteEngine)
    assert isinstance(get_engine("nwchem"), QCEngineEngine)
    assert get_engine("NWChem").name == "nwchem"


def test_plugins_are_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_own_plugin.py").write_text("loaded = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_plugins(["my_own_plugin"])
    assert sys.modules["my_own_plugin"].loaded


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "no_such_file.py"])
def test_missing_plugins_are_named(module):
    with pytest.raises(InputError, match=module):
        load_plugins([module])


def test_plugins_that_fail_are_named_with_the_reason(tmp_path):
    path = tmp_path / "broken_plugin.py"
    path.write_text("raise ValueError('not today')\n")
    with pytest.raises(InputError, match=r"broken_plugin.*ValueError: not today"):
        load_plugins([str(path)])
    assert "broken_plugin" not in sys.modules


def test_what_an_engine_says_of_ghosts_needs_no_probe():
    assert probe_ghosts(get_engine("pyscf"), level(), waters(2)) is True
    assert probe_ghosts(get_engine("tblite"), level("gfn2", None, program="tblite"), waters(2)) is False


# -- our programs inside QCEngine ---------------------------------------------------------------


@pytest.fixture(scope="module")
def qcengine():
    pytest.importorskip("pyscf")
    pytest.importorskip("tblite")
    import qcengine

    register_with_qcengine()
    register_with_qcengine()
    return qcengine


def atomic_input(version, chosen, driver, molecule):
    import qcelemental

    models = {1: qcelemental.models.v1, 2: qcelemental.models.v2}[version]
    theirs = models.Molecule(validate=False, **to_qcschema(molecule))
    model = {"method": chosen.method, "basis": chosen.basis}
    if version == 1:
        return models.AtomicInput(molecule=theirs, driver=driver, model=model, keywords=dict(chosen.keywords))
    specification = {"driver": driver, "model": model, "keywords": dict(chosen.keywords)}
    return models.AtomicInput(molecule=theirs, specification=specification)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("program", "method", "basis", "driver", "ghosted"),
    [
        ("pyscf", "hf", "sto-3g", "energy", True),
        ("pyscf", "mp2", "sto-3g", "gradient", True),
        ("pyscf", "hf", "sto-3g", "hessian", False),
        ("tblite", "gfn2", None, "gradient", False),
    ],
)
def test_qcengine_gives_the_same_numbers(qcengine, version, program, method, basis, driver, ghosted):
    molecule = piece(waters(2), [0], [0, 1]) if ghosted else piece(waters(2), [0, 1])
    chosen = level(method, basis, program=program)
    ours = get_engine(program).compute(chosen, driver, molecule, ONE)
    result = qcengine.compute(
        atomic_input(version, chosen, driver, molecule), program, raise_error=True, task_config={"ncores": 1}
    )
    assert result.success
    assert result.schema_version == version
    assert result.properties.return_energy == ours.energy
    wanted = {"energy": ours.energy, "gradient": ours.gradient, "hessian": ours.hessian}[driver]
    np.testing.assert_array_equal(np.asarray(result.return_result), wanted)
    assert result.properties.calcinfo_natom == 6
    if program == "pyscf":
        assert result.properties.calcinfo_nbasis == 14
        assert result.properties.nuclear_repulsion_energy > 0
    if driver != "energy":
        np.testing.assert_array_equal(result.properties.return_gradient, ours.gradient)


@pytest.mark.parametrize(
    ("program", "method", "basis", "keywords", "error_type"),
    [
        ("pyscf", "hf", "sto-3g", {"max_cycle": 1}, "convergence_error"),
        ("pyscf", "hff", "sto-3g", {}, "input_error"),
        ("pyscf", "hf", "sto-3g", {"maxcycle": 1}, "input_error"),
        ("tblite", "gfn2", "sto-3g", {}, "input_error"),
    ],
)
def test_qcengine_gets_the_kind_of_failure(qcengine, program, method, basis, keywords, error_type):
    chosen = level(method, basis, program=program, **keywords)
    result = qcengine.compute(atomic_input(2, chosen, "energy", piece(waters(1), [0])), program)
    assert not result.success
    assert result.error.error_type == error_type


def test_open_shells_through_qcengine(qcengine):
    pair = cluster(WATER, moved(HYDROXYL, x=6), multiplicities=[1, 2])
    molecule = piece(pair, [1], [0, 1])
    result = qcengine.compute(
        atomic_input(2, level(), "energy", molecule), "pyscf", raise_error=True, task_config={"ncores": 1}
    )
    assert result.return_result == get_engine("pyscf").compute(level(), "energy", molecule, ONE).energy
    assert (result.properties.calcinfo_nalpha, result.properties.calcinfo_nbeta) == (5, 4)


def test_programs_that_qcengine_has_already_are_left_alone(qcengine, monkeypatch):
    from qcengine.programs import base

    marker = object()
    monkeypatch.setitem(base.programs, "pyscf", marker)
    register_with_qcengine()
    assert base.programs["pyscf"] is marker
