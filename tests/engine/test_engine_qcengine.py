"""Programs behind QCEngine: a small one of our own, whose answers are known, stands for them all."""

import json

import numpy as np
import pytest
from engine_cases import ONE, WATER, cluster, level, moved, piece, waters

from qcmb_mpi.engine.base import Resources
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.qcengine import QCEngineEngine, failure
from qcmb_mpi.engine.registry import get_engine, load_plugins, probe_ghosts
from qcmb_mpi.errors import InputError

PLUGIN = '''
"""Programs whose energy is a sum over atoms."""
import numpy as np
from qcelemental.models.v2 import AtomicResult
from qcengine.exceptions import ConvergenceError, InputError
from qcengine.programs import register_program
from qcengine.programs.model import ProgramHarness


class Summing(ProgramHarness):
    _defaults = dict(
        name="Summing", scratch=False, thread_safe=True, thread_parallel=False, node_parallel=False,
        managed_memory=False,
    )

    @staticmethod
    def found(raise_error=False):
        return True

    def get_version(self):
        return "1.0"

    def weigh(self, molecule):
        return np.where(molecule.real, molecule.atomic_numbers, 0.01)

    def compute(self, input_data, config):
        asked = input_data.specification
        keywords = asked.keywords
        if keywords.get("fail") == "convergence":
            raise ConvergenceError("SCF did not converge")
        if keywords.get("fail") == "input":
            raise InputError("no such method")
        if keywords.get("fail") == "crash":
            raise OSError("segmentation fault")
        weights = self.weigh(input_data.molecule)
        energy = -float(weights.sum())
        n = len(weights)
        gradient = np.arange(3.0 * n) * (2 if keywords.get("wrong") else 1)
        if keywords.get("wrong"):
            gradient = np.arange(3.0)
        results = {"energy": energy, "gradient": gradient, "hessian": np.eye(3 * n)}
        return AtomicResult(
            input_data=input_data, molecule=input_data.molecule, success=True,
            properties={"return_energy": energy, "calcinfo_natom": n},
            return_result=results[asked.driver.value], provenance={"creator": "summing"},
            extras={"memory": config.memory, "ncores": config.ncores, "scratch": config.scratch_directory},
        )


class Blind(Summing):
    _defaults = {**Summing._defaults, "name": "blind"}

    def weigh(self, molecule):
        return molecule.atomic_numbers


class Dropping(Summing):
    _defaults = {**Summing._defaults, "name": "dropping"}

    def weigh(self, molecule):
        return np.where(molecule.real, molecule.atomic_numbers, 0)


class Refusing(Summing):
    _defaults = {**Summing._defaults, "name": "refusing"}

    def weigh(self, molecule):
        if not all(molecule.real):
            raise InputError("no ghosts")
        return molecule.atomic_numbers


class Missing(Summing):
    _defaults = {**Summing._defaults, "name": "missing"}

    @staticmethod
    def found(raise_error=False):
        if raise_error:
            raise ModuleNotFoundError("Please install via conda install missing")
        return False


for harness in (Summing, Blind, Dropping, Refusing, Missing):
    register_program(harness())
'''


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    path = folder / "summing_programs.py"
    path.write_text(PLUGIN)
    load_plugins([str(path)])
    load_plugins([str(path)])  # once more in the same process does no harm
    yield
    from qcengine.programs.base import unregister_program

    for name in ("summing", "blind", "dropping", "refusing", "missing"):
        unregister_program(name)


def summing(**keywords):
    return level("any", "a-basis", program="summing", **keywords)


def test_results_of_every_driver_come_through_with_ghosts():
    engine = get_engine("Summing")
    molecule = piece(waters(2), [0], [0, 1])
    assert engine.compute(summing(), "energy", molecule, ONE).energy == pytest.approx(-10.03)
    gradient = engine.compute(summing(), "gradient", molecule, ONE)
    assert gradient.energy == pytest.approx(-10.03)
    np.testing.assert_array_equal(gradient.gradient, np.arange(18.0).reshape(6, 3))
    hessian = engine.compute(summing(), "hessian", molecule, ONE)
    np.testing.assert_array_equal(hessian.hessian, np.eye(18))


def test_resources_reach_qcengine(tmp_path):
    use = Resources(threads=3, memory=5 * 1024**3, scratch=str(tmp_path))
    answer = get_engine("summing").compute(summing(), "energy", piece(waters(1), [0]), use, keep_record=True)
    record = json.loads(json.dumps(answer.record))
    assert record["extras"] == {"memory": 5.0, "ncores": 3, "scratch": str(tmp_path)}
    assert record["schema_version"] == 2


@pytest.mark.parametrize(
    ("how", "kind"), [("convergence", Kind.CONVERGENCE), ("input", Kind.INPUT), ("crash", Kind.CRASH)]
)
def test_failures_have_a_kind(how, kind):
    with pytest.raises(EngineFailure, match="summing: ") as error:
        get_engine("summing").compute(summing(fail=how), "energy", piece(waters(1), [0]), ONE)
    assert error.value.kind is kind


