"""Our PySCF and tblite engines as QCEngine programs, so that any task can be repeated by hand with
``qcengine.compute``.

They call the very same code as a job does.  Importing this module imports QCEngine.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from qcelemental.models.v2 import AtomicInput, AtomicResult
from qcengine.config import TaskConfig
from qcengine.exceptions import ConvergenceError, InputError, RandomError, ResourceError
from qcengine.programs.model import ProgramHarness

from qcmb_mpi.engine.base import Engine, Resources, TaskMolecule
from qcmb_mpi.engine.failures import Kind, classify
from qcmb_mpi.engine.pyscf import PySCFEngine
from qcmb_mpi.engine.record import CHARGES
from qcmb_mpi.engine.tblite import TbliteEngine
from qcmb_mpi.errors import InputError as OurInputError
from qcmb_mpi.problem import Cluster, Level

__all__ = ["PySCFHarness", "TbliteHarness", "task_molecule"]

ERRORS = {Kind.INPUT: InputError, Kind.CONVERGENCE: ConvergenceError, Kind.MEMORY: ResourceError}


def task_molecule(molecule: Any, point_charges: Any = None) -> TaskMolecule:
    """Read a QCElemental molecule, version 2 or 3, as a task's.

    Parameters
    ----------
    molecule
        QCElemental's.
    point_charges : (m, 4), optional
        x, y, z in bohr and charge of each point charge around it.
    """
    charge = float(molecule.molecular_charge)
    if charge != round(charge):
        raise InputError(f"molecular_charge: {charge} is not a whole number")
    return TaskMolecule(
        symbols=tuple(str(symbol) for symbol in molecule.symbols),
        numbers=np.asarray(molecule.atomic_numbers, dtype=np.int64),
        geometry=np.asarray(molecule.geometry, dtype=float),
        real=np.asarray(molecule.real, dtype=bool),
        charge=round(charge),
        multiplicity=int(molecule.molecular_multiplicity),
        fragments=tuple(len(fragment) for fragment in molecule.fragments),
        fragment_charges=tuple(float(q) for q in molecule.fragment_charges),
        fragment_multiplicities=tuple(int(m) for m in molecule.fragment_multiplicities),
        point_charges=None
        if point_charges is None
        else np.asarray(point_charges, dtype=float).reshape(-1, 4),
    )


class _Harness(ProgramHarness):  # type: ignore[misc]
    """What both have in common."""

    engine: ClassVar[Engine]

    def compute(self, input_data: AtomicInput, config: TaskConfig) -> AtomicResult:
        """Compute one QCSchema input."""
        self.found(raise_error=True)
        asked = input_data.specification
        driver = asked.driver.value
        if driver not in ("energy", "gradient", "hessian"):
            raise InputError(f"driver: {driver!r} is not available, only energy, gradient and hessian")
        if not isinstance(asked.model.basis, (str, type(None))):
            raise InputError("model.basis: expected the name of a basis set")
        molecule = task_molecule(input_data.molecule, asked.extras.get(CHARGES))
        level = Level(
            name="(auto)",
            program=self.name,
            method=asked.model.method,
            basis=asked.model.basis or None,
            keywords=dict(asked.keywords),
        )
        resources = Resources(
            threads=config.ncores,
            memory=int(config.memory * 1024**3),
            scratch=config.scratch_directory,
        )
        try:
            self.engine.check(level, driver, _whole(molecule))
            answer = self.engine.compute(level, driver, molecule, resources, keep_record=True)
        except Exception as error:
            kind, message = classify(error)
            raise ERRORS.get(kind, RandomError)(message) from error
        assert answer.record is not None
        record = dict(answer.record)
        record["input_data"] = input_data
        record["molecule"] = input_data.molecule
        return AtomicResult(**record)

    def get_version(self) -> str:
        """Version of the program."""
        return self.engine.version()

    @classmethod
    def _found(cls, raise_error: bool) -> bool:
        try:
            cls.engine.version()
        except OurInputError as error:
            if raise_error:
                raise ModuleNotFoundError(str(error)) from None
            return False
        return True


def _whole(molecule: TaskMolecule) -> Cluster:
    """The real atoms as a cluster of one fragment, for the engine's check."""
    real = molecule.real
    n_atoms = int(real.sum())
    return Cluster(
        symbols=tuple(s for s, r in zip(molecule.symbols, real, strict=True) if r),
        numbers=molecule.numbers[real],
        geometry=molecule.geometry[real],
        offsets=np.array([0, n_atoms]),
        charges=np.array([float(molecule.charge)]),
        multiplicities=np.array([molecule.multiplicity]),
        order=np.arange(n_atoms),
    )


class PySCFHarness(_Harness):
    """PySCF as a QCEngine program; see :class:`qcmb_mpi.engine.pyscf.PySCFEngine`."""

    _defaults: ClassVar[dict[str, Any]] = {
        "name": "pyscf",
        "scratch": True,
        "thread_safe": False,
        "thread_parallel": True,
        "node_parallel": False,
        "managed_memory": True,
    }
    engine: ClassVar[Engine] = PySCFEngine()

    @staticmethod
    def found(raise_error: bool = False) -> bool:
        """Whether PySCF is installed."""
        return PySCFHarness._found(raise_error)


class TbliteHarness(_Harness):
    """tblite as a QCEngine program; see :class:`qcmb_mpi.engine.tblite.TbliteEngine`."""

    _defaults: ClassVar[dict[str, Any]] = {
        "name": "tblite",
        "scratch": False,
        "thread_safe": False,
        "thread_parallel": True,
        "node_parallel": False,
        "managed_memory": False,
    }
    engine: ClassVar[Engine] = TbliteEngine()

    @staticmethod
    def found(raise_error: bool = False) -> bool:
        """Whether tblite is installed."""
        return TbliteHarness._found(raise_error)
