"""A plugin for measuring the farm: the program ``spin`` computes nothing for a given time.

Its method is the number of milliseconds that a task takes, by the clock, so that it does not show what the
farm takes of its core meanwhile.  The program ``burn`` counts processor time instead: it
takes longer where it has to share its core, as a real task does.
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
    clock = staticmethod(time.perf_counter)

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
        end = self.clock() + float(level.method) / 1000
        while self.clock() < end:
            pass
        return Answer(energy=-float(molecule.real.sum()))


class Burn(Spin):
    """The same by processor time."""

    name = "burn"
    clock = staticmethod(time.thread_time)


register_engine(Spin())
register_engine(Burn())
