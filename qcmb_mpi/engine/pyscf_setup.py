"""What a level means to PySCF: its method, reference, attributes; and what is refused.

From :class:`qcmb_mpi.problem.Level` to :class:`Settings`, once per level.  Nothing here builds a
molecule or computes.  PySCF is imported inside the functions.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.problem import Driver, Level

__all__ = ["Settings", "reference_for", "settings", "unsupported"]

WAVEFUNCTION_METHODS = ("hf", "mp2", "ccsd", "ccsd(t)")

#: Attributes of PySCF's SCF objects that may be set.
SCF_ATTRIBUTES = frozenset(
    {
        *("conv_check", "conv_tol", "conv_tol_cpscf", "conv_tol_grad", "damp", "init_guess"),
        *("diis", "diis_damp", "diis_space", "diis_space_rollback", "diis_start_cycle"),
        *("direct_scf", "direct_scf_tol", "level_shift", "max_cycle"),
    }
)
#: Those of its Kohn-Sham objects besides.
KS_ATTRIBUTES = frozenset({"nlc", "small_rho_cutoff"})
#: Attributes that only its coupled-cluster objects have.
CC_ATTRIBUTES = frozenset({"conv_tol_normt", "diis_start_energy_diff", "direct", "iterative_damping"})
#: Attributes that SCF and coupled-cluster objects share: the SCF's as they are, the other with ``cc_``.
CC_SHARED = frozenset({"conv_tol", "diis", "diis_space", "diis_start_cycle", "level_shift", "max_cycle"})
#: What is not an attribute of PySCF's.
OWN = frozenset(
    {
        *("cart", "density_fit", "freeze_core", "frozen", "frozen_core"),
        *("grid_level", "grid_response", "mp2_fit", "reference"),
    }
)

REFERENCES = {"rhf": "rhf", "uhf": "uhf", "rohf": "rohf", "rks": "rhf", "uks": "uhf", "roks": "rohf"}

DISPERSION = re.compile(r"[-_](3c|d[234]?(\W.*|bj.*|zero.*|op.*|m|mbj)?)$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Settings:
    """A level, understood.

    Attributes
    ----------
    method
        ``hf``, ``dft``, ``mp2``, ``ccsd`` or ``ccsd(t)``.
    xc
        Functional as PySCF's libxc reads it, for ``dft``.
    basis
        Name of the basis set.
    reference
        ``rhf``, ``uhf``, ``rohf``; None for rhf where the molecule is a singlet, uhf otherwise.
    scf, cc
        Attributes of the SCF and of the coupled-cluster object.
    density_fit
        False, True for PySCF's own choice, or the name of a fitting set.
    mp2_fit
        Name of the fitting set of the MP2 energy; None for that of the SCF.
    frozen
        True for the chemical core of the real atoms, else what PySCF's ``frozen`` takes.
    grid_level
        PySCF's, 0 to 9; None for its default.
    grid_response
        Whether gradients include the movement of the grid.
    cartesian
        Cartesian instead of spherical functions.
    """

    method: str
    xc: str
    basis: str
    reference: str | None = None
    scf: Mapping[str, Any] = field(default_factory=dict)
    cc: Mapping[str, Any] = field(default_factory=dict)
    density_fit: bool | str = False
    mp2_fit: str | None = None
    frozen: Any = None
    grid_level: int | None = None
    grid_response: bool = False
    cartesian: bool = False

    @property
    def correlated(self) -> bool:
        return self.method in ("mp2", "ccsd", "ccsd(t)")


def settings(level: Level) -> Settings:
    """Read a level.

    Raises
    ------
    InputError
        For an unknown method or keyword, or a value that cannot be.
    """
    method, xc, reference = _method(level.method)
    if not level.basis or level.basis == "(auto)":
        raise InputError("PySCF needs a basis set, for example 'def2-svp'", "basis")
    keywords = {key.lower(): value for key, value in level.keywords.items()}
    scf: dict[str, Any] = {}
    cc: dict[str, Any] = {}
    for key, value in keywords.items():
        if key in OWN:
            continue
        if key in SCF_ATTRIBUTES or (key in KS_ATTRIBUTES and method == "dft"):
            scf[key] = value
        elif key in CC_ATTRIBUTES and method.startswith("ccsd"):
            cc[key] = value
        elif key.startswith("cc_") and key[3:] in CC_SHARED and method.startswith("ccsd"):
            cc[key[3:]] = value
        else:
            raise _unknown_keyword(key, method)
    _check_numbers({**scf, **{f"cc_{k}" if k in CC_SHARED else k: v for k, v in cc.items()}})
    if "reference" in keywords:
        reference = _reference(keywords["reference"], reference)
    grid_level = keywords.get("grid_level")
    if grid_level is not None and (type(grid_level) is not int or not 0 <= grid_level <= 9):
        raise InputError(f"expected an integer from 0 to 9, got {grid_level!r}", "keywords.grid_level")
    for key in ("grid_level", "grid_response"):
        if key in keywords and method != "dft":
            raise InputError(f"only density functionals have a grid, not {level.method}", f"keywords.{key}")
    found = Settings(
        method=method,
        xc=xc,
        basis=level.basis,
        reference=reference,
        scf=scf,
        cc=cc,
        density_fit=_density_fit(keywords.get("density_fit", False)),
        mp2_fit=_mp2_fit(keywords, method),
        frozen=_frozen(keywords, method),
        grid_level=grid_level,
        grid_response=_boolean(keywords, "grid_response"),
        cartesian=_boolean(keywords, "cart"),
    )
    if found.reference == "rohf" and method in ("mp2", "ccsd(t)"):
        raise InputError(
            f"PySCF has no {method.upper()} on a restricted open-shell reference (it leaves out the singles "
            "and the semicanonical orbitals); use 'uhf'",
            "keywords.reference",
        )
    return found


def reference_for(found: Settings, multiplicity: int) -> str:
    """Reference of one molecule: ``rhf``, ``uhf`` or ``rohf``."""
    return found.reference or ("rhf" if multiplicity == 1 else "uhf")


def unsupported(found: Settings, driver: Driver, *, embedded: bool, open_shell: bool) -> str | None:
    """Why a derivative cannot be had at this level, or None if it can.

    The list follows PySCF 2.14, whose results were compared with finite differences: it raises for
    some of these and returns wrong numbers for others: density-fitted coupled cluster is off by 1e-5
    Eh/bohr, unrestricted CCSD(T) by 3e-4, even for water, where the restricted gradient is right.
    """
    if driver == "energy":
        return None
    if found.correlated and found.density_fit:
        return f"PySCF has no {driver} of {found.method.upper()} with density fitting"
    if found.correlated and found.reference == "rohf":
        return f"PySCF has no {driver} of {found.method.upper()} on a restricted open-shell reference"
    if found.method == "ccsd(t)" and (open_shell or found.reference == "uhf"):
        return f"PySCF's {driver} of CCSD(T) on an unrestricted reference is not that of its energy"
    if driver == "gradient":
        return None
    if found.correlated:
        return f"PySCF has no Hessian of {found.method.upper()}"
    if found.reference == "rohf":
        return "PySCF has no Hessian on a restricted open-shell reference"
    if embedded:
        return "PySCF has no Hessian in a field of point charges"
    if found.method == "dft" and _nonlocal(found):
        return f"PySCF has no Hessian of a nonlocal correlation functional such as that of {found.xc!r}"
    return None


def _nonlocal(found: Settings) -> bool:
    from pyscf.dft import libxc

    return bool(libxc.is_nlc(found.xc) or found.scf.get("nlc"))


def _method(name: str) -> tuple[str, str, str | None]:
    """Method, functional and reference implied by a method's name."""
    plain = name.strip().lower()
    plain = {"scf": "hf"}.get(plain, plain)
    if plain in WAVEFUNCTION_METHODS:
        return plain, "", None
    if plain in ("rhf", "uhf", "rohf"):
        return "hf", "", plain
    if DISPERSION.search(plain) or _brings_dispersion(plain):
        raise InputError(
            f"PySCF has no dispersion correction of its own, so {name!r} is not available through it; a "
            "functional with nonlocal correlation such as 'wb97m-v' is, or use another program",
            "method",
        )
    from pyscf.dft import libxc

    try:
        hybrid, functionals = libxc.parse_xc(plain)
        known = bool(functionals) or any(hybrid)
    except (KeyError, ValueError, IndexError, NotImplementedError):
        known = False
    if not known:
        names = [*WAVEFUNCTION_METHODS, *(n.lower() for n in (*libxc.XC_ALIAS, *libxc.XC_CODES))]
        close = difflib.get_close_matches(plain, names, n=1, cutoff=0.6)
        hint = f"; the nearest is {close[0]!r}" if close else ""
        raise InputError(
            f"PySCF does not know the method {name!r}{hint}. It has HF, MP2, CCSD, CCSD(T) and the density "
            "functionals of libxc",
            "method",
        )
    return "dft", plain, None


