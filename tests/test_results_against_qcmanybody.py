"""The whole program against QCManyBody's serial computer with the same engine: same results.

Every property, every task's properties, the labels, the printed tables: within 1e-9 Eh, and 1e-7 for
derivatives.  Locally for all cases, under mpiexec for some, both schema versions.
"""

from __future__ import annotations

import copy
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import (
    ATOMS,
    HF,
    HF_WIDER,
    HYDROGENS,
    IONS,
    MP2,
    PAIR,
    RADICAL,
    UNEVEN,
    many_body,
    shuffled,
    waters,
)
from oracle_runs import assert_same_result, model, oracle
from program import Mpi, Program

from qcmb_mpi import ExecutorConfig, MultiprocessingExecutor, ParallelManyBodyComputer

WATERS = waters(3)
ALL = ["cp", "nocp", "vmfc"]
THREE = {"low": HF, "wider": HF_WIDER, "high": MP2}

CASES: dict[str, dict[str, Any]] = {
    # waters
    "waters, nocp": many_body(WATERS, bsse_type=["nocp"]),
    "waters, cp, total": many_body(WATERS, bsse_type=["cp"], return_total_data=True, version=1),
    "waters, vmfc": many_body(WATERS, bsse_type=["vmfc"], max_nbody=2),
    "waters, all": many_body(WATERS, bsse_type=ALL, version=1),
    "waters, all, records": many_body(WATERS, bsse_type=["vmfc", "cp", "nocp"], records="all"),
    "waters, gradient": many_body(WATERS, bsse_type=["vmfc", "cp"], max_nbody=2, driver="gradient"),
    # ions
    "ions, all, total": many_body(IONS, bsse_type=ALL, return_total_data=True),
    "ions, cp gradient of the interaction": many_body(
        IONS, bsse_type=["cp"], driver="gradient", return_total_data=False, max_nbody=2, version=1
    ),
    # a radical
    "radical, all": many_body(RADICAL, bsse_type=["nocp", "cp", "vmfc"], version=1),
    "radical, vmfc gradient": many_body(RADICAL, bsse_type=["vmfc"], driver="gradient", max_nbody=2),
    # neutral atoms
    "atoms, all, 2-body": many_body(ATOMS, bsse_type=ALL, max_nbody=2),
    "atoms, vmfc, all orders": many_body(ATOMS, bsse_type=["vmfc"], return_total_data=True, version=1),
    "atoms, three levels, nocp": many_body(
        ATOMS, named=THREE, levels={1: "high", 2: "wider", 3: "low"}, bsse_type=["nocp"]
    ),
    "atoms, three levels, all": many_body(
        ATOMS,
        named=THREE,
        levels={1: "high", 2: "wider", 4: "low"},
        bsse_type=["cp", "vmfc", "nocp"],
        return_total_data=True,
        version=1,
    ),
    "atoms, supersystem": many_body(
        ATOMS,
        named=THREE,
        levels={1: "high", 2: "wider", "supersystem": "low"},
        bsse_type=["cp", "nocp"],
        return_total_data=True,
    ),
    "hydrogens, supersystem, gradient": many_body(
        HYDROGENS,
        named={"low": HF, "high": HF_WIDER},
        levels={2: "high", "supersystem": "low"},
        bsse_type=["vmfc", "nocp"],
        driver="gradient",
        version=1,
    ),
    "atoms, supersystem_ie_only, cp": many_body(
        ATOMS, bsse_type=["cp"], supersystem_ie_only=True, return_total_data=True
    ),
    "hydrogens, supersystem_ie_only, nocp gradient": many_body(
        HYDROGENS, bsse_type=["nocp"], supersystem_ie_only=True, driver="gradient", version=1
    ),
    # Hessians
    "pair, Hessian, all": many_body(PAIR, bsse_type=ALL, driver="hessian"),
    "uneven pair, Hessian of the interaction": many_body(
        UNEVEN, bsse_type=["cp", "nocp"], driver="hessian", return_total_data=False, version=1
    ),
    # ends
    "1-body only": many_body(HYDROGENS, bsse_type=["nocp"], max_nbody=1, driver="gradient"),
    "keywords of the engine": many_body(
        HYDROGENS, level={**HF, "keywords": {"conv_tol": 1e-11, "density_fit": True}}, bsse_type=["cp"]
    ),
}

#: Those that every number of ranks computes too.
UNDER_MPI = (
    "waters, all, records",
    "ions, cp gradient of the interaction",
    "radical, all",
    "atoms, three levels, all",
    "pair, Hessian, all",
)

#: What each rank runs: every case in one MPI job, the results of rank 0 to a file.
SCRIPT = """
import json, sys
from qcmb_mpi import ParallelManyBodyComputer

with open(sys.argv[1]) as file:
    cases = json.load(file)
texts = {}
for name, content in cases.items():
    result = ParallelManyBodyComputer.from_manybodyinput(content)
    if result:
        dump = result.model_dump_json if content["schema_version"] == 2 else result.json
        texts[name] = dump()
if texts:
    with open(sys.argv[2], "w") as file:
        json.dump(texts, file)
"""

skip_version_1 = pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic has no version 1 here")


SLOW = (
    "waters, gradient",
    "ions, cp gradient of the interaction",
    "radical, all",
    "radical, vmfc gradient",
    "atoms, vmfc, all orders",
    "atoms, three levels, all",
)


def cases(names: Any = CASES) -> list[Any]:
    return [
        pytest.param(
            name,
            marks=[skip_version_1] * (CASES[name]["schema_version"] == 1)
            + [pytest.mark.slow] * (name in SLOW),
        )
        for name in names
    ]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCMB_MPI_THREADS_PER_WORKER", "1")


