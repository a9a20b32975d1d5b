"""Basis sets, effective core potentials and fitting sets for the PySCF engine, one element at a time.

Everything is loaded once per name and element and kept, so that a task's Mole is put together from
ready-made shells.  Knows nothing of tasks, methods or keywords.  PySCF is imported inside the
functions: importing this module must cost nothing.
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from qcmb_mpi.errors import InputError

__all__ = ["ElementBasis", "element_basis", "fitting_basis", "remember_basis_files"]

#: Lowest eigenvalue of the bare nucleus's one-electron atom in the basis, as a fraction of the exact
#: -Z^2/2, below which a basis cannot hold the core electrons.  All sets in PySCF 2.14 that are meant
#: for all electrons reach 0.58 (relativistically contracted ones at uranium) and mostly 0.95; the
#: valence sets without a potential of the same name stay below 0.3 for all that is heavier than neon.
HOLDS_CORE = 0.5

#: Families whose potentials PySCF keeps under another name than the basis.
POTENTIALS = (
    (re.compile(r"(ccecp(?:he|reg|28|36)?)"), None),
    (re.compile(r"bfd"), "bfd"),
    (re.compile(r"qavgvszps"), "ecpqvszp"),
    (re.compile(r"(?:ma)?def2"), "def2tzvpp"),
    (re.compile(r"(?:aug)?ccpw?c?v[dtq5]zpp$"), "ccpvtzpp"),
)


@dataclass(frozen=True, eq=False)
class ElementBasis:
    """What one element gets in one basis set.

    Attributes
    ----------
    shells
        In PySCF's internal format.
    potential
        Effective core potential in PySCF's internal format, None if there is none.
    n_core
        Electrons that the potential stands for.
    n_spherical, n_cartesian
        Number of basis functions.
    """

    shells: list[Any]
    potential: list[Any] | None
    n_core: int
    n_spherical: int
    n_cartesian: int


def _normalised(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def _known_names() -> list[str]:
    from pyscf.gto import basis

    return [*basis.ALIAS, *basis.GTH_ALIAS]


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(_normalised(name), _known_names(), n=1, cutoff=0.6)
    return f"; the nearest that PySCF knows is {close[0]!r} (hyphens and case do not matter)" if close else ""


def _is_known(name: str) -> bool:
    plain = _normalised(name.split("@")[0])
    return plain in _known_names() or plain.startswith(("631", "321", "431")) or os.path.isfile(name)


@cache
def element_basis(name: str, symbol: str, field: str = "basis") -> ElementBasis:
    """Load what ``symbol`` gets in the basis set ``name``.

    Raises
    ------
    InputError
        For an unknown name, an element that the set lacks, or a set made for use with a potential
        that PySCF does not have: it would converge with all electrons to nonsense.
    """
    from pyscf import gto

    shells = _load_shells(name, symbol, field)
    potential = None
    # Hydrogen and helium have no core, and looking for a potential costs as much as for a basis.
    if gto.charge(symbol) > 2:
        potential = _load_potential(name, symbol)
    n_core = int(potential[0]) if potential else 0
    if not potential and _core_fraction(symbol, shells) < HOLDS_CORE and gto.charge(symbol) > 2:
        raise InputError(
            f"{name!r} is a valence basis for {symbol}, meant for use with an effective core potential "
            "that PySCF does not have under this name; choose another basis, for example 'def2-svp'",
            field,
        )
    spherical = sum((2 * _momentum(s) + 1) * _contractions(s) for s in shells)
    cartesian = sum((_momentum(s) + 1) * (_momentum(s) + 2) // 2 * _contractions(s) for s in shells)
    return ElementBasis(shells, potential or None, n_core, spherical, cartesian)


def _momentum(shell: list[Any]) -> int:
    return int(shell[0])


def _contractions(shell: list[Any]) -> int:
    return len(shell[-1]) - 1


def _load_shells(name: str, symbol: str, field: str) -> list[Any]:
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to install basis-set-exchange; our error says more
        try:
            shells = gto.basis.load(name, symbol)
            if shells:
                # PySCF's own normal form, so that Mole.build has nothing left to convert.
                return list(gto.format_basis({symbol: shells})[symbol])
        except (BasisNotFoundError, KeyError, AttributeError, AssertionError, RuntimeError, OSError):
            pass
    if _is_known(name):
        raise InputError(f"the basis {name!r} has no functions for {symbol}", field)
    raise InputError(f"PySCF does not know the basis {name!r}{_nearest(name)}", field)


def _load_potential(name: str, symbol: str) -> list[Any] | None:
    """The potential that belongs to a basis: of its own name, else of its family's."""
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    plain = _normalised(name)
    names = [name]
    for pattern, of_family in POTENTIALS:
        if match := pattern.match(plain):
            names.append(of_family or match.group(1))
            break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for candidate in names:
            try:
                potential = gto.basis.load_ecp(candidate, symbol)
            except (BasisNotFoundError, KeyError, TypeError, RuntimeError, OSError):
                continue  # TypeError: PySCF keeps some sets in several files and cannot join their paths
            if potential:
                return list(gto.format_ecp({symbol: potential})[symbol])
    return None


