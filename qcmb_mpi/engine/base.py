"""What an engine is: the interface between one task and the program that computes it.

An engine runs inside a runner process, one task at a time.  It knows nothing of expansions, ranks
or files; it is given a molecule cut out of the cluster and returns an :class:`Answer`, or raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.problem import Cluster, Driver, Level

__all__ = ["Answer", "Engine", "Resources", "TaskMolecule"]


@dataclass(frozen=True, eq=False)
class TaskMolecule:
    """The molecule of one task; atoms in the cluster's internal order.

    Attributes
    ----------
    symbols
        Element symbols of all atoms, ghosts included.
    numbers : (n,) int64
        Atomic numbers of all atoms, ghosts included.
    geometry : (n, 3) float64
        Positions in bohr.
    real : (n,) bool
        False for ghost atoms, which lend only their basis functions.
    charge, multiplicity
        Of the real fragments together; multiplicities combine to the highest spin.
    fragments
        Number of atoms in each fragment, in order.
    fragment_charges, fragment_multiplicities
        Of each fragment; 0 and 1 for ghosts.
    point_charges : (m, 4) float64, optional
        x, y, z in bohr and charge of the embedding point charges.
    """

    symbols: tuple[str, ...]
    numbers: NDArray[np.int64]
    geometry: NDArray[np.float64]
    real: NDArray[np.bool_]
    charge: int
    multiplicity: int
    fragments: tuple[int, ...]
    fragment_charges: tuple[float, ...]
    fragment_multiplicities: tuple[int, ...]
    point_charges: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Resources:
    """What one runner may use.

    Attributes
    ----------
    threads
        Threads for the engine.
    memory
        Bytes.
    scratch
        Folder for the engine's temporary files.
    """

    threads: int = 1
    memory: int = 2 * 1024**3
    scratch: str | None = None

    def widened(self, width: int) -> Resources:
        """The memory of several runners, for a task that has their node for itself.

        The threads stay, since on other numbers of threads an engine may give other bits.
        """
        return replace(self, memory=width * self.memory)


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine computed.

    Attributes
    ----------
    energy
        Total energy in Eh.
    gradient : (n, 3) float64, optional
        Eh/bohr, for all atoms of the task, ghosts included.
    hessian : (3n, 3n) float64, optional
        Eh/bohr^2.
    note
        What was done beyond the plain algorithm, such as ``second-order SCF``; empty normally.
    record
        Full QCSchema ``AtomicResult`` (version 2) as a dictionary, where it was asked for.
    """

    energy: float
    gradient: NDArray[np.float64] | None = None
    hessian: NDArray[np.float64] | None = None
    note: str = ""
    record: Mapping[str, Any] | None = None


class Engine(Protocol):
    """One quantum-chemistry program."""

    name: str
    #: Whether ghost atoms are honoured; None where nobody knows and a probe has to tell.
    ghosts: bool | None
    #: Whether embedding point charges are honoured.
    point_charges: bool

    def version(self) -> str:
        """Version of the program; raises InputError naming the install command if it is missing."""
        ...

    def check(self, level: Level, driver: Driver, cluster: Cluster) -> None:
        """Raise InputError, with the field at fault, for what is bound to fail: unknown method,
        basis, keyword or element, a driver that this method has not, an impossible spin."""
        ...

    def sizes(self, level: Level, cluster: Cluster) -> NDArray[np.float64]:
        """Basis functions of each fragment, shape (n_fragments,): the cost model's measure."""
        ...

    def energy_error(self, level: Level) -> float:
        """Expected error of one energy in Eh, from the convergence threshold."""
        ...

    def compute(
        self,
        level: Level,
        driver: Driver,
        molecule: TaskMolecule,
        resources: Resources,
        *,
        attempt: int = 0,
        keep_record: bool = False,
    ) -> Answer:
        """Compute one task.

        ``attempt`` counts the tries that failed to converge before this one: from 1 on, a sturdier
        algorithm is used and recorded in ``Answer.note``.  Failures are raised as
        :class:`qcmb_mpi.engine.failures.EngineFailure`.
        """
        ...
