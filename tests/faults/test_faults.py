"""A small share of what ``inject.py`` runs by the hundred; seeds are printed.

``QCMB_MPI_FAULT_JOBS``, ``QCMB_MPI_KILLS`` and ``QCMB_MPI_FUZZ`` say how many.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import fuzz_rounds
import kill_rounds
import mishap_rounds
import pytest
from jobs import SHAPES, Undisturbed, undisturbed
from program import Mpi

pytestmark = pytest.mark.slow

JOBS = int(os.environ.get("QCMB_MPI_FAULT_JOBS", "3"))
KILLS = int(os.environ.get("QCMB_MPI_KILLS", "4"))
FUZZ = int(os.environ.get("QCMB_MPI_FUZZ", "10"))
SEED = 1


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> list[Undisturbed]:
    """The jobs when nothing goes wrong."""
    top = tmp_path_factory.mktemp("undisturbed")
    return [undisturbed(top / str(i), shape) for i, shape in enumerate(SHAPES)]


@pytest.mark.mpi
@pytest.mark.parametrize("seed", range(SEED, SEED + JOBS))
def test_mishaps_leave_no_trace_in_the_result(
    tmp_path: Path, mpi: Mpi, references: list[Undisturbed], seed: int
) -> None:
    print(f"python tests/faults/inject.py --jobs 1 --seed {seed}")
    mishap_rounds.run(seed, tmp_path / "job", references)


@pytest.mark.mpi
def test_killed_jobs_lose_nothing_that_was_saved(
    tmp_path: Path, mpi: Mpi, references: list[Undisturbed]
) -> None:
    hits = 0
    for seed in itertools.count(SEED):
        print(f"python tests/faults/inject.py --kills 1 --seed {seed}")
        hits += kill_rounds.run(seed, tmp_path / str(seed), references)
        if hits >= KILLS:
            break


@pytest.mark.parametrize("seed", range(SEED, SEED + FUZZ))
def test_a_damaged_checkpoint_never_gives_a_wrong_result(
    tmp_path: Path, references: list[Undisturbed], seed: int
) -> None:
    print(f"python tests/faults/inject.py --fuzz 1 --seed {seed}")
    fuzz_rounds.run(seed, tmp_path / "job", references)
