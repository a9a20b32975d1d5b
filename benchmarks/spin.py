"""A plugin for measuring the farm: the program ``spin`` computes nothing for a given time.

Its method is the number of milliseconds that a task takes.  The time is spent on the processor, so that
whatever the farm itself uses is missing from it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer, Resources, TaskMolecule
from qcmb_mpi.engine.registry import register_engine
from qcmb_mpi.problem import Cluster, Driver, Level


class Spin:
    """An engine that keeps one core busy."""

    name = "spin"
    ghosts = True
    point_charges = False

    def version(self) -> str:
        return "1"

    def check(self, level: Level, driver: Driver, cluster: Cluster) -> None:
        float(level.method)

    def sizes(self, level: Level, cluster: Cluster) -> NDArray[np.float64]:
        return np.ones(cluster.n_fragments)

    def energy_error(self, level: Level) -> float:
        return 0.0

    def compute(
        self, level: Level, driver: Driver, molecule: TaskMolecule, resources: Resources, **_: Any
    ) -> Answer:
        end = time.perf_counter() + float(level.method) / 1000
        while time.perf_counter() < end:
            pass
        return Answer(energy=-float(molecule.real.sum()))


register_engine(Spin())
