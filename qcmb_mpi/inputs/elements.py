"""What the periodic table knows of an atom: its symbol, its size, whether it binds its neighbours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["HALOGENS", "NOBLE_GASES", "atomic_number", "composition", "element", "is_metal", "radii"]

NOBLE_GASES = frozenset(("He", "Ne", "Ar", "Kr", "Xe", "Rn"))
HALOGENS = frozenset(("F", "Cl", "Br", "I", "At"))
_OTHER_NONMETALS = frozenset(("H", "B", "C", "N", "O", "Si", "P", "S", "Ge", "As", "Se", "Te"))


@lru_cache(maxsize=1024)
def element(word: str) -> str | None:
    """The symbol of the element that a word in any case names, or None."""
    from qcelemental import periodictable

    title = word.strip().title()
    return title if title in periodictable.E and periodictable.to_Z(title) > 0 else None


@lru_cache(maxsize=256)
def atomic_number(symbol: str) -> int:
    """The charge of an element's nucleus."""
    from qcelemental import periodictable

    return int(periodictable.to_Z(symbol))


def is_metal(symbol: str) -> bool:
    """Whether the element is a metal (the half-metals on the line count as non-metals, but not Sb and Po)."""
    return symbol not in NOBLE_GASES | HALOGENS | _OTHER_NONMETALS


def radii(symbols: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covalent and van der Waals radii of elements in angstrom; 0 where none is known."""
    from qcelemental import covalentradii, vdwradii

    return (
        np.array([covalentradii.get(symbol, units="angstrom", missing=0.0) for symbol in symbols]),
        np.array([vdwradii.get(symbol, units="angstrom", missing=0.0) for symbol in symbols]),
    )


def composition(formula: str) -> Counter[str] | None:
    """The atoms of a formula in any order, such as ``NH4``; None if it is none."""
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", formula):
        return None
    atoms: Counter[str] = Counter()
    for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        if element(symbol) is None:
            return None
        atoms[symbol] += int(count or 1)
    return atoms
