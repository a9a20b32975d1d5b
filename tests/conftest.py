"""What the tests of the whole program share: threads, MPI, and that no process outlives its test."""

from __future__ import annotations

import os

# before numpy or an engine is imported; the tests are for two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest
from program import Mpi, Program, find_mpi


@pytest.fixture(scope="session")
def mpi() -> Mpi:
    """The launcher of this environment's MPI."""
    found = find_mpi()
    if found is None:
        pytest.skip("no mpiexec beside this python or on the PATH: pip install 'qcmb-mpi[mpich]'")
    return found


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program in an empty folder; the test fails if a process that it started outlives it."""
    starter = Program(tmp_path)
    yield starter
    left = starter.close()
    assert not left, f"processes left behind: {left}"
