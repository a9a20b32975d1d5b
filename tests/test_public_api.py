"""The names and calls of the guide, as scripts write them."""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import qcmanybody.models.v1
import qcmanybody.models.v2
from clusters import HF, PAIR, many_body
from oracle_runs import model
from program import Mpi, Program

import qcmb_mpi
from qcmb_mpi import (
    ExecutorConfig,
    InputError,
    ManyBodyInput,
    MPIExecutor,
    MultiprocessingExecutor,
    ParallelManyBodyComputer,
    SequentialExecutor,
)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QCMB_MPI_THREADS_PER_WORKER", "1")


def flat(**keywords: Any) -> dict[str, Any]:
    """The guide's first example."""
    return {
        "molecule": PAIR,
        "driver": "energy",
        "specification": HF,
        "keywords": {"bsse_type": ["cp"], **keywords},
    }


def test_every_public_name_is_there() -> None:
    for name in qcmb_mpi.__all__:
        assert hasattr(qcmb_mpi, name)
        assert name in dir(qcmb_mpi)
    assert issubclass(qcmb_mpi.TasksFailed, qcmb_mpi.QcmbError)
    assert issubclass(qcmb_mpi.Stopped, qcmb_mpi.QcmbError)
    with pytest.raises(AttributeError, match="no_such_name"):
        qcmb_mpi.no_such_name  # noqa: B018


def test_the_guides_import_path_has_the_same_names() -> None:
    from qcmb_mpi import parallel

    assert parallel.ExecutorConfig is ExecutorConfig
    assert parallel.SequentialExecutor is SequentialExecutor
    assert parallel.MultiprocessingExecutor is MultiprocessingExecutor
    assert parallel.MPIExecutor is MPIExecutor


def test_the_entrance_has_the_guides_parameters() -> None:
    parameters = inspect.signature(ParallelManyBodyComputer.from_manybodyinput).parameters
    assert {name: p.default for name, p in parameters.items() if name != "mb_input"} == {
        "parallel": False,
        "n_workers": None,
        "executor": None,
    }


def test_the_defaults_are_the_guides() -> None:
    config = ExecutorConfig()
    assert config.n_workers is None
    assert config.timeout_per_task == 3600.0
    assert config.max_retries == 2
    assert config.checkpoint_interval == 10
    assert config.checkpoint_file is None
    assert (config.cache_dir, config.scratch_dir) == (None, None)
    assert config.log_level == "INFO"