def _brings_dispersion(name: str) -> bool:
    """Whether PySCF would add dispersion to this functional from a package of its own (as to cf22d)."""
    from pyscf.scf import dispersion

    try:
        return bool(dispersion.parse_dft(name)[2])
    except (AttributeError, NotImplementedError):
        return isinstance(name, str) and name in getattr(dispersion, "_black_list", ())


def _reference(value: Any, implied: str | None) -> str:
    reference = REFERENCES.get(str(value).lower())
    if reference is None:
        raise InputError(f"expected rhf, uhf or rohf, got {value!r}", "keywords.reference")
    if implied and implied != reference:
        raise InputError(f"contradicts the method {implied!r}", "keywords.reference")
    return reference


def _boolean(keywords: Mapping[str, Any], key: str) -> bool:
    value = keywords.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"expected true or false, got {value!r}", f"keywords.{key}")
    return value


def _density_fit(value: Any) -> bool | str:
    if isinstance(value, (bool, str)) and value != "":
        return value
    raise InputError(
        f"expected true, false or the name of a fitting basis, got {value!r}", "keywords.density_fit"
    )


def _mp2_fit(keywords: Mapping[str, Any], method: str) -> str | None:
    value = keywords.get("mp2_fit")
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InputError(f"expected the name of a fitting basis, got {value!r}", "keywords.mp2_fit")
    if method != "mp2" or not keywords.get("density_fit"):
        raise InputError("goes with mp2 and density_fit only", "keywords.mp2_fit")
    return value