@cache
def expected(name: str) -> Any:
    return oracle(CASES[name])


@pytest.mark.parametrize("name", cases())
def test_a_local_run_gives_what_qcmanybody_gives(name: str) -> None:
    ours = ParallelManyBodyComputer.from_manybodyinput(model(CASES[name]), parallel=True, n_workers=2)
    assert_same_result(ours, expected(name))


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_number_of_ranks_gives_what_qcmanybody_gives(program: Program, mpi: Mpi, ranks: int) -> None:
    chosen = {
        name: CASES[name]
        for name in UNDER_MPI
        if CASES[name]["schema_version"] == 2 or sys.version_info < (3, 14)
    }
    program.write("cases.json", chosen)
    script = program.write("script.py", SCRIPT)
    program.succeed("cases.json", "results.json", ranks=ranks, mpi=mpi, script=script)
    texts = program.read("results.json")
    assert list(texts) == list(chosen)
    for name, text in texts.items():
        theirs = expected(name)
        kind, their_text = (
            type(theirs),
            theirs.json() if theirs.schema_version == 1 else theirs.model_dump_json(),
        )
        assert_same_result(kind(**json.loads(text)), kind(**json.loads(their_text)))


@pytest.mark.slow
@skip_version_1
def test_both_versions_of_an_input_give_the_same_numbers(program: Program) -> None:
    numbers = []
    for version in (1, 2):
        content = many_body(HYDROGENS, bsse_type=ALL, driver="gradient", version=version)
        program.write("input.json", {**content, "execution": {"threads_per_worker": 1}})
        program.succeed("input.json", "--checkpoint", "shared.h5")
        numbers.append(program.read("input.result.json"))
    first, second = numbers
    assert first["return_result"] == np.array(second["return_result"]).reshape(-1).tolist() or (
        first["return_result"] == second["return_result"]
    )
    assert (first["schema_version"], second["schema_version"]) == (1, 2)
    assert second["provenance"]["tasks_computed"] == 0


@pytest.mark.parametrize("driver", ["energy", "gradient", "hessian"])
def test_fragments_that_are_not_contiguous_are_mapped_back(driver: str) -> None:
    ordered = {"energy": RADICAL, "gradient": WATERS, "hessian": UNEVEN}[driver]
    n_atoms = len(ordered["symbols"])
    order = np.random.default_rng(7).permutation(n_atoms).tolist()
    keywords: dict[str, Any] = {"bsse_type": ["cp", "nocp"], "max_nbody": 2, "return_total_data": True}
    theirs = oracle(many_body(ordered, driver=driver, **keywords))
    ours = ParallelManyBodyComputer.from_manybodyinput(
        many_body(shuffled(ordered, order), driver=driver, **keywords)
    )
    assert ours.ret_energy == pytest.approx(theirs.properties.return_energy, abs=1e-9)
    assert ours.stdout.split()[:5] == theirs.stdout.split()[:5]
    assert set(ours.cluster_properties) == set(theirs.cluster_properties)
    if driver == "energy":
        return
    coordinates = np.array([3 * atom + k for atom in order for k in range(3)])
    every = [(ours.properties, theirs.properties)] + [
        (ours.cluster_properties[label], theirs.cluster_properties[label])
        for label in theirs.cluster_properties
    ]
    for our, their in every:
        gradient = np.array(their.return_gradient).reshape(-1)[coordinates]
        np.testing.assert_allclose(np.array(our.return_gradient).reshape(-1), gradient, rtol=0, atol=1e-7)
        if driver == "hessian":
            hessian = np.array(their.return_hessian)[np.ix_(coordinates, coordinates)]
            np.testing.assert_allclose(our.return_hessian, hessian, rtol=0, atol=1e-7)


def test_a_single_fragment_is_its_own_expansion() -> None:
    single = {**WATERS, "symbols": WATERS["symbols"][:3], "geometry": WATERS["geometry"][:9]}
    single |= {"fragments": [[0, 1, 2]], "fragment_charges": [0.0], "fragment_multiplicities": [1]}
    content = many_body(single, bsse_type=["nocp"], driver="gradient")
    ours = ParallelManyBodyComputer.from_manybodyinput(copy.deepcopy(content))
    theirs = oracle(many_body(WATERS, bsse_type=["nocp"], max_nbody=1, driver="gradient"))
    first = theirs.cluster_properties['["(auto)", [1], [1]]']
    assert ours.ret_energy == pytest.approx(first.return_energy, abs=1e-9)
    np.testing.assert_allclose(
        np.array(ours.ret_gradient), np.array(first.return_gradient).reshape(-1, 3)[:3], rtol=0, atol=1e-7
    )


@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param(1, marks=skip_version_1), 2])
def test_records_of_all_tasks_come_when_the_protocol_asks(version: int, tmp_path: Path) -> None:
    content = many_body(PAIR, bsse_type=["cp"], records="all", driver="gradient", version=version)
    theirs = oracle(content)
    kind = "cluster" if version == 2 else "component"
    config = ExecutorConfig(n_workers=2, threads_per_worker=1, checkpoint_file=str(tmp_path / "pair.h5"))
    for _ in range(2):  # computed, and from the checkpoint
        ours = ParallelManyBodyComputer.from_manybodyinput(content, executor=MultiprocessingExecutor(config))
        assert_same_result(ours, theirs)
        records = getattr(ours, f"{kind}_results")
        assert len(records) == len(getattr(ours, f"{kind}_properties"))
        for label, record in getattr(theirs, f"{kind}_results").items():
            assert isinstance(records[label], type(record))
            assert records[label].success
            assert records[label].properties.return_energy == pytest.approx(
                record.properties.return_energy, abs=1e-9
            )
            assert records[label].molecule.get_hash() == record.molecule.get_hash()