@pytest.mark.parametrize(
    "wrong", [{"n_workers": 0}, {"timeout_per_task": -1}, {"max_retries": -1}, {"checkpoint_interval": 0}]
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ExecutorConfig(**wrong)


def test_the_flat_input_is_an_input_of_version_2_and_its_result_answers() -> None:
    mb_input = ManyBodyInput(**flat())
    assert isinstance(mb_input, qcmanybody.models.v2.ManyBodyInput)
    assert isinstance(mb_input, ManyBodyInput)
    result = ParallelManyBodyComputer.from_manybodyinput(mb_input)
    assert isinstance(result, qcmanybody.models.v2.ManyBodyResult)
    assert result
    assert result.ret_energy == result.return_result == result.properties.return_energy
    assert result.ret_energy == result.properties.cp_corrected_interaction_energy
    assert (result.ret_gradient, result.ret_hessian) == (None, None)
    assert result.extras == {}
    provenance = result.provenance.model_dump()
    assert provenance["creator"] == "qcmb_mpi"
    assert provenance["tasks_computed"] == len(result.cluster_properties)
    again = qcmanybody.models.v2.ManyBodyResult(**result.model_dump())
    assert again.return_result == result.return_result


def test_a_result_is_printed_as_the_tables_and_the_number() -> None:
    result = ParallelManyBodyComputer.from_manybodyinput(ManyBodyInput(**flat()))
    text = str(result)
    assert text.startswith(result.stdout.rstrip())
    assert f"cp interaction energy: {result.ret_energy:.12f} +/- " in text
    page = result._repr_html_()
    assert page.startswith("<pre>")
    assert "&lt;==" in page
    assert "<==" not in page
    parent = qcmanybody.models.v2.ManyBodyResult(**result.model_dump())
    assert result.model_dump_json() == parent.model_dump_json()
    assert result == type(result)(**result.model_dump())


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic has no version 1 here")
def test_an_input_of_version_1_gives_a_result_of_version_1() -> None:
    content = many_body(PAIR, bsse_type=["nocp"], driver="gradient", version=1)
    for given in (model(content), content):
        result = ParallelManyBodyComputer.from_manybodyinput(given)
        assert isinstance(result, qcmanybody.models.v1.ManyBodyResult)
        assert np.shape(result.ret_gradient) == (4, 3)
        assert np.array_equal(result.ret_gradient, result.return_result)
        assert result.ret_energy == result.properties.return_energy


def test_a_hessian_answers_with_gradient_and_energy() -> None:
    result = ParallelManyBodyComputer.from_manybodyinput(
        many_body(PAIR, bsse_type=["nocp"], driver="hessian")
    )
    assert np.shape(result.ret_hessian) == (12, 12)
    assert np.shape(result.ret_gradient) == (4, 3)
    assert isinstance(result.ret_energy, float)


@pytest.mark.slow
def test_executors_are_context_managers_and_give_the_same_bits(tmp_path: Any) -> None:
    energies = []
    for executor_class, workers in ((SequentialExecutor, 1), (MultiprocessingExecutor, 2), (MPIExecutor, 2)):
        config = ExecutorConfig(n_workers=2, threads_per_worker=1)
        with executor_class(config) as executor:
            result = ParallelManyBodyComputer.from_manybodyinput(ManyBodyInput(**flat()), executor=executor)
        assert result.provenance.model_dump()["ranks"] == workers
        energies.append(result.ret_energy.hex())
    assert len(set(energies)) == 1


def test_a_checkpoint_file_in_the_settings_is_resumed(tmp_path: Any) -> None:
    config = ExecutorConfig(checkpoint_file=str(tmp_path / "pair.h5"), threads_per_worker=1)
    computed = []
    for _ in range(2):
        result = ParallelManyBodyComputer.from_manybodyinput(flat(), executor=SequentialExecutor(config))
        computed.append(result.provenance.model_dump()["tasks_computed"])
    assert computed == [3, 0]


def test_wrong_input_raises_and_names_the_field() -> None:
    with pytest.raises(InputError, match="max_nbody") as caught:
        ParallelManyBodyComputer.from_manybodyinput(flat(max_nbody=3))
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="b3lpy"):
        ParallelManyBodyComputer.from_manybodyinput({**flat(), "specification": {**HF, "method": "b3lpy"}})


SCRIPT = """
from qcmb_mpi import ManyBodyInput, ParallelManyBodyComputer, SequentialExecutor
import json

result = ParallelManyBodyComputer.from_manybodyinput(
    ManyBodyInput(**json.load(open("input.json"))), executor=SequentialExecutor()
)
if result:
    print("energy", result.ret_energy)
    print("ranks", result.provenance.ranks)
"""


@pytest.mark.mpi
def test_under_mpi_every_rank_calls_and_rank_0_gets_the_result(program: Program, mpi: Mpi) -> None:
    program.write("input.json", flat())
    finished = program.succeed(script=program.write("script.py", SCRIPT), ranks=2, mpi=mpi)
    assert finished.out.count("energy") == 1, finished
    assert "ranks 2" in finished.out, finished
    assert finished.err.count("SequentialExecutor is not used") == 1, finished


def test_a_result_needs_no_warning_filters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ParallelManyBodyComputer.from_manybodyinput(ManyBodyInput(**flat(max_nbody=1)))
