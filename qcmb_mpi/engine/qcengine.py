"""The engine for every other program: QCEngine runs it.

Knows nothing of the programs themselves but whether QCEngine's interface to them is known to honour
ghost atoms.  QCEngine is imported when the engine is first used: that takes half a second.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer, Resources, TaskMolecule
from qcmb_mpi.engine.failures import EngineFailure, Kind, checked
from qcmb_mpi.engine.record import atomic_input, plain
from qcmb_mpi.errors import InputError
from qcmb_mpi.problem import Cluster, Driver, Level

__all__ = ["QCEngineEngine"]

#: Whether QCEngine 0.52's interface to a program passes ghost atoms on; programs not listed are
#: unknown.  True: QCEngine tests them (test_ghost.py), or the interface writes them as such (Jaguar).
#: False: the interface refuses them (gamess, qchem), or hands over all atomic numbers without
#: looking at Molecule.real, so that a ghosted monomer would be the full dimer.
GHOSTS: Mapping[str, bool] = {
    "cfour": True,
    "jaguar": True,
    "nwchem": True,
    "psi4": True,
    "aimnet2": False,
    "entos": False,
    "gamess": False,
    "mace": False,
    "mopac": False,
    "openmm": False,
    "orb": False,
    "qchem": False,
    "qcore": False,
    "rdkit": False,
    "torchani": False,
    "xtb": False,
}

#: What QCEngine's interfaces write where iterations did not converge.
NO_CONVERGENCE = re.compile(
    r"not\s+converge|n't\s+converge|fail\w*\s+to\s+converge|converge\w*\s+(fail|error|problem)|"
    r"convergence_error|no\s+convergence|unconverged|nonconverge|could\s+not\s+converge",
    re.IGNORECASE,
)
NO_MEMORY = re.compile(
    r"out of memory|not enough memory|insufficient memory|memoryerror|bad_alloc|cannot allocate|"
    r"memory (allocation )?(fail|error|exhaust)|\boom\b",
    re.IGNORECASE,
)


class QCEngineEngine:
    """Computes tasks with a program that QCEngine knows.

    Parameters
    ----------
    program
        QCEngine's name of it, in any case.
    """

    def __init__(self, program: str):
        self.name = program.lower()
        self.ghosts: bool | None = GHOSTS.get(self.name)
        # QCManyBody hands charges to Psi4 alone; the other interfaces have no place for them.
        self.point_charges = self.name == "psi4"

    def version(self) -> str:
        """Version of the program; raises InputError naming how to install it."""
        from qcengine.config import get_global

        get_global("hostname")  # asks for the processor's name once, which takes a second
        harness = self._harness()
        try:
            return str(harness.get_version() or "unknown")
        except Exception as error:
            raise InputError(
                f"{self.name} was found, but does not tell its version: {error}", "program"
            ) from error

    def check(self, level: Level, driver: Driver, cluster: Cluster) -> None:
        """Refuse a program that QCEngine does not know or find, and a method that is missing.

        What the program itself would refuse comes out with the first task.
        """
        self._harness()
        if not level.method:
            raise InputError("a method is needed", "method")
        if cluster.embedding is not None and not self.point_charges:
            raise InputError(
                f"QCEngine cannot hand embedding charges to {self.name}; use 'pyscf' or 'psi4'",
                "keywords.embedding_charges",
            )

    def sizes(self, level: Level, cluster: Cluster) -> NDArray[np.float64]:
        """Estimate of the basis functions of each fragment, shape (n_fragments,)."""
        return np.add.reduceat(_functions(cluster.numbers, level.basis), cluster.offsets[:-1])

    def energy_error(self, level: Level) -> float:
        """Expected error of one energy in Eh: programs converge to about 1e-6 to 1e-8 by default."""
        for key, value in level.keywords.items():
            if re.fullmatch(r"(e_convergence|scf__thresh|conv_tol|scf_conv)", key.lower()):
                try:
                    return abs(float(value))
                except (TypeError, ValueError):
                    break
        return 1e-6

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
        """Compute one task; see :class:`qcmb_mpi.engine.base.Engine`.

        No generic sturdier algorithm exists, so later attempts repeat the same input: QCEngine's
        programs keep their own error corrections.
        """
        import qcengine
        from qcelemental.models.v2 import AtomicInput, Molecule

        if self.ghosts is False and not molecule.real.all():
            raise EngineFailure(Kind.INPUT, f"{self.name} does not honour ghost atoms through QCEngine")
        asked = atomic_input(level, driver, molecule)
        asked["molecule"] = Molecule(validate=False, **asked["molecule"])
        if molecule.point_charges is not None and len(molecule.point_charges):
            asked["specification"]["keywords"] = self._embedded(level, molecule.point_charges)
        config: dict[str, Any] = {
            "ncores": resources.threads,
            "memory": resources.memory / 1024**3,
            "retries": 0,
        }
        if resources.scratch is not None:
            config["scratch_directory"] = resources.scratch
        result = qcengine.compute(
            AtomicInput(**asked), self.name, raise_error=False, task_config=config, return_version=2
        )
        if not result.success:
            raise failure(self.name, result.error.error_type, result.error.error_message)
        answer = _answer(result, driver, len(molecule.symbols))
        if not keep_record:
            return answer
        record = plain(result.model_dump(mode="json"))
        return Answer(answer.energy, answer.gradient, answer.hessian, answer.note, record)

    def _embedded(self, level: Level, charges: NDArray[np.float64]) -> dict[str, Any]:
        """Keywords with the charges where QCManyBody puts them for Psi4."""
        if not self.point_charges:
            raise EngineFailure(Kind.INPUT, f"QCEngine cannot hand point charges to {self.name}")
        keywords = dict(level.keywords)
        keywords["function_kwargs"] = {
            **keywords.get("function_kwargs", {}),
            "external_potentials": [[charge, position] for *position, charge in charges.tolist()],
        }
        return keywords

    def _harness(self) -> Any:
        from qcengine.programs import get_program, list_all_programs

        known = list_all_programs()
        if self.name not in known:
            close = difflib.get_close_matches(self.name, [*known, "pyscf", "tblite"], n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(sorted(known))}."
            raise InputError(
                f"QCEngine knows no program {self.name!r}; {hint} --plugin brings in one of yours",
                "program",
            )
        harness = get_program(self.name, check=False)
        try:
            found = harness.found(raise_error=True)
            reason = ""
        except Exception as error:  # harnesses raise what they like
            found, reason = False, str(error)
        if not found:
            raise InputError(
                f"{self.name} is not installed, or not on the PATH. {reason}".rstrip(),
                "program",
            )
        return harness


def failure(program: str, error_type: str, message: str) -> EngineFailure:
    """Say what kind of failure QCEngine reports.

    Parameters
    ----------
    program
        Its name, for the message.
    error_type, error_message
        Of QCSchema's ``FailedOperation``.
    """
    text = f"{error_type} {message}"
    if error_type == "convergence_error" or (error_type != "input_error" and NO_CONVERGENCE.search(text)):
        kind = Kind.CONVERGENCE
    elif error_type == "input_error":
        kind = Kind.INPUT
    elif NO_MEMORY.search(text):
        kind = Kind.MEMORY
    elif error_type == "resource_error":
        # Not found here or no room here: another rank may have it.
        kind = Kind.MEMORY
    else:
        kind = Kind.CRASH
    return EngineFailure(kind, f"{program}: {message.strip() or error_type}")


def _answer(result: Any, driver: Driver, n_atoms: int) -> Answer:
    properties = result.properties
    energy = properties.return_energy
    if energy is None and driver == "energy":
        energy = result.return_result
    if energy is None:
        raise EngineFailure(Kind.CRASH, f"the program returned a {driver} without an energy")
    gradient = properties.return_gradient
    hessian = properties.return_hessian
    if driver == "gradient":
        gradient = result.return_result
    elif driver == "hessian":
        hessian = result.return_result
    # An energy was all that was wanted: what comes along is dropped.
    answer = Answer(
        float(energy),
        None if gradient is None or driver == "energy" else _shaped(gradient, (n_atoms, 3)),
        None if hessian is None or driver != "hessian" else _shaped(hessian, (3 * n_atoms, 3 * n_atoms)),
    )
    return checked(answer, n_atoms, driver)


def _shaped(values: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=float)
    # QCSchema allows flat arrays; any other shape is left for the check to name.
    return array.reshape(shape) if array.size == shape[0] * shape[1] else array


def _functions(numbers: NDArray[np.int64], basis: str | None) -> NDArray[np.float64]:
    """Rough number of basis functions per atom: by rows of the periodic table for a double-zeta set
    with polarisation, scaled by the cardinal number that the basis's name shows."""
    row = np.searchsorted([3, 11, 19, 37, 55, 87], np.asarray(numbers), side="right")
    double = np.array([5.0, 14.0, 18.0, 27.0, 35.0, 45.0, 55.0])[row]
    name = (basis or "").lower()
    if not name or "sto-" in name:
        return double / 2.5
    zeta = 2 + next((i for i, mark in enumerate(("dz", "tz", "qz", "5z", "6z")) if mark in name), 0)
    return double * (zeta + 1) * (zeta + 1.5) * (zeta + 2) / (3 * 3.5 * 4) * (1.5 if "aug" in name else 1.0)
