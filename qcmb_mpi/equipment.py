"""What the runners of a process get: the problem, threads and memory; and what engines say to it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.engine.base import Resources
from qcmb_mpi.errors import InputError
from qcmb_mpi.farm import resources
from qcmb_mpi.farm.runner import Description, Setup
from qcmb_mpi.inputs import Loaded
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.problem import Problem
from qcmb_mpi.starting import Start

if TYPE_CHECKING:
    from qcmb_mpi.farm.mpi import World

__all__ = ["checked", "equip", "examine", "n_workers", "open_bench", "setup_of"]


def examine(begin: Start, loaded: Loaded, config: ExecutorConfig) -> Description:
    """Ask the engines about an input without computing it; raises InputError if it is wrong."""
    try:
        return open_bench(begin, loaded, config)[0]
    finally:
        begin.crew.close()


def open_bench(begin: Start, loaded: Loaded, config: ExecutorConfig) -> tuple[Description, Resources]:
    """Start one runner as a run on this machine would start it, and ask the engines about an input.

    Returns
    -------
    description
        What they say.
    resources
        What the runner may use.

    Raises
    ------
    InputError
        The input is wrong.
    """
    equipped = equip(setup_of(loaded.problem, config), config, None, n_workers(config))
    begin.crew.prepare(equipped)
    begin.crew.start([0])
    return checked(begin.crew.describe(), loaded.source), equipped.resources


def setup_of(problem: Problem, config: ExecutorConfig) -> Setup:
    return Setup(
        cluster=problem.cluster,
        levels=problem.levels,
        driver=problem.driver,
        plugins=config.plugins,
        keep_records=problem.keep_records,
        ghosts=any(t != "nocp" for t in problem.expansion.treatments) and problem.cluster.n_fragments > 1,
    )


def checked(description: Description, source: str) -> Description:
    if description.error is not None:
        field = description.field
        raise in_source(InputError(description.error.removeprefix(f"{field}: "), field), source)
    return description


def _sequential(config: ExecutorConfig) -> bool:
    return config.parallel is False or config.executor_type == "sequential"


def n_workers(config: ExecutorConfig) -> int:
    return 1 if _sequential(config) else config.n_workers or resources.usable_cores(os.environ)


def equip(setup: Setup, config: ExecutorConfig, world: World | None, n_here: int) -> Setup:
    """The setup with what each runner of this process may use.

    Threads are the user's choice, by setting or by ``OMP_NUM_THREADS``; otherwise the cores are divided.
    """
    mask = resources.affinity()
    index, masks = world.neighbours(mask) if world is not None else (0, [mask] * n_here)
    threads, memory = resources.allotment(
        masks, index, resources.granted_cores(os.environ), resources.usable_memory(os.environ)
    )
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    chosen = int(text) if text.isdigit() else 0
    if world is None and _sequential(config):
        chosen = 1
    return replace(
        setup,
        resources=Resources(
            threads=config.threads_per_worker or chosen or threads,
            memory=config.memory_per_worker or memory,
            scratch=config.scratch_dir,
        ),
    )