def _frozen(keywords: Mapping[str, Any], method: str) -> Any:
    given = [key for key in ("frozen", "frozen_core", "freeze_core") if key in keywords]
    if not given:
        return None
    if len(given) > 1:
        raise InputError(f"says the same as {given[0]!r}; give one of them", f"keywords.{given[1]}")
    key = given[0]
    value = keywords[key]
    if key != "frozen":
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"  # as Psi4 writes it
        if not isinstance(value, bool):
            raise InputError(
                f"expected true or false, got {value!r}; a number of orbitals goes to 'frozen'",
                f"keywords.{key}",
            )
        # Without correlation there is nothing to freeze, and a level above may well say so for all.
        return (value or None) if method in ("mp2", "ccsd", "ccsd(t)") else None
    if method not in ("mp2", "ccsd", "ccsd(t)"):
        raise InputError(f"there is nothing to freeze in {method.upper()}", "keywords.frozen")
    whole = type(value) is int and value >= 0
    listed = isinstance(value, (list, tuple)) and all(type(i) is int and i >= 0 for i in value)
    if not whole and not listed:
        raise InputError(
            f"expected a number of orbitals or a list of their 0-based indices, got {value!r}",
            "keywords.frozen",
        )
    return (value if whole else list(value)) or None


def _check_numbers(attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        plain = key.removeprefix("cc_")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if plain.startswith("conv_tol") or plain == "direct_scf_tol":
            if value is None and plain == "conv_tol_grad":
                continue
            if not number or not value > 0:
                raise InputError(f"expected a number above zero, got {value!r}", f"keywords.{key}")
        elif plain in ("max_cycle", "diis_space", "diis_start_cycle", "diis_space_rollback"):
            if type(value) is not int or value < 0:
                raise InputError(f"expected an integer, not negative, got {value!r}", f"keywords.{key}")
        elif plain in ("damp", "level_shift", "diis_damp", "iterative_damping", "small_rho_cutoff"):
            if not number or value < 0:
                raise InputError(f"expected a number, not negative, got {value!r}", f"keywords.{key}")
        elif plain in ("conv_check", "direct_scf", "direct", "diis"):
            if not isinstance(value, bool):
                raise InputError(f"expected true or false, got {value!r}", f"keywords.{key}")
        elif plain == "init_guess":
            guesses = ("minao", "atom", "huckel", "mod_huckel", "hcore", "1e", "sap", "vsap")
            if str(value).lower() not in guesses:
                raise InputError(f"expected one of {', '.join(guesses)}, got {value!r}", f"keywords.{key}")


def _unknown_keyword(key: str, method: str) -> InputError:
    here = set(OWN | SCF_ATTRIBUTES)
    if method == "dft":
        here |= KS_ATTRIBUTES
    if method.startswith("ccsd"):
        here |= CC_ATTRIBUTES | {f"cc_{k}" for k in CC_SHARED}
    close = difflib.get_close_matches(key, here, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(here))}"
    return InputError(f"the PySCF engine has no such keyword for {method.upper()}; {hint}", f"keywords.{key}")
