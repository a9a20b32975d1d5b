"""One input gives the same bits whatever computes it: workers, ranks, MPI libraries.

The input uses both engines: GFN2-xTB through two bodies, Hartree-Fock for the third.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from clusters import GFN2, HF, many_body, waters
from program import Mpi, Program, bits_of, find_mpi

OTHER = os.environ.get("QCMB_MPI_OTHER_PYTHON")

INPUT = many_body(
    waters(4),
    driver="gradient",
    named={"xtb": GFN2, "hf": HF},
    levels={2: "xtb", 3: "hf"},
    bsse_type=["nocp"],
    return_total_data=True,
    execution={"threads_per_worker": 1},
)
N_TASKS = (4 + 6) + (4 + 6 + 4)


def compute(program: Program, *flags: str, **options: Any) -> dict[str, Any]:
    program.write("input.json", INPUT)
    program.succeed("input.json", "--no-checkpoint", *flags, **options)
    result: dict[str, Any] = program.read("input.result.json")
    assert result["provenance"]["tasks_computed"] == N_TASKS
    assert result["provenance"]["bits_repeat"] is True
    return result


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bits that one worker gives."""
    program = Program(tmp_path_factory.mktemp("reference"))
    result = compute(program, "--no-parallel")
    assert not program.close()
    assert result["provenance"]["ranks"] == 1
    return bits_of(result)


def test_two_workers_give_the_bits_of_one(program: Program, reference: Any) -> None:
    result = compute(program, "--n-workers", "2")
    assert result["provenance"]["ranks"] == 2
    assert bits_of(result) == reference


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 5))])
def test_ranks_give_the_bits_of_one_worker(program: Program, mpi: Mpi, reference: Any, ranks: int) -> None:
    result = compute(program, ranks=ranks, mpi=mpi)
    assert result["provenance"]["mpi_library"] is not None
    assert bits_of(result) == reference


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(OTHER is None, reason="QCMB_MPI_OTHER_PYTHON names no python with another MPI library")
def test_another_mpi_library_gives_the_same_bits(program: Program, mpi: Mpi, reference: Any) -> None:
    assert OTHER is not None
    assert Path(OTHER).is_file()
    other = find_mpi(OTHER)
    assert other is not None
    assert other.open_mpi != mpi.open_mpi, "both environments have the same MPI library"
    result = compute(program, ranks=3, mpi=other)
    assert bits_of(result) == reference
