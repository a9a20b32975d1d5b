"""One task through PySCF: molecule, SCF, correlation, derivatives.

Takes :class:`qcmb_mpi.engine.pyscf_setup.Settings` and a molecule, returns numbers; knows nothing of
levels or clusters.  PySCF runs to the end of its iterations and returns a number whether or not they
converged, so every ``converged`` flag is looked at here.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Answer, Resources, TaskMolecule
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.pyscf_basis import element_basis, fitting_basis
from qcmb_mpi.engine.pyscf_setup import Settings, reference_for
from qcmb_mpi.problem import Driver

__all__ = ["Calculation", "calculate", "chemical_core"]

#: Instabilities followed before giving up.
MAX_DESCENTS = 10


@dataclass
class Calculation:
    """What a calculation leaves: its answer and what a QCSchema record tells besides."""

    answer: Answer
    properties: dict[str, Any] = field(default_factory=dict)


def calculate(
    found: Settings, driver: Driver, molecule: TaskMolecule, resources: Resources, attempt: int = 0
) -> Calculation:
    """Compute one task.

    Raises
    ------
    EngineFailure
        Of kind CONVERGENCE if anything iterative did not converge.
    """
    from pyscf import lib

    lib.num_threads(resources.threads)
    if resources.scratch:
        lib.param.TMPDIR = resources.scratch
    elif "PYSCF_TMPDIR" not in os.environ:  # or PySCF takes the working folder
        lib.param.TMPDIR = tempfile.gettempdir()
    notes: list[str] = []
    mol = _mole(found, molecule, resources)
    mf = _mean_field(found, molecule, mol)
    if mol.nelectron == 0:
        return _bare_nuclei(mf, mol, driver)
    _converge(mf, found, attempt, notes)
    if reference_for(found, molecule.multiplicity) != "rhf":
        _descend(mf, notes)
    properties = _properties(mf, mol)
    theory: Any = mf
    energy = float(mf.e_tot)
    if found.correlated and (frozen := _active(found, mf, mol)) is not _NOTHING:
        theory, energy = _correlate(found, mf, frozen, attempt, notes, properties)
    elif found.correlated:
        notes.append("no electrons to correlate")
    gradient = hessian = None
    if driver != "energy":
        gradient = _gradient(found, theory)
    if driver == "hessian":
        hessian = _hessian(mf)
    answer = Answer(energy, gradient, hessian, note="; ".join(notes))
    return Calculation(answer, properties)


# -- the molecule -------------------------------------------------------------------------------


def _mole(found: Settings, molecule: TaskMolecule, resources: Resources) -> Any:
    from pyscf import gto

    basis: dict[str, Any] = {}
    potentials: dict[str, Any] = {}
    labels = []
    for symbol, real in zip(molecule.symbols, molecule.real.tolist(), strict=True):
        label = symbol if real else f"GHOST-{symbol}"
        labels.append(label)
        if label not in basis:
            element = element_basis(found.basis, symbol)
            basis[label] = element.shells
            if real and element.potential:
                potentials[label] = element.potential
    mol = gto.Mole()
    mol.verbose = 0
    mol.max_memory = resources.memory / 1e6
    mol.cart = found.cartesian
    mol.build(
        dump_input=False,
        parse_arg=False,
        atom=list(zip(labels, molecule.geometry.tolist(), strict=True)),
        unit="Bohr",
        basis=basis,
        ecp=potentials,
        charge=molecule.charge,
        spin=molecule.multiplicity - 1,
        symmetry=False,
    )
    return mol


def _mean_field(found: Settings, molecule: TaskMolecule, mol: Any) -> Any:
    from pyscf import dft, scf

    reference = reference_for(found, molecule.multiplicity)
    # The classes themselves: PySCF's factories replace them for one electron by another one that
    # would not see the point charges.
    if found.method == "dft":
        kind = {"rhf": dft.rks.RKS, "uhf": dft.uks.UKS, "rohf": dft.roks.ROKS}[reference]
        mf = kind(mol, xc=found.xc)
        if found.grid_level is not None:
            mf.grids.level = found.grid_level
    else:
        kind = {"rhf": scf.hf.RHF, "uhf": scf.uhf.UHF, "rohf": scf.rohf.ROHF}[reference]
        mf = kind(mol)
    mf.chkfile = None  # writing it takes a third of a small calculation
    if found.density_fit:
        mf = mf.density_fit(auxbasis=_fitting(found, mol, found.density_fit))
    if molecule.point_charges is not None and len(molecule.point_charges):
        from pyscf import qmmm

        charges = molecule.point_charges
        mf = _with_ghosts_at_rest(qmmm.mm_charge(mf, charges[:, :3], charges[:, 3], unit="Bohr"))
    for name, value in found.scf.items():
        setattr(mf, name, value)
    return mf


def _fitting(found: Settings, mol: Any, chosen: bool | str) -> dict[str, Any]:
    name = chosen if isinstance(chosen, str) else None
    labels = {mol.atom_symbol(i) for i in range(mol.natm)}
    return {label: fitting_basis(found.basis, _element(label), name, found.xc or "HF") for label in labels}


def _element(label: str) -> str:
    return label.removeprefix("GHOST-").title()


def _with_ghosts_at_rest(mf: Any) -> Any:
    """Mend the nuclear gradient in a field of point charges.

    PySCF's leaves the rows of atoms without nuclear charge uninitialised; they are zero.
    """
    ghosts = mf.mol.atom_charges() == 0
    original = mf.nuc_grad_method

    def nuc_grad_method() -> Any:
        gradients = original()
        nuclear = gradients.grad_nuc

        def grad_nuc(mol: Any = None, atmlst: Any = None) -> NDArray[np.float64]:
            forces: NDArray[np.float64] = nuclear(mol)
            forces[ghosts] = 0.0
            return forces if atmlst is None else forces[list(atmlst)]

        gradients.grad_nuc = grad_nuc
        return gradients

    mf.nuc_grad_method = nuc_grad_method
    return mf


# -- self-consistent field ----------------------------------------------------------------------


def _converge(mf: Any, found: Settings, attempt: int, notes: list[str]) -> None:
    """Converge the SCF in place, the more sturdily the more often it failed before."""
    if attempt == 0:
        mf.kernel()
        if not mf.converged:
            raise EngineFailure(
                Kind.CONVERGENCE, f"the SCF did not converge within max_cycle = {mf.max_cycle}"
            )
        return
    cycles = max(mf.max_cycle, 200)
    shift = mf.level_shift
    mf.max_cycle = cycles
    mf.level_shift = max(shift, 0.3 if attempt == 1 else 1.0)
    mf.diis_space = max(mf.diis_space, 12)
    mf.kernel()
    notes.append(f"SCF with a level shift of {mf.level_shift:g} Eh")
    mf.level_shift = shift
    if not mf.converged:
        notes.append("second-order SCF")
        _second_order(mf, mf.mo_coeff, mf.mo_occ)
    if not mf.converged:
        raise EngineFailure(
            Kind.CONVERGENCE,
            f"the SCF converged neither in {cycles} iterations with a level shift nor in second-order steps",
        )


def _second_order(mf: Any, orbitals: Any, occupations: Any) -> None:
    """Newton steps from given orbitals; the outcome goes back into ``mf``."""
    solver = mf.newton()
    solver.max_cycle = 100
    solver.kernel(orbitals, occupations)
    for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged", "scf_summary"):
        setattr(mf, name, getattr(solver, name))


def _descend(mf: Any, notes: list[str]) -> None:
    """Follow internal instabilities of an open-shell solution down to a stable one."""
    start = mf.e_tot
    for step in range(MAX_DESCENTS + 1):
        if not _can_rotate(mf):
            return
        try:
            orbitals, _, stable, _ = mf.stability(return_status=True)
        except NotImplementedError:
            # Response kernels that PySCF lacks, such as those of nonlocal correlation.
            notes.append("stability not tested")
            return
        if stable:
            if step:
                notes.append(f"followed {step} internal instabilities, {start - mf.e_tot:.6f} Eh down")
            return
        _second_order(mf, orbitals, mf.mo_occ)
        if not mf.converged:
            raise EngineFailure(Kind.CONVERGENCE, "the SCF did not converge from an instability")
    raise EngineFailure(
        Kind.CONVERGENCE, f"the SCF is still unstable after {MAX_DESCENTS} descents along instabilities"
    )


def _can_rotate(mf: Any) -> bool:
    occupations = np.atleast_2d(mf.mo_occ)
    return any(bool((row > 0).any() and (row == 0).any()) for row in occupations)


def _bare_nuclei(mf: Any, mol: Any, driver: Driver) -> Calculation:
    """Nuclei without electrons, such as a proton as a fragment: PySCF has no SCF for them."""
    n = mol.natm
    gradient = hessian = None
    if driver != "energy":
        gradient = np.asarray(mf.nuc_grad_method().grad_nuc(), dtype=float)
    if driver == "hessian":
        from pyscf.hessian import rhf

        blocks = rhf.hess_nuc(mol)
        hessian = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    energy = float(mf.energy_nuc())
    properties = {"calcinfo_natom": n, "calcinfo_nalpha": 0, "calcinfo_nbeta": 0}
    return Calculation(Answer(energy, gradient, hessian, note="no electrons"), properties)


# -- correlation --------------------------------------------------------------------------------

_NOTHING = object()


@cache
def chemical_core(symbol: str) -> int:
    """Number of core orbitals of a neutral atom that correlated methods leave out."""
    from pyscf.data import elements

    return int(elements.chemcore_atm[elements.charge(symbol)])


def _active(found: Settings, mf: Any, mol: Any) -> Any:
    """What PySCF's ``frozen`` takes, or _NOTHING if no pair is left to be correlated.

    The core is counted here and not by PySCF, so that ghosts and potentials cannot be mistaken.
    """
    frozen = found.frozen
    if frozen is True:
        frozen = 0
        for i, charge in enumerate(mol.atom_charges().tolist()):
            if charge > 0:
                inside_potential = mol.atom_nelec_core(i) // 2
                frozen += max(0, chemical_core(_element(mol.atom_symbol(i))) - inside_potential)
        frozen = min(frozen, min(mol.nelec)) or None
    left_out = set(range(frozen)) if isinstance(frozen, int) else set(frozen or ())
    occupations = np.atleast_2d(mf.mo_occ)
    n_orbitals = occupations.shape[1]
    active = [i for i in range(n_orbitals) if i not in left_out]
    electrons = [sum(i < n for i in active) for n in mol.nelec]
    holes = [len(active) - n for n in electrons]
    # Singles alone give no energy; doubles need two electrons and two holes that match in spin.
    alpha, beta = (min(electrons[s], holes[s]) for s in (0, 1))
    if (alpha > 0 and beta > 0) or alpha > 1 or beta > 1:
        return frozen
    return _NOTHING


def _correlate(
    found: Settings, mf: Any, frozen: Any, attempt: int, notes: list[str], properties: dict[str, Any]
) -> tuple[Any, float]:
    """Correlated object and total energy."""
    from pyscf import cc, df, mp

    reference = float(mf.e_tot)
    properties["scf_total_energy"] = reference
    if found.method == "mp2":
        theory = mp.MP2(mf, frozen=frozen)
        if found.mp2_fit:
            theory.with_df = df.DF(mf.mol, auxbasis=_fitting(found, mf.mol, found.mp2_fit))
        theory.kernel()
        energy = reference + float(theory.e_corr)
        properties["mp2_correlation_energy"] = float(theory.e_corr)
        properties["mp2_total_energy"] = energy
        return theory, energy
    theory = cc.CCSD(mf, frozen=frozen)
    for name, value in found.cc.items():
        setattr(theory, name, value)
    if attempt:
        theory.max_cycle = max(theory.max_cycle, 200)
        theory.diis_space = max(theory.diis_space, 12)
        theory.iterative_damping = min(theory.iterative_damping, 0.7)
        notes.append("damped coupled-cluster amplitudes")
    theory.kernel()
    if not theory.converged:
        raise EngineFailure(
            Kind.CONVERGENCE, f"the CCSD amplitudes did not converge within max_cycle = {theory.max_cycle}"
        )
    energy = reference + float(theory.e_corr)
    properties["ccsd_correlation_energy"] = float(theory.e_corr)
    properties["ccsd_total_energy"] = energy
    if found.method == "ccsd(t)":
        triples = float(theory.ccsd_t())
        energy += triples
        properties["ccsd_prt_pr_correlation_energy"] = float(theory.e_corr) + triples
        properties["ccsd_prt_pr_total_energy"] = energy
    return theory, energy


# -- derivatives --------------------------------------------------------------------------------


def _gradient(found: Settings, theory: Any) -> NDArray[np.float64]:
    """Gradient in Eh/bohr, shape (n_atoms, 3)."""
    if found.method.startswith("ccsd") and hasattr(theory, "t2"):
        return _coupled_cluster_gradient(found, theory)
    method = theory.nuc_grad_method()
    if found.grid_response:
        method.grid_response = True
    return np.asarray(method.kernel(), dtype=float)


def _coupled_cluster_gradient(found: Settings, theory: Any) -> NDArray[np.float64]:
    integrals = theory.ao2mo(theory.mo_coeff)
    if found.method == "ccsd(t)":
        from pyscf.cc import ccsd_t_lambda as equations
        from pyscf.grad import ccsd_t as derivative

        theory.converged_lambda, l1, l2 = equations.kernel(
            theory, integrals, theory.t1, theory.t2, max_cycle=theory.max_cycle,
            tol=theory.conv_tol_normt, verbose=0,
        )  # fmt: skip
        method = derivative.Gradients(theory)
    else:
        l1, l2 = theory.solve_lambda(eris=integrals)
        method = theory.nuc_grad_method()
    if not theory.converged_lambda:
        raise EngineFailure(
            Kind.CONVERGENCE, f"the lambda equations did not converge within max_cycle = {theory.max_cycle}"
        )
    return np.asarray(method.kernel(theory.t1, theory.t2, l1, l2, eris=integrals), dtype=float)


def _hessian(mf: Any) -> NDArray[np.float64]:
    """Hessian in Eh/bohr^2, shape (3 n_atoms, 3 n_atoms)."""
    n = mf.mol.natm
    blocks = np.asarray(mf.Hessian().kernel(), dtype=float)
    hessian: NDArray[np.float64] = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    # The response equations leave the halves different by their threshold.
    symmetric: NDArray[np.float64] = 0.5 * (hessian + hessian.T)
    return symmetric


def _properties(mf: Any, mol: Any) -> dict[str, Any]:
    return {
        "calcinfo_nbasis": int(mol.nao),
        "calcinfo_nmo": int(np.shape(mf.mo_coeff)[-1]),
        "calcinfo_nalpha": int(mol.nelec[0]),
        "calcinfo_nbeta": int(mol.nelec[1]),
        "calcinfo_natom": int(mol.natm),
        "nuclear_repulsion_energy": float(mol.energy_nuc()),
        "scf_total_energy": float(mf.e_tot),
        "scf_iterations": int(getattr(mf, "cycles", 0) or 0),
    }
