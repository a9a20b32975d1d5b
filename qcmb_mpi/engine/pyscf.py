"""The PySCF engine: HF, density functionals, MP2, CCSD and CCSD(T).

Knows nothing of other engines, expansions or files.  PySCF is imported when the engine is first used.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer, Resources, TaskMolecule
from qcmb_mpi.engine.failures import EngineFailure, Kind, checked
from qcmb_mpi.engine.pyscf_basis import element_basis, fitting_basis, remember_basis_files
from qcmb_mpi.engine.pyscf_run import Calculation, calculate
from qcmb_mpi.engine.pyscf_setup import Settings, reference_for, settings, unsupported
from qcmb_mpi.engine.record import atomic_result
from qcmb_mpi.errors import InputError
from qcmb_mpi.problem import Cluster, Driver, Level

__all__ = ["PySCFEngine"]


class PySCFEngine:
    """Computes tasks with PySCF.

    Notes
    -----
    Methods are ``hf``, ``mp2``, ``ccsd``, ``ccsd(t)`` and the functionals that PySCF's libxc reads.
    Keywords are PySCF's attribute names (``conv_tol``, ``max_cycle``, ``level_shift``, ``init_guess``,
    ``conv_tol_normt``, ...); where SCF and coupled cluster share one, the plain name means the SCF and
    ``cc_`` before it (``cc_conv_tol``) the coupled cluster.  Besides these there are ``reference``
    (default rhf for singlets, uhf otherwise), ``density_fit`` (true or the name of a fitting set, which
    then also serves the correlated method, unless ``mp2_fit`` names another for MP2), ``frozen_core``
    or ``freeze_core`` (the chemical core of the real atoms), ``frozen``, ``grid_level``,
    ``grid_response`` and ``cart``.

    Functions are spherical whatever the basis, as is PySCF's default; programs that take 6-31G* and
    its like as Cartesian are matched with ``cart``.

    Effective core potentials come with the basis.  Ghost atoms carry functions only: no charge, no
    potential, no frozen core; grids of functionals have points around them.

    Point charges act on the electrons and nuclei of the task; their energy among themselves is not
    included, and the gradient is that of the task's atoms at fixed charges.

    Open-shell solutions are followed along internal instabilities until they are stable.
    """

    name = "pyscf"
    ghosts: bool | None = True
    point_charges = True

    def __init__(self) -> None:
        self._read: list[tuple[Level, Settings]] = []

    def version(self) -> str:
        """Version of PySCF; raises InputError with the command to install it."""
        try:
            found = importlib.metadata.version("pyscf")
        except importlib.metadata.PackageNotFoundError:
            raise InputError("PySCF is not installed; pip install 'qcmb-mpi[pyscf]'", "program") from None
        return found

    def check(self, level: Level, driver: Driver, cluster: Cluster) -> None:
        """Refuse what PySCF cannot compute; see :class:`qcmb_mpi.engine.base.Engine`."""
        self.version()
        found = self._settings(level)
        for symbol in sorted(set(cluster.symbols)):
            element_basis(found.basis, symbol)
            if found.density_fit:
                name = found.density_fit if isinstance(found.density_fit, str) else None
                fitting_basis(found.basis, symbol, name, found.xc or "HF")
            if found.mp2_fit:
                fitting_basis(found.basis, symbol, found.mp2_fit, "HF", "keywords.mp2_fit")
        open_shell = _check_spins(cluster, found)
        reason = unsupported(found, driver, embedded=cluster.embedding is not None, open_shell=open_shell)
        if reason:
            raise InputError(reason, "driver")

    def sizes(self, level: Level, cluster: Cluster) -> NDArray[np.float64]:
        """Basis functions of each fragment, shape (n_fragments,)."""
        found = self._settings(level)
        count = {}
        for symbol in set(cluster.symbols):
            element = element_basis(found.basis, symbol)
            count[symbol] = element.n_cartesian if found.cartesian else element.n_spherical
        per_atom = np.array([count[symbol] for symbol in cluster.symbols], dtype=float)
        return np.add.reduceat(per_atom, cluster.offsets[:-1])

    def energy_error(self, level: Level) -> float:
        """Convergence threshold of the energy in Eh: the larger of SCF and coupled cluster."""
        found = self._settings(level)
        error = float(found.scf.get("conv_tol", 1e-9))
        if found.method.startswith("ccsd"):
            error = max(error, float(found.cc.get("conv_tol", 1e-7)))
        return error

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
        """Compute one task; see :class:`qcmb_mpi.engine.base.Engine`."""
        calculation = self.calculate(level, driver, molecule, resources, attempt)
        answer = checked(calculation.answer, len(molecule.symbols), driver)
        if not keep_record:
            return answer
        record = atomic_result(
            level, driver, molecule, answer, calculation.properties, creator="PySCF", version=self.version()
        )
        return Answer(answer.energy, answer.gradient, answer.hessian, answer.note, record)

    def calculate(
        self,
        level: Level,
        driver: Driver,
        molecule: TaskMolecule,
        resources: Resources,
        attempt: int = 0,
    ) -> Calculation:
        """As :meth:`compute`, with the properties of a QCSchema record beside the answer."""
        found = self._settings(level)
        try:
            return calculate(found, driver, molecule, resources, attempt)
        except (EngineFailure, InputError):
            raise
        except np.linalg.LinAlgError as error:
            raise EngineFailure(Kind.CONVERGENCE, f"linear algebra failed: {error}") from error

    def _settings(self, level: Level) -> Settings:
        for known, found in self._read:
            if known is level:
                return found
        self.version()
        remember_basis_files()
        found = settings(level)
        # A job has a handful of levels; single calls through QCEngine bring a new one each.
        self._read = [(level, found), *self._read[:15]]
        return found


def _check_spins(cluster: Cluster, found: Settings) -> bool:
    """Refuse charges and multiplicities that cannot be; tell whether there are open shells."""
    charges: Any = np.asarray(cluster.charges)
    if not np.array_equal(charges, np.round(charges)):
        i = int(np.flatnonzero(charges != np.round(charges))[0])
        raise InputError(
            f"fragment {i + 1} has the charge {charges[i]}; PySCF needs whole numbers",
            "molecule.fragment_charges",
        )
    protons = np.add.reduceat(cluster.numbers, cluster.offsets[:-1])
    electrons = protons - charges.astype(int)
    unpaired = cluster.multiplicities - 1
    wrong = (electrons < 0) | (unpaired < 0) | (unpaired > electrons) | ((electrons - unpaired) % 2 != 0)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"fragment {i + 1} has {electrons[i]} electrons, which cannot have multiplicity "
            f"{cluster.multiplicities[i]}",
            "molecule.fragment_multiplicities",
        )
    open_shell = bool((unpaired > 0).any())
    if open_shell and reference_for(found, 2) == "rhf":
        i = int(np.flatnonzero(unpaired > 0)[0])
        raise InputError(
            f"fragment {i + 1} is open-shell (multiplicity {cluster.multiplicities[i]}); use 'uhf' or 'rohf'",
            "keywords.reference",
        )
    return open_shell
