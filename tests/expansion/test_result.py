"""The result is QCManyBody's own model, filled with exact numbers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import oracle
import pytest
import qcmanybody
import qcmanybody.v1.computer
import qcmanybody.v2.computer
from oracle import Case

from qcmb_mpi.expansion.assemble import Assembly
from qcmb_mpi.expansion.exact import SCALE, zeros
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.properties import partial, properties, returned, user_order
from qcmb_mpi.expansion.result import build, nuclear_repulsion, summary
from qcmb_mpi.expansion.weights import through

DRIVERS = ["energy", "gradient", "hessian"]


def model(version: int, driver: str, keywords: dict[str, Any], levels: list[str], keep: str = "none") -> Any:
    """QCManyBody's input for three fragments."""
    one = {"program": "pyscf", "model": {"method": "hf", "basis": "sto-3g"}, "driver": "energy"}
    models = qcmanybody.models.v1 if version == 1 else qcmanybody.models.v2
    protocol = "component_results" if version == 1 else "cluster_results"
    return models.ManyBodyInput(
        molecule=oracle.molecule(3, version),
        specification={
            "driver": driver,
            "specification": dict.fromkeys(levels, one),
            "keywords": keywords,
            "protocols": {protocol: keep},
        },
    )


def both(version: int, driver: str, keywords: dict[str, Any], levels: list[str]) -> tuple[Any, Any]:
    """Our result and QCManyBody's for the same answers."""
    given = model(version, driver, keywords, levels)
    module = qcmanybody.v1.computer if version == 1 else qcmanybody.v2.computer
    computer = module.ManyBodyComputer.from_manybodyinput(given, build_tasks=False)
    core = computer.qcmb_core
    expansion = oracle.expansion_of(core)
    sizes = [len(atoms) for atoms in given.molecule.fragments]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    this = Case(core, expansion, plan(expansion), list(core.nbodies_per_mc_level), offsets)
    results = oracle.answers(this.labels(), offsets, oracle.PROPERTIES[driver])
    analysed = core.analyze(results)
    components = {label: dict(each) for label, each in analysed["component_properties"].items()}
    theirs = computer.get_results({**analysed, "nbody_number": len(results)}, component_results={})
    ours = build(
        given,
        expansion,
        this.names,
        oracle.exact_sums(this, results, oracle.PROPERTIES[driver]),
        order=np.arange(this.n_atoms),
        n_tasks=this.table.n_tasks,
        version="0.1.0",
        statistics={"ranks": 4},
        component_properties=components,
    )
    return ours, theirs


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("keywords", "levels"),
    [
        ({"bsse_type": ["cp", "nocp"], "max_nbody": 2}, ["(auto)"]),
        ({"bsse_type": ["vmfc"], "return_total_data": False}, ["(auto)"]),
        ({"bsse_type": ["nocp"], "levels": {1: "hi", 2: "lo", "supersystem": "ss"}}, ["hi", "lo", "ss"]),
        ({"bsse_type": ["cp"], "supersystem_ie_only": True, "return_total_data": True}, ["(auto)"]),
    ],
    ids=["cp+nocp", "vmfc", "levels", "supersystem_ie_only"],
)
def test_result_is_that_of_qcmanybody_but_for_provenance(
    version: int, driver: str, keywords: dict[str, Any], levels: list[str]
) -> None:
    ours, theirs = both(version, driver, keywords, levels)
    assert isinstance(ours, type(theirs))
    our, their = ours.model_dump(), theirs.model_dump()
    assert list(our) == list(their)
    assert our.pop("provenance") == {
        "creator": "qcmb_mpi",
        "version": "0.1.0",
        "routine": "qcmb_mpi.expansion.result",
        "ranks": 4,
    }
    their.pop("provenance")
    oracle.assert_same_text(our.pop("stdout"), their.pop("stdout"))
    oracle.assert_same_values(our, their)
    assert our["extras"] == {}


