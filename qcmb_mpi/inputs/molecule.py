"""A molecule as the user wrote it, checked and completed: charges and multiplicities of all fragments.

Works on QCSchema's molecule as a plain dictionary.  QCElemental's ``Molecule`` is built from the
completed one only: with charges or multiplicities missing it searches all assignments, in time and
memory exponential in the number of fragments, and would charge the first fragment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.charges import complete_charges
from qcmb_mpi.inputs.elements import atomic_number, element
from qcmb_mpi.inputs.fields import (
    Names,
    flag,
    from_pydantic,
    listed,
    mapping,
    number,
    pydantic_errors,
    refuse_unknown,
    shown,
    whole_number,
)

__all__ = ["build_molecule", "complete"]

FIELDS = (
    "schema_name",
    "schema_version",
    "validated",
    "symbols",
    "geometry",
    "name",
    "identifiers",
    "comment",
    "molecular_charge",
    "molecular_multiplicity",
    "masses",
    "real",
    "atom_labels",
    "atomic_numbers",
    "mass_numbers",
    "connectivity",
    "fragments",
    "fragment_charges",
    "fragment_multiplicities",
    "fix_com",
    "fix_orientation",
    "fix_symmetry",
    "provenance",
    "id",
    "extras",
)

PER_ATOM = ("masses", "real", "atom_labels", "atomic_numbers", "mass_numbers")
CHECKED: dict[str, Callable[[Any, str], Any]] = {
    "masses": number,
    "real": flag,
    "atomic_numbers": whole_number,
    "mass_numbers": whole_number,
}

#: Bohr. Below the first no two atoms can be (QCElemental's limit); below the second no bond is.
SAME_PLACE = 0.1
SHORTER_THAN_ANY_BOND = 1.2

#: Bohr. Coordinates beyond it are a mistake.
FURTHEST = 1e8


def complete(raw: Any, names: Names) -> tuple[dict[str, Any], list[str]]:
    """Check a molecule and fill in what the user left out.

    Parameters
    ----------
    raw
        QCSchema's molecule as a dictionary; lists or arrays.
    names
        The user's spelling; places are given below ``molecule``.

    Returns
    -------
    molecule
        Copy of ``raw`` with title-case ``symbols``, ``geometry`` of shape (n_atoms, 3) in bohr,
        ``fragments``, ``fragment_charges``, ``fragment_multiplicities``, ``molecular_charge`` and
        ``molecular_multiplicity``.
    warnings
        What is allowed but may not be meant.

    Raises
    ------
    InputError
        Naming the field that is wrong.
    """
    molecule = mapping(raw, names("molecule"), "fields of a molecule")
    refuse_unknown(molecule, FIELDS, names, ("molecule",))
    _check_schema(molecule, names)
    for field in ("symbols", "geometry"):
        if molecule.get(field) is None:
            raise InputError("is missing", names("molecule", field))
    warnings: list[str] = []
    numbers = _symbols(molecule, names)
    _geometry(molecule, names, warnings)
    _per_atom(molecule, numbers, names)
    _fragments(molecule, names, warnings)
    complete_charges(molecule, numbers, names, warnings)
    return molecule, warnings


def build_molecule(completed: Mapping[str, Any], version: int, names: Names) -> Any:
    """QCElemental's ``Molecule`` of a schema version from a completed dictionary.

    QCElemental's own validation is skipped: ``complete`` has done it, it takes a tenth of a second
    for a thousand atoms, and it refuses fragments that are not contiguous.
    """
    from qcelemental.molutil import molecular_formula_from_symbols

    models = import_module(f"qcelemental.models.v{version}")
    values = {key: value for key, value in completed.items() if value is not None}
    values.setdefault("name", molecular_formula_from_symbols(list(values["symbols"])))
    values.update(
        schema_name="qcschema_molecule",
        schema_version={1: 2, 2: 3}[version],
        validated=True,
        fragments=[np.asarray(fragment, dtype=np.int32) for fragment in values["fragments"]],
    )
    try:
        # rounds the geometry to 8 decimals, as for any Molecule
        return models.Molecule(validate=False, _geometry_prep=True, **values)
    except pydantic_errors(version) as error:
        raise from_pydantic(error, names, ("molecule",)) from None


def _check_schema(molecule: dict[str, Any], names: Names) -> None:
    if molecule.get("schema_name", "qcschema_molecule") not in ("qcschema_molecule", "qcschema_input"):
        raise InputError("expected 'qcschema_molecule'", names("molecule", "schema_name"))
    if molecule.get("schema_version", 3) not in (2, 3):
        raise InputError("only molecules of version 2 and 3 are read", names("molecule", "schema_version"))


def _symbols(molecule: dict[str, Any], names: Names) -> NDArray[np.int64]:
    symbols = listed(molecule["symbols"], names("molecule", "symbols"), "element symbols")
    if not symbols:
        raise InputError("there are no atoms", names("molecule", "symbols"))
    known: dict[Any, tuple[str, int]] = {}
    for i, symbol in enumerate(symbols):
        if isinstance(symbol, str) and symbol in known:
            continue
        title = element(symbol) if isinstance(symbol, str) else None
        if title is None:
            raise InputError(
                f"{shown(symbol)} is not an element (expected a symbol such as 'He')",
                names("molecule", "symbols", i),
            )
        known[symbol] = title, atomic_number(title)
    molecule["symbols"] = [known[symbol][0] for symbol in symbols]
    return np.array([known[symbol][1] for symbol in symbols], dtype=np.int64)


def _geometry(molecule: dict[str, Any], names: Names, warnings: list[str]) -> None:
    field, n_atoms = names("molecule", "geometry"), len(molecule["symbols"])
    try:
        geometry = np.array(molecule["geometry"], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("expected numbers, three for each atom", field) from None
    if geometry.size != 3 * n_atoms:
        raise InputError(
            f"has {geometry.size} numbers; {n_atoms} atoms need {3 * n_atoms} (x, y, z of each)", field
        )
    geometry = geometry.reshape(n_atoms, 3)
    placed = (np.abs(geometry) < FURTHEST).all(axis=1)  # false for NaN too
    if not placed.all():
        atom = int(np.argmin(placed))
        raise InputError(f"atom {atom + 1} ({molecule['symbols'][atom]}) is at {geometry[atom]}", field)
    molecule["geometry"] = geometry
    distance, one, other = _closest(geometry)
    if distance < SAME_PLACE:
        pair = " and ".join(f"{i + 1} ({molecule['symbols'][i]})" for i in sorted((one, other)))
        raise InputError(f"atoms {pair} are at the same place", field)
    if distance < SHORTER_THAN_ANY_BOND:
        warnings.append(
            f"{field}: the closest atoms are {distance:.2f} bohr ({distance * 0.529177:.2f} angstrom) apart, "
            "shorter than any bond: was the geometry given in angstrom where bohr is expected?"
        )


def _closest(geometry: NDArray[np.float64]) -> tuple[float, int, int]:
    """Distance and numbers of the two closest atoms; only distances below 1.2 bohr are looked at."""
    rank = np.argsort(geometry[:, 0], kind="stable")
    placed = geometry[rank]
    best: tuple[float, int, int] = (np.inf, 0, 0)
    for step in range(1, len(placed)):
        difference = placed[step:] - placed[:-step]
        near = difference[:, 0] < SHORTER_THAN_ANY_BOND
        if not near.any():
            break  # sorted along x: atoms further down the list are further away
        distances = np.sqrt((difference[near] ** 2).sum(axis=1))
        at = int(np.argmin(distances))
        if distances[at] < best[0]:
            first = int(np.flatnonzero(near)[at])
            best = float(distances[at]), int(rank[first]), int(rank[first + step])
    return best


def _per_atom(molecule: dict[str, Any], numbers: NDArray[np.int64], names: Names) -> None:
    for field in PER_ATOM:
        if molecule.get(field) is None:
            continue
        values = listed(molecule[field], names("molecule", field), "values, one for each atom")
        if len(values) != len(numbers):
            raise InputError(f"has {len(values)} entries for {len(numbers)} atoms", names("molecule", field))
        if field in CHECKED:
            molecule[field] = [CHECKED[field](v, names("molecule", field, i)) for i, v in enumerate(values)]
    if molecule.get("real") is not None and not all(molecule["real"]):
        raise InputError(
            "ghost atoms cannot be part of the cluster; bsse_type brings them in where they are needed",
            names("molecule", "real"),
        )
    if molecule.get("atomic_numbers") is not None:
        wrong = np.flatnonzero(np.array(molecule["atomic_numbers"], dtype=object) != numbers)
        if len(wrong):
            atom = int(wrong[0])
            raise InputError(
                f"{molecule['atomic_numbers'][atom]} is not the number of {molecule['symbols'][atom]}",
                names("molecule", "atomic_numbers", atom),
            )


def _fragments(molecule: dict[str, Any], names: Names, warnings: list[str]) -> None:
    field, n_atoms = names("molecule", "fragments"), len(molecule["symbols"])
    if molecule.get("fragments") is None:
        molecule["fragments"] = [list(range(n_atoms))]
        if n_atoms > 1:
            warnings.append(f"{field}: not given, so all {n_atoms} atoms are one fragment")
        return
    owner: dict[int, int] = {}
    fragments = listed(molecule["fragments"], field, "fragments, each a list of 0-based atom numbers")
    if not fragments:
        raise InputError("there are no fragments", field)
    for i, fragment in enumerate(fragments):
        place = names("molecule", "fragments", i)
        fragments[i] = atoms = [
            whole_number(atom, place) for atom in listed(fragment, place, "0-based atom numbers")
        ]
        if not atoms:
            raise InputError("this fragment has no atoms", place)
        for atom in atoms:
            if not 0 <= atom < n_atoms:
                hint = " (numbers begin with 0)" if atom == n_atoms else ""
                raise InputError(
                    f"there is no atom {atom}: {n_atoms} atoms are 0 to {n_atoms - 1}{hint}", place
                )
            if atom in owner:
                where = "twice in this fragment" if owner[atom] == i else f"in fragment [{owner[atom]}] too"
                raise InputError(f"atom {atom} is {where}; every atom belongs to one fragment", place)
            owner[atom] = i
    missing = [atom for atom in range(n_atoms) if atom not in owner]
    if missing:
        first = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(f"atoms in no fragment: {first} (numbers begin with 0)", field)
    molecule["fragments"] = fragments