def test_a_gradient_of_the_wrong_shape_is_a_crash():
    with pytest.raises(EngineFailure, match="shape") as error:
        get_engine("summing").compute(summing(wrong=True), "gradient", piece(waters(1), [0]), ONE)
    assert error.value.kind is Kind.CRASH


@pytest.mark.parametrize(
    ("error_type", "message", "kind"),
    [
        (
            "unknown_error",
            "PsiException: Could not converge SCF iterations in 100 iterations.",
            Kind.CONVERGENCE,
        ),
        ("unknown_error", "Calculation failed to converge", Kind.CONVERGENCE),
        ("random_error", "std::bad_alloc", Kind.MEMORY),
        ("resource_error", "too little disk", Kind.MEMORY),
        ("unknown_error", "Segmentation fault", Kind.CRASH),
        ("input_error", "convergence criterion did not converge to a known name", Kind.INPUT),
        ("unknown_error", "room for improvement", Kind.CRASH),
    ],
)
def test_words_of_programs_are_understood(error_type, message, kind):
    assert failure("any", error_type, message).kind is kind


def test_unknown_and_missing_programs_are_named():
    with pytest.raises(InputError, match="did you mean 'psi4'"):
        get_engine("psi5").check(level(program="psi5"), "energy", waters(1))
    with pytest.raises(InputError, match="conda install missing"):
        get_engine("missing").check(level(program="missing"), "energy", waters(1))
    get_engine("summing").check(summing(), "energy", waters(1))
    assert get_engine("summing").version() == "1.0"


def test_programs_known_to_ignore_ghosts_are_not_given_any():
    engine = QCEngineEngine("MOPAC")
    assert engine.ghosts is False
    with pytest.raises(EngineFailure, match="ghost") as error:
        engine.compute(level("pm7", None, program="mopac"), "energy", piece(waters(2), [0], [0, 1]), ONE)
    assert error.value.kind is Kind.INPUT


def test_what_is_listed_about_ghosts_is_what_the_interfaces_do():
    from pathlib import Path

    import qcengine.programs

    from qcmb_mpi.engine.qcengine import GHOSTS

    folder = Path(qcengine.programs.__file__).parent
    for program in ("mopac", "torchani", "mace", "aimnet2", "orb", "rdkit", "openmm", "qcore"):
        assert GHOSTS[program] is False
        assert ".real" not in (folder / f"{program}.py").read_text()
    tested = (folder / "tests" / "test_ghost.py").read_text()
    assert all(f'"{program}"' in tested for program in ("cfour", "nwchem", "psi4"))


@pytest.mark.parametrize(
    ("program", "honoured"), [("summing", True), ("blind", False), ("dropping", False), ("refusing", False)]
)
def test_a_probe_tells_whether_ghosts_are_honoured(program, honoured):
    engine = get_engine(program)
    assert engine.ghosts is None
    assert probe_ghosts(engine, level("any", "a-basis", program=program), waters(3), ONE) is honoured


def test_the_probe_takes_the_nearest_neighbour():
    from qcmb_mpi.engine.registry import _close_pair

    row = cluster(WATER, moved(WATER, x=50), moved(WATER, x=6), moved(WATER, x=20))
    first, second, distance = _close_pair(row)
    assert (first, second) == (0, 2)
    assert distance == pytest.approx(5.9, abs=0.2)


def test_psi4_gets_charges_as_qcmanybody_hands_them_over():
    embedded = cluster(WATER, moved(WATER, x=6), embedding=[-0.8, 0.4, 0.4] * 2)
    charges = piece(embedded, [0]).point_charges
    keywords = QCEngineEngine("psi4")._embedded(
        level(program="psi4", scf_type="df", function_kwargs={"dertype": 1}), charges
    )
    assert keywords["scf_type"] == "df"
    assert keywords["function_kwargs"]["dertype"] == 1
    potentials = keywords["function_kwargs"]["external_potentials"]
    assert potentials[0] == [-0.8, [6.0, 0.0, 0.1]]
    assert len(potentials) == 3
    with pytest.raises(InputError, match="embedding"):
        get_engine("summing").check(summing(), "energy", embedded)


def test_sizes_order_fragments_and_basis_sets():
    engine = QCEngineEngine("nwchem")
    mixed = cluster(WATER, [("Xe", (9, 0, 0))], [("H", (20, 0, 0))])
    small = engine.sizes(level(basis="cc-pvdz", program="nwchem"), mixed)
    large = engine.sizes(level(basis="aug-cc-pvtz", program="nwchem"), mixed)
    assert small[1] > small[0] > small[2]
    assert (large > 2 * small).all()
    assert small[0] == pytest.approx(24, abs=3)
