"""Checkpoints for the tests: rows that anyone can recompute from their number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from qcmb_mpi.store.checkpoint import Checkpoint
from qcmb_mpi.store.format import ROW, claim, join_keys, payload_lengths, split_keys

JOB = {
    "fingerprint": {"molecule": "m1", "levels": "l1"},
    "input_text": json.dumps({"molecule": "water", "max_nbody": 2}),
    "n_tasks": 1000,
    "versions": {"qcmb_mpi": "0"},
}
HERE = str(Path(__file__).parent)


def make_rows(first: int, n: int, gradient: int = 0, hessian: int = 0) -> np.ndarray:
    """Rows of the tasks ``first`` ... ``first + n - 1``."""
    number = np.arange(first, first + n, dtype=np.uint64)
    rows = np.zeros(n, ROW)
    rows["key"] = join_keys(np.stack([number + np.uint64(1), ~number], axis=1))
    rows["energy"] = -76.0 - 1e-7 * number
    rows["host"] = b"node1"
    claim(rows, np.full(n, gradient), np.full(n, hessian))
    return rows


def numbers(rows: np.ndarray) -> np.ndarray:
    """Which tasks these rows are; every energy is checked."""
    number = split_keys(rows["key"])[:, 0] - np.uint64(1)
    assert np.array_equal(rows["energy"], -76.0 - 1e-7 * number)
    return number.astype(np.int64)


def values(first: int, n: int, length: int) -> np.ndarray:
    """Derivatives of the same tasks, laid end to end."""
    return (np.arange(first, first + n)[:, None] + np.arange(length) / 1024).reshape(-1)


def check_derivatives(checkpoint: Checkpoint, rows: np.ndarray) -> None:
    """Every gradient and Hessian is that of its task."""
    number = numbers(rows)
    n_gradient, n_hessian = payload_lengths(rows)
    for which, gradients, hessians in checkpoint.stream(rows, 20000):
        for found, lengths in ((gradients, n_gradient[which]), (hessians, n_hessian[which])):
            wanted = [values(i, 1, n) for i, n in zip(number[which], lengths, strict=True)]
            assert np.array_equal(found, np.concatenate([np.zeros(0), *wanted]))


def run_child(program: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Run a program in a process of its own; ``checkpoints`` can be imported there."""
    head = f"import sys; sys.path.insert(0, {HERE!r})\nfrom checkpoints import *\n"
    command = [sys.executable, "-c", head + program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
