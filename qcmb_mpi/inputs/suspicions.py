"""What is allowed in a structure but may not be meant: each as one sentence with what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.inputs.assign import Assigned
from qcmb_mpi.inputs.bonds import Contacts
from qcmb_mpi.inputs.elements import HALOGENS, composition, is_metal
from qcmb_mpi.inputs.fragments import FLAG, Fragments
from qcmb_mpi.inputs.frame import Frame

__all__ = ["suspicions"]

#: A formula is rare where another is at least this many times as frequent.
RARE = 5
#: Atoms, pairs or formulas named one by one.
LISTED = 3


def suspicions(
    frame: Frame, fragments: Fragments, assigned: Assigned, contacts: Contacts
) -> list[tuple[str, str]]:
    """Kind and sentence of everything suspicious, at most one of each kind.

    Atoms and fragments are numbered from 1 in the sentences.
    """
    between = fragments.owner[contacts.first] != fragments.owner[contacts.second]
    usual, rare = _rare(fragments)
    in_rare = np.isin(fragments.owner[contacts.first], rare) | np.isin(fragments.owner[contacts.second], rare)
    between &= contacts.overlapping | ~_beside_halogen(fragments, contacts)
    torn = between & in_rare & contacts.within_reach
    found = {
        "cell": _cell(frame),
        "left out": _left_out(frame),
        "single atoms": _single_atoms(fragments, assigned),
        "broken": _broken(frame, fragments, contacts, torn, usual),
        "unlike": _unlike(fragments, assigned, contacts, torn, usual, rare),
        "bonds cut": _bonds_cut(frame, fragments, contacts, between & ~torn & contacts.bound),
        "close": _close(frame, fragments, contacts, between & ~torn & ~contacts.bound),
        "radicals": _radicals(fragments, assigned),
    }
    return [(kind, sentence) for kind, sentence in found.items() if sentence]


def _beside_halogen(fragments: Fragments, contacts: Contacts) -> NDArray[np.bool_]:
    """Pairs with a halogen by itself: an ion, whose neighbours come closer than its covalent radius tells."""
    alone = np.array([formula in HALOGENS for formula in fragments.formulas])
    return np.asarray(
        alone[fragments.owner[contacts.first]] | alone[fragments.owner[contacts.second]], dtype=np.bool_
    )


def _cell(frame: Frame) -> str:
    if not frame.periodic:
        return ""
    return (
        "the file describes a periodic cell, which is ignored: the cluster is computed as it stands, and a "
        "molecule across the border of the cell is in pieces"
    )


def _left_out(frame: Frame) -> str:
    return f"not taken over from the file: {', '.join(frame.left_out)}" if frame.left_out else ""


def _single_atoms(fragments: Fragments, assigned: Assigned) -> str:
    """Metals and halogens by themselves, without a charge from anybody."""
    lonely: dict[str, list[int]] = {}
    for i, formula in enumerate(fragments.formulas):
        if _is_lonely(i, fragments, assigned):
            lonely.setdefault(formula, []).append(i)
    if not lonely:
        return ""
    each = ", ".join(f"{symbol} ({_numbered(numbers)})" for symbol, numbers in lonely.items())
    flags = ",".join(_as_ion(symbol) for symbol in lonely)
    sentence = f'taken as neutral atoms: {each}; if they are ions, give --charges "{flags}"'
    if any(is_metal(symbol) for symbol in lonely):
        sentence += f"; a metal that is part of a molecule is joined to it with {FLAG}"
    return sentence


def _is_lonely(i: int, fragments: Fragments, assigned: Assigned) -> bool:
    formula = fragments.formulas[i]
    alone = len(fragments.atoms[i]) == 1 and not assigned.charge_given[i]
    return alone and (is_metal(formula) or formula in HALOGENS)


def _as_ion(symbol: str) -> str:
    """How the flag would be written, with the usual charge where there is only one."""
    from qcelemental import periodictable

    group = periodictable.to_group(symbol)
    return {1: f"{symbol}+", 2: f"{symbol}2+", 17: f"{symbol}-"}.get(group or 0, f"{symbol}=CHARGE")


def _rare(fragments: Fragments) -> tuple[str, NDArray[np.int64]]:
    """The most frequent formula, and the fragments of those that are rare beside it."""
    counts = Counter(fragments.formulas)
    usual, most = counts.most_common(1)[0]
    rare = [i for i, formula in enumerate(fragments.formulas) if counts[formula] * RARE <= most]
    return usual, np.array(rare, dtype=np.int64)


def _broken(
    frame: Frame, fragments: Fragments, contacts: Contacts, torn: NDArray[np.bool_], usual: str
) -> str:
    if not torn.any():
        return ""
    pairs = _pairs(frame, fragments, contacts, torn)
    return (
        f"is a molecule broken? Most fragments are {usual}, and little more than a bond's length separates "
        f"{pairs}; mend the geometry or list the atoms with {FLAG}"
    )


def _unlike(
    fragments: Fragments,
    assigned: Assigned,
    contacts: Contacts,
    torn: NDArray[np.bool_],
    usual: str,
    rare: NDArray[np.int64],
) -> str:
    """Rare fragments that are several of the usual molecule, or one short of an atom."""
    told = set(fragments.owner[contacts.first[torn]]) | set(fragments.owner[contacts.second[torn]])
    whole = composition(usual) or Counter()
    seen = []
    for i in rare:
        atoms = composition(fragments.formulas[i]) or Counter()
        if i in told or assigned.charge_given[i]:
            continue
        times = atoms.total() // whole.total()
        if times > 1 and atoms == Counter({symbol: times * n for symbol, n in whole.items()}):
            seen.append(f"fragment {i + 1} ({fragments.formulas[i]}) is {times} {usual} in one")
        elif (whole - atoms).total() == 1 and not atoms - whole:
            lost = next(iter(whole - atoms))
            seen.append(f"fragment {i + 1} ({fragments.formulas[i]}) is {usual} without an {lost}")
    return f"is the geometry right? {_first(seen)}" if seen else ""


def _bonds_cut(frame: Frame, fragments: Fragments, contacts: Contacts, chosen: NDArray[np.bool_]) -> str:
    if not chosen.any():
        return ""
    pairs = _pairs(frame, fragments, contacts, chosen)
    return f"the fragments cut through bonds, and each half is computed as it stands: {pairs}"


def _close(frame: Frame, fragments: Fragments, contacts: Contacts, chosen: NDArray[np.bool_]) -> str:
    if not chosen.any():
        return ""
    pairs = _pairs(frame, fragments, contacts, chosen)
    return f"suspiciously close, though of different fragments: {pairs}"


def _radicals(fragments: Fragments, assigned: Assigned) -> str:
    """Fragments with an odd number of electrons, by formula, unless somebody gave their multiplicity."""
    odd: dict[str, list[int]] = {}
    for i, formula in enumerate(fragments.formulas):
        doublet = assigned.multiplicities[i] == 2 and not assigned.multiplicity_given[i]
        if doublet and not _is_lonely(i, fragments, assigned):
            odd.setdefault(formula, []).append(i)
    if not odd:
        return ""
    each = _first([f"{formula} ({_numbered(numbers)})" for formula, numbers in odd.items()])
    name = next(iter(odd))
    return (
        f"an odd number of electrons, so taken as doublets: {each}; correct --charges if that is not meant, "
        f'or confirm it with --multiplicities "{name}=2"'
    )


def _pairs(frame: Frame, fragments: Fragments, contacts: Contacts, chosen: NDArray[np.bool_]) -> str:
    """The closest of the chosen pairs, in words."""
    numbers = np.flatnonzero(chosen)
    numbers = numbers[
        np.lexsort((contacts.second[numbers], contacts.first[numbers], contacts.distance[numbers]))
    ]
    return _first([_pair(frame, fragments, contacts, pair) for pair in numbers[:LISTED]], len(numbers))


def _pair(frame: Frame, fragments: Fragments, contacts: Contacts, pair: int) -> str:
    atoms = int(contacts.first[pair]), int(contacts.second[pair])
    one, other = (f"{frame.symbols[atom]} {atom + 1}" for atom in atoms)
    first, second = (int(fragments.owner[atom]) for atom in atoms)
    return (
        f"atoms {one} and {other} ({contacts.distance[pair]:.2f} angstrom; fragments {first + 1}, "
        f"{fragments.formulas[first]}, and {second + 1}, {fragments.formulas[second]})"
    )


def _numbered(numbers: Sequence[int]) -> str:
    first = ", ".join(str(number + 1) for number in numbers[:LISTED])
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return f"{'fragment' if len(numbers) == 1 else 'fragments'} {first}{more}"


def _first(items: Sequence[str], total: int | None = None) -> str:
    total = len(items) if total is None else total
    return "; ".join(items[:LISTED]) + (f"; and {total - LISTED} more" if total > LISTED else "")
