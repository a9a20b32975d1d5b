"""Charges and multiplicities of fragments as the command line gives them: by position or by name.

What is not given is neutral and of the lowest multiplicity; nothing is guessed from the element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs.charges import lowest_multiplicity
from qcmb_mpi.inputs.elements import atomic_number, composition
from qcmb_mpi.inputs.fields import shown, whole_number
from qcmb_mpi.inputs.fragments import Fragments
from qcmb_mpi.inputs.frame import Frame

__all__ = ["Assigned", "assign"]

CHARGES, MULTIPLICITIES = "--charges", "--multiplicities"
_EXAMPLES = {CHARGES: '"0,0,1" or "Na+,Cl-,H4N=1"', MULTIPLICITIES: '"1,1,3" or "O2=3"'}
#: Kinds of fragments named in a message.
LISTED = 8


@dataclass(frozen=True)
class Assigned:
    """One number for each fragment, and whether somebody gave it.

    Attributes
    ----------
    charges, multiplicities
        All filled in.
    charge_given, multiplicity_given
        False where it is the default.
    """

    charges: tuple[int, ...]
    multiplicities: tuple[int, ...]
    charge_given: tuple[bool, ...]
    multiplicity_given: tuple[bool, ...]


def assign(frame: Frame, fragments: Fragments, charges: str | None, multiplicities: str | None) -> Assigned:
    """Charges and multiplicities of all fragments.

    Parameters
    ----------
    charges, multiplicities
        What the user wrote: one number for each fragment, or ``NAME=NUMBER`` for all of a formula
        (charges also ``Na+``, ``Mg2+``).  It comes before what the file says.

    Raises
    ------
    InputError
        If it cannot be read, names a fragment that does not exist, or does not add up to the charge
        that the file states.
    """
    alone = len(fragments.atoms) == 1
    of_file = _of_file(frame.fragment_charges, frame.charge if alone else None, fragments)
    given = _given(charges, CHARGES, fragments, of_file)
    filled = tuple(value or 0 for value in given)
    if frame.charge is not None and sum(filled) != frame.charge:
        raise InputError(
            f"the fragments' charges add up to {sum(filled)}, but the file gives the whole a charge of "
            f"{frame.charge}; say which are charged, for example {_EXAMPLES[CHARGES]} "
            f"(the fragments are {_kinds(fragments)})",
            CHARGES,
        )
    of_file = _of_file(frame.fragment_multiplicities, frame.multiplicity if alone else None, fragments)
    spins = _given(multiplicities, MULTIPLICITIES, fragments, of_file)
    electrons = [
        sum(atomic_number(frame.symbols[atom]) for atom in atoms) - charge
        for atoms, charge in zip(fragments.atoms, filled, strict=True)
    ]
    return Assigned(
        filled,
        tuple(
            lowest_multiplicity(n) if spin is None else spin for n, spin in zip(electrons, spins, strict=True)
        ),
        tuple(value is not None for value in given),
        tuple(value is not None for value in spins),
    )


def _of_file(
    each: Sequence[int | None] | None, whole: int | None, fragments: Fragments
) -> Sequence[int | None]:
    """What the file says of each fragment; of the only one, what it says of the whole."""
    if fragments.from_file and each is not None:
        return each
    return [whole] * len(fragments.atoms)


def _given(
    text: str | None, flag: str, fragments: Fragments, of_file: Sequence[int | None]
) -> list[int | None]:
    """A number for each fragment, None where nobody gave one."""
    if text is None:
        return list(of_file)
    items = [item.strip() for item in text.split(",")]
    if all(re.fullmatch(r"[+-]?\d+", item) for item in items):
        if len(items) != len(fragments.atoms):
            raise InputError(
                f"has {len(items)} numbers for {len(fragments.atoms)} fragments ({_kinds(fragments)}); give "
                f"one for each or by name, for example {_EXAMPLES[flag]}",
                flag,
            )
        return [whole_number(item, flag) for item in items]
    values = list(of_file)
    compositions = {formula: composition(formula) for formula in set(fragments.formulas)}
    named: dict[str, str] = {}
    for item in items:
        formula, value = _named(item, flag, fragments, compositions)
        if formula in named:
            raise InputError(f"{shown(named[formula])} and {shown(item)} name the same fragments", flag)
        named[formula] = item
        for i, other in enumerate(fragments.formulas):
            if other == formula:
                values[i] = value
    return values


def _named(
    item: str, flag: str, fragments: Fragments, compositions: dict[str, Counter[str] | None]
) -> tuple[str, int]:
    """The formula that an item names, as the fragments have it, and its number."""
    readings = _readings(item, flag)
    if not readings:
        raise InputError(f"expected for example {_EXAMPLES[flag]}, not {shown(item)}", flag)
    matches = {
        (formula, value)
        for name, value in readings
        for formula, atoms in compositions.items()
        if atoms == composition(name)
    }
    if not matches:
        raise InputError(f"{shown(item)}: there is no such fragment; there are {_kinds(fragments)}", flag)
    if len(matches) > 1:
        both = " or ".join(f"{name}={value:+d}" for name, value in sorted(matches))
        raise InputError(f"{shown(item)} can be read in two ways; write {both}", flag)
    return matches.pop()


def _readings(item: str, flag: str) -> list[tuple[str, int]]:
    """What an item may mean: ``Mg2+`` is Mg with two charges, or Mg2 with one."""
    name, equals, value = (part.strip() for part in item.partition("="))
    if equals:
        return [(name, whole_number(value, f"{flag}: {name}"))] if composition(name) else []
    if flag != CHARGES:
        return []
    found = []
    for pattern in (r"(.+?)()([+-])", r"([A-Z][a-z]?)(\d+)([+-])", r"([A-Z][a-z]?)()([+-])(\d+)"):
        match = re.fullmatch(pattern, item)
        if match and composition(match[1]):
            size = int("".join(match.groups("")[1:2] + match.groups("")[3:]) or 1)
            found.append((match[1], size if match[3] == "+" else -size))
    return found


def _kinds(fragments: Fragments) -> str:
    """``2 Na, 20 H2O``."""
    counted = [f"{count} {formula}" for formula, count in Counter(fragments.formulas).items()]
    return ", ".join(counted[:LISTED]) + (", ..." if len(counted) > LISTED else "")
