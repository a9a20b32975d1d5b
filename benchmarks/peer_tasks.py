"""What the workers of ``peers.py`` do: cut out a task and compute it, as qcmb_mpi's own runners do.

A module of its own, so that every pool's workers can import it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPIN = str(Path(__file__).resolve().with_name("spin.py"))

#: Level, real fragments and basis fragments of a task; None for the real ones alone.
Task = tuple[int, tuple[int, ...], tuple[int, ...] | None]
#: Energy and seconds of a task.
Found = tuple[float, float]


def job(path: str) -> tuple[Any, Any]:
    """Problem and settings of an input."""
    from qcmb_mpi.config import ExecutorConfig
    from qcmb_mpi.inputs import load

    return load(path).problem, ExecutorConfig(plugins=(SPIN,))


def planned(path: str) -> tuple[Any, list[tuple[int, Task]]]:
    """The plan of an input, and its tasks with their numbers."""
    from qcmb_mpi.expansion.plan import plan

    table = plan(job(path)[0].expansion)
    tasks: list[tuple[int, Task]] = []
    for block in reversed(table.blocks):  # the expensive ones first
        own = block.n_basis == block.n_real
        bases = [None] * block.size if own else [tuple(row) for row in block.basis().tolist()]
        for number, (real, basis) in enumerate(zip(block.real().tolist(), bases, strict=True), block.start):
            tasks.append((number, (block.level, tuple(real), basis)))
    return table, tasks


_prepared: Any = None


def prepare(path: str) -> None:
    """Get a worker ready: cluster, engine, and one task computed."""
    global _prepared
    from qcmb_mpi.equipment import setup_of
    from qcmb_mpi.farm import runner

    _prepared = runner.prepare(setup_of(*job(path)))
    compute((0, (0,), None))


def compute(task: Task) -> Found:
    """One task, as qcmb_mpi's runners do it."""
    import numpy as np

    from qcmb_mpi.engine.failures import checked

    begin = time.monotonic()
    level, real, basis = task
    setup, members = _prepared.setup, np.array(real)
    molecule = _prepared.cutter.cut(members, members if basis is None else np.array(basis))
    answer = _prepared.engines[level].compute(
        setup.levels[level], setup.driver, molecule, setup.resources, attempt=0, keep_record=False
    )
    answer = checked(answer, len(molecule.symbols), setup.driver)
    return answer.energy, time.monotonic() - begin


def numbered(item: tuple[int, Task]) -> tuple[int, Found]:
    """The same for a task with its number, for pools that give answers back in any order."""
    return item[0], compute(item[1])


def several(items: Sequence[tuple[int, Task]]) -> list[tuple[int, Found]]:
    """The same for a chunk, for pools that know none."""
    return [numbered(item) for item in items]


def present(_: int) -> int:
    """Who is there: tells that this worker is ready, and leaves the other calls to others."""
    time.sleep(0.1)
    return os.getpid()