@pytest.mark.parametrize("version", [1, 2])
def test_json_has_the_keys_of_qcmanybody_and_reads_back(version: int) -> None:
    keywords = {"bsse_type": ["nocp"], "max_nbody": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # version 2 deprecates .json and .dict
        ours, theirs = both(version, "gradient", keywords, ["(auto)"])
        assert ours.dict().keys() == theirs.dict().keys()
        text = ours.json()
        our, their = json.loads(text), json.loads(theirs.json())
    assert our.keys() == their.keys()
    assert our["properties"].keys() == their["properties"].keys()
    back = type(theirs)(**our)
    assert np.array_equal(back.return_result, ours.return_result.reshape(-1))  # QCSchema's JSON is flat


@pytest.mark.parametrize("version", [1, 2])
def test_result_answers_for_what_it_returns(version: int) -> None:
    ours, _ = both(version, "hessian", {"bsse_type": ["nocp"], "max_nbody": 2}, ["(auto)"])
    assert ours.ret_energy == ours.properties.return_energy
    assert ours.ret_gradient is ours.properties.return_gradient
    assert ours.ret_hessian is ours.properties.return_hessian
    np.testing.assert_array_equal(ours.ret_hessian, ours.return_result)
    energy, _ = both(version, "energy", {"bsse_type": ["nocp"], "max_nbody": 2}, ["(auto)"])
    assert energy.ret_energy == energy.return_result
    assert energy.ret_gradient is None
    assert energy.ret_hessian is None


def test_result_can_be_pickled() -> None:
    ours, _ = both(2, "energy", {"bsse_type": ["nocp"], "max_nbody": 2}, ["(auto)"])
    assert pickle.loads(pickle.dumps(ours)).ret_energy == ours.ret_energy


@pytest.mark.parametrize("version", [1, 2])
def test_result_can_be_converted(version: int) -> None:
    ours, _ = both(version, "energy", {"bsse_type": ["nocp"], "max_nbody": 2}, ["(auto)"])
    other = ours.convert_v(3 - version)
    assert other.schema_version == 3 - version
    assert other.return_result == ours.return_result


@pytest.mark.parametrize(("version", "kind"), [(1, "component"), (2, "cluster")])
@pytest.mark.parametrize("keep", ["none", "all"])
def test_records_are_kept_where_the_protocol_says_so(version: int, kind: str, keep: str) -> None:
    this = oracle.case(3, ("nocp",), {1: "(auto)"}, total=True, version=version)
    results = oracle.answers(this.labels(), this.offsets, ["energy"])
    atom = oracle.molecule(1, version)
    common = {"provenance": {"creator": "x"}, "properties": {}, "return_result": -2.8, "success": True}
    scheme = {"driver": "energy", "model": {"method": "hf", "basis": "sto-3g"}}
    record = (
        {**common, **scheme, "molecule": atom}
        if version == 1
        else {**common, "molecule": atom, "input_data": {"molecule": atom, "specification": scheme}}
    )
    ours = build(
        model(version, "energy", {"bsse_type": ["nocp"], "max_nbody": 1}, ["(auto)"], keep),
        this.expansion,
        this.names,
        oracle.exact_sums(this, results, ["energy"]),
        order=np.arange(this.n_atoms),
        n_tasks=3,
        version="0.1.0",
        component_results={this.labels()[0]: record},
    )
    assert list(getattr(ours, f"{kind}_results")) == (this.labels()[:1] if keep == "all" else [])


def test_derivatives_come_in_the_order_of_the_users_atoms() -> None:
    order = np.array([2, 0, 1])
    gradient = user_order("gradient", np.arange(9.0), order)
    hessian = user_order("hessian", np.arange(81.0), order)
    for i, mine in enumerate(order):
        for a in range(3):
            assert gradient[mine, a] == 3 * i + a  # type: ignore[index]
            for j, yours in enumerate(order):
                for b in range(3):
                    assert hessian[3 * mine + a, 3 * yours + b] == 9 * (3 * i + a) + 3 * j + b  # type: ignore[index]


def test_differences_are_exact_where_plain_floats_lose_them() -> None:
    expansion = Expansion(3, ("nocp",), ((1, 2),))
    large = int(Fraction(30000.0) * 2**SCALE)
    small = int(Fraction(1e-15) * 2**SCALE)
    sums = {"energy": {"nocp": {n: zeros(1) + large + (n - 1) * small for n in (1, 2)}}}
    ours = properties(expansion, sums, order=np.arange(3))
    assert ours["nocp_corrected_interaction_energy"] == 1e-15
    assert ours["nocp_corrected_total_energy"] == 30000.0
    sums["energy"]["nocp"][2] = zeros(1) + large + int(Fraction(1.5e-12) * 2**SCALE)
    assert "0.000000000002" in summary(expansion, ["(auto)"], sums["energy"])
    assert f"{30000.0 + 1.5e-12 - 30000.0:.12f}" == "0.000000000000"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("treatments", "ends_only"),
    [
        (("nocp",), False),
        (("nocp",), True),
        (("cp", "nocp"), False),
        (("cp", "nocp"), True),
        (("vmfc", "nocp", "cp"), False),
    ],
)
def test_one_fragment_has_its_energy_and_no_interaction(
    treatments: tuple[str, ...], ends_only: bool, version: int
) -> None:
    expansion = Expansion(1, treatments, ((1,),), None, True, ends_only)
    table = plan(expansion)
    assert [table.label(task, ["(auto)"]) for task in range(table.n_tasks)] == ['["(auto)", [1], [1]]']
    weights = through(table)
    energy, gradient = Assembly(table, weights), Assembly(table, weights, 3)
    energy.add(np.array([0]), np.array([-2.8]))
    gradient.add(np.array([0]), np.array([[1.0, 2.0, 3.0]]), np.array([[0, 1, 2]]))
    sums = {"energy": energy.exact(), "gradient": gradient.exact()}
    ours = properties(expansion, sums, order=np.array([0]))
    for treatment in treatments:
        assert ours[f"{treatment}_corrected_total_energy"] == -2.8
        assert ours[f"{treatment}_corrected_interaction_energy"] == 0.0
        np.testing.assert_array_equal(ours[f"{treatment}_corrected_interaction_gradient"], np.zeros((1, 3)))
    assert returned(expansion, sums, order=np.array([0]))["energy"] == -2.8
    given = model(version, "gradient", {"bsse_type": list(treatments)}, ["(auto)"]).model_copy(
        update={"molecule": oracle.molecule(1, version)}
    )
    result = build(given, expansion, ["(auto)"], sums, order=np.array([0]), n_tasks=1, version="0.1.0")
    assert result.ret_energy == -2.8
    assert result.properties.nuclear_repulsion_energy == 0.0
    np.testing.assert_array_equal(result.return_result, [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize("n_fragments", [1, 2, 5])
def test_nuclear_repulsion_is_that_of_qcelemental(n_fragments: int) -> None:
    cluster = oracle.molecule(n_fragments)
    assert nuclear_repulsion(cluster) == pytest.approx(cluster.nuclear_repulsion_energy(), rel=1e-14)
    real = np.arange(len(cluster.symbols)) % 2 == 0
    ghosted = type(cluster)(symbols=cluster.symbols, geometry=cluster.geometry, real=real, validate=False)
    assert nuclear_repulsion(ghosted) == pytest.approx(ghosted.nuclear_repulsion_energy(), rel=1e-14)


def sums_of(this: Case) -> Any:
    results = oracle.answers(this.labels(), this.offsets, ["energy", "gradient"])
    return oracle.exact_sums(this, results, ["energy", "gradient"])


def test_partial_data_of_complete_orders_are_all_data() -> None:
    this = oracle.case(3, ("nocp", "cp"), {2: "a", "supersystem": "s"}, total=True)
    order = np.arange(this.n_atoms)
    sums = sums_of(this)
    every = partial(this.expansion, sums, {"nocp": [1, 2, 3], "cp": [1, 2, 3]}, order=order)
    json.dumps(every)
    whole = properties(this.expansion, sums, order=order)
    assert every.keys() == whole.keys()
    assert all(np.array_equal(every[key], whole[key]) for key in every)


def test_partial_data_have_nothing_that_rests_on_an_incomplete_order() -> None:
    this = oracle.case(3, ("nocp", "cp"), {3: "a"}, total=True)
    order = np.arange(this.n_atoms)
    sums = sums_of(this)
    whole = properties(this.expansion, sums, order=order)
    some = partial(this.expansion, sums, {"nocp": [1, 2]}, order=order)
    assert {key for key in some if "gradient" not in key} == {
        "nocp_corrected_total_energy_through_1_body",
        "nocp_corrected_total_energy_through_2_body",
        "nocp_corrected_interaction_energy_through_1_body",
        "nocp_corrected_interaction_energy_through_2_body",
        "nocp_corrected_2_body_contribution_to_energy",
    }
    assert all(np.array_equal(some[key], whole[key]) for key in some)
    assert partial(this.expansion, sums, {}, order=order) == {}


def test_partial_data_without_monomers_are_no_interaction_and_no_total() -> None:
    with_monomers = oracle.case(3, ("cp",), {3: "a"}, total=True)
    without = oracle.case(3, ("cp",), {3: "a"}, total=False)
    for this, keys in [
        (with_monomers, {"cp_corrected_total_energy", "cp_corrected_total_energy_through_3_body"}),
        (without, set()),
    ]:
        some = partial(this.expansion, sums_of(this), {"cp": [3]}, order=np.arange(this.n_atoms))
        assert {key for key in some if "gradient" not in key} == keys


def test_importing_the_arithmetic_imports_no_models() -> None:
    code = (
        "import sys, qcmb_mpi.expansion.result, qcmb_mpi.expansion.assemble;"
        "sys.exit(bool({'qcmanybody', 'qcelemental', 'pydantic'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
