"""Charges and multiplicities of a molecule's fragments, checked against the electrons they leave.

Not given, a fragment is neutral and of the lowest multiplicity that its number of electrons allows.
Nothing is shared out: where the fragments do not add up to the molecule, the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.fields import Names, listed, whole_number
from qcmb_mpi.problem import formula

__all__ = ["complete_charges", "lowest_multiplicity"]

#: Fragments listed one by one in an error.
LISTED = 12


def complete_charges(
    molecule: dict[str, Any], numbers: NDArray[np.int64], names: Names, warnings: list[str]
) -> None:
    """Check charges and multiplicities of all fragments and fill in what the user left out.

    Parameters
    ----------
    molecule
        With ``symbols`` and checked ``fragments``; the charges and multiplicities in it are replaced.
    numbers : (n_atoms,)
        Atomic numbers.
    names
        The user's spelling.
    warnings
        Extended by what is allowed but may not be meant.

    Raises
    ------
    InputError
        Naming the fragment by formula and the field to fill in.
    """
    fragments = molecule["fragments"]
    charge = _optional(molecule.get("molecular_charge"), names("molecule", "molecular_charge"))
    total_field = names("molecule", "molecular_multiplicity")
    total = _optional(molecule.get("molecular_multiplicity"), total_field)
    if total is not None and total < 1:
        raise InputError(f"{total} is not a multiplicity (2S + 1)", total_field)
    charges = _one_each(molecule, "fragment_charges", names)
    multiplicities = _one_each(molecule, "fragment_multiplicities", names)
    guessed = any(value is None for value in multiplicities)
    if len(fragments) == 1:  # the molecule's own are the fragment's
        charges = [charge] if charges == [None] else charges
        multiplicities = [total] if multiplicities == [None] else multiplicities

    formulas = [formula([molecule["symbols"][atom] for atom in fragment]) for fragment in fragments]
    filled_charges = [0 if value is None else value for value in charges]
    if charge is not None and sum(filled_charges) != charge:
        _refuse_sum(names, formulas, charges, charge)
    filled: list[int] = []
    for i, fragment in enumerate(fragments):
        electrons = int(numbers[fragment].sum()) - filled_charges[i]
        given = multiplicities[i]
        multiplicity = lowest_multiplicity(electrons) if given is None else given
        _check_fragment(i, formulas[i], filled_charges[i], electrons, multiplicity, len(fragments), names)
        filled.append(multiplicity)

    high_spin = sum(m - 1 for m in filled) + 1
    if total is not None and total != high_spin:
        _check_total(total, high_spin, formulas, filled, guessed, names)
        warnings.append(
            f"{total_field}: n-mers are computed high-spin, as QCManyBody does: the "
            f" whole cluster with multiplicity {high_spin}, not {total}"
        )
    molecule.update(
        molecular_charge=float(sum(filled_charges)),
        molecular_multiplicity=high_spin if total is None else total,
        fragment_charges=[float(value) for value in filled_charges],
        fragment_multiplicities=filled,
    )


def lowest_multiplicity(electrons: int) -> int:
    """The lowest multiplicity (2S + 1) that a number of electrons allows."""
    return electrons % 2 + 1


def _optional(value: Any, field: str) -> int | None:
    return None if value is None else whole_number(value, field)


def _one_each(molecule: dict[str, Any], field: str, names: Names) -> list[int | None]:
    """A whole number or None for each fragment."""
    n_fragments = len(molecule["fragments"])
    if molecule.get(field) is None:
        return [None] * n_fragments
    values = listed(molecule[field], names("molecule", field), "numbers, one for each fragment")
    if len(values) != n_fragments:
        raise InputError(f"has {len(values)} entries for {n_fragments} fragments", names("molecule", field))
    return [_optional(value, names("molecule", field, i)) for i, value in enumerate(values)]


def _check_fragment(
    i: int, formula: str, charge: int, electrons: int, multiplicity: int, n_fragments: int, names: Names
) -> None:
    what = f"fragment {i + 1} ({formula}, charge {charge:+d})"
    charge_field = ("fragment_charges", i) if n_fragments > 1 else ("molecular_charge",)
    spin_field = ("fragment_multiplicities", i) if n_fragments > 1 else ("molecular_multiplicity",)
    field = names("molecule", *spin_field)
    if electrons < 0:
        raise InputError(
            f"{what} has only {electrons + charge} electrons to lose", names("molecule", *charge_field)
        )
    what += f" has {electrons} electrons, so its multiplicity is"
    if multiplicity < 1:
        raise InputError(f"{multiplicity} is not a multiplicity (2S + 1)", field)
    if (electrons + multiplicity) % 2 == 0:
        parity = "odd" if electrons % 2 == 0 else "even"
        raise InputError(f"{what} {parity}, not {multiplicity}; or is its charge wrong?", field)
    if multiplicity > electrons + 1:
        raise InputError(f"{what} at most {electrons + 1}, not {multiplicity}", field)


def _refuse_sum(names: Names, formulas: list[str], charges: Sequence[int | None], charge: int) -> None:
    each = _enumerated(
        f"{i + 1}: {f} {'not given, so +0' if c is None else f'{c:+d}'}"
        for i, (f, c) in enumerate(zip(formulas, charges, strict=True))
    )
    total = sum(c or 0 for c in charges)
    raise InputError(
        f"the fragments' charges add up to {total:+d}, but {names('molecule', 'molecular_charge')} is "
        f"{charge:+d}; give the charge of each of the {len(formulas)} fragments ({each})",
        names("molecule", "fragment_charges"),
    )


def _check_total(
    total: int, high_spin: int, formulas: list[str], filled: list[int], guessed: bool, names: Names
) -> None:
    field = names("molecule", "molecular_multiplicity")
    if (total + high_spin) % 2:
        parity = "odd" if high_spin % 2 else "even"
        raise InputError(f"{total} is impossible: with these electrons it is {parity}", field)
    if guessed or total > high_spin:
        each = _enumerated(f"{i + 1}: {f} {m}" for i, (f, m) in enumerate(zip(formulas, filled, strict=True)))
        raise InputError(
            f"{field} is {total}, but the fragments' multiplicities make the cluster {high_spin}; "
            f"give that of each of the {len(formulas)} fragments ({each})",
            names("molecule", "fragment_multiplicities"),
        )


def _enumerated(items: Iterable[str]) -> str:
    items = list(items)
    return ", ".join(items[:LISTED]) + (f", ... {len(items) - LISTED} more" if len(items) > LISTED else "")