def _core_fraction(symbol: str, shells: list[Any]) -> float:
    """Ground-state energy of the hydrogen-like atom in this basis over the exact one."""
    from pyscf import gto

    mol = gto.Mole(atom=[[symbol, (0.0, 0.0, 0.0)]], basis={symbol: shells}, spin=None, verbose=0)
    mol.build(dump_input=False, parse_arg=False)
    values, vectors = np.linalg.eigh(mol.intor("int1e_ovlp"))
    keep = values > 1e-8
    orthogonal = vectors[:, keep] / np.sqrt(values[keep])
    core = mol.intor("int1e_kin") + mol.intor("int1e_nuc")
    lowest = np.linalg.eigvalsh(orthogonal.T @ core @ orthogonal)[0]
    return float(lowest) / (-0.5 * float(gto.charge(symbol)) ** 2)


@cache
def fitting_basis(
    name: str, symbol: str, fitting: str | None, xc: str, field: str = "keywords.density_fit"
) -> list[Any]:
    """Density-fitting set of one element in PySCF's internal format.

    Parameters
    ----------
    name, symbol
        Orbital basis and element.
    fitting
        Name of the fitting set; None for the one PySCF has for the orbital basis.
    xc
        Functional, or ``HF``: PySCF chooses by whether exchange is fitted too.
    field
        Where the user named it.

    Notes
    -----
    PySCF chooses by the name of the orbital basis, which a Mole put together from shells has not, and
    would fall back to even-tempered functions.
    """
    from pyscf import df, gto

    if fitting is not None:
        return _load_shells(fitting, symbol, field)
    mol = gto.Mole(atom=[[symbol, (0.0, 0.0, 0.0)]], basis=name, spin=None, verbose=0)
    mol.build(dump_input=False, parse_arg=False)
    # What mf.density_fit() does: a set made for the functional if there is one, else that for HF.
    if predefined := df.addons.predefined_auxbasis(mol, name, xc):
        try:
            return _load_shells(predefined, symbol, "keywords.density_fit")
        except InputError:
            pass
    return list(gto.format_basis(df.make_auxbasis(mol))[symbol])


def remember_basis_files() -> None:
    """Let PySCF keep what it reads from its own basis files.

    The standard initial guess looks up every element of every molecule afresh, two thirds of the time
    of a small calculation.  The files belong to the installed package and do not change.
    """
    from pyscf.gto.basis import parse_nwchem

    search: Callable[[str, str], list[str]] = parse_nwchem.search_seg
    if hasattr(search, "cached_by_qcmb_mpi"):
        return
    inside = os.path.dirname(parse_nwchem.__file__)

    @cache
    def found(path: str, symbol: str) -> tuple[str, ...]:
        return tuple(search(path, symbol))

    def search_seg(path: str, symbol: str) -> list[str]:
        if os.path.dirname(os.path.abspath(path)).startswith(inside):
            return list(found(path, symbol))
        return search(path, symbol)

    search_seg.cached_by_qcmb_mpi = True  # type: ignore[attr-defined]
    parse_nwchem.search_seg = search_seg
