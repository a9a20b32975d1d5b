"""The problem a user hands in, as plain arrays: what every other part of the program works on.

Nothing here reads files, knows a file format or computes.  Atoms are ordered fragment by fragment
("internal order"); ``Cluster.order`` leads back to the order the user gave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Expansion

__all__ = ["Cluster", "Driver", "Level", "Problem", "formula"]

Driver = Literal["energy", "gradient", "hessian"]


@dataclass(frozen=True, eq=False)
class Cluster:
    """A molecular cluster cut into fragments.

    Attributes
    ----------
    symbols
        Element symbols in internal order, for example ``("O", "H", "H")``.
    numbers : (n_atoms,) int64
        Atomic numbers.
    geometry : (n_atoms, 3) float64
        Positions in bohr.
    offsets : (n_fragments + 1,) int64
        Fragment ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``.
    charges : (n_fragments,) float64
        Total charge of each fragment in units of the elementary charge.
    multiplicities : (n_fragments,) int64
        Spin multiplicity (2S + 1) of each fragment.
    order : (n_atoms,) int64
        Position of each atom in the user's molecule.
    embedding : (n_atoms,) float64, optional
        Point charge on each atom where its fragment is neither real nor ghost.
    """

    symbols: tuple[str, ...]
    numbers: NDArray[np.int64]
    geometry: NDArray[np.float64]
    offsets: NDArray[np.int64]
    charges: NDArray[np.float64]
    multiplicities: NDArray[np.int64]
    order: NDArray[np.int64]
    embedding: NDArray[np.float64] | None = None

    @property
    def n_atoms(self) -> int:
        return len(self.symbols)

    @property
    def n_fragments(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class Level:
    """A model chemistry.

    Attributes
    ----------
    name
        The user's name for it; ``(auto)`` where only one was given.
    program
        Lower-case name of the engine or QCEngine program.
    method, basis
        As the user wrote them; ``basis`` is None for methods that bring their own.
    keywords
        Handed to the program.
    protocols, extras
        QCSchema's, for programs behind QCEngine.
    """

    name: str
    program: str
    method: str
    basis: str | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    protocols: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that defines a many-body result.

    Attributes
    ----------
    cluster
        The molecules.
    levels
        Model chemistries, ordered by the lowest body order they supply, the one that serves only
        the supersystem last.
    driver
        Derivative wanted from every task.
    expansion
        Which n-mers, at which level, with which BSSE treatments.
    model
        QCManyBody's own ``ManyBodyInput`` (v1 or v2) of this problem: echoed in the result.
    keep_records
        Whether the user asked for the full record of every task.
    """

    cluster: Cluster
    levels: tuple[Level, ...]
    driver: Driver
    expansion: Expansion
    model: Any
    keep_records: bool = False


def formula(symbols: Sequence[str]) -> str:
    """Formula in Hill's order (carbon, hydrogen, then by the alphabet): ``H2O``, ``CH4O``, ``H4N``."""
    counts = Counter(symbols)
    first = ("C", "H") if "C" in counts else ()
    elements = [*(e for e in first if e in counts), *sorted(e for e in counts if e not in first)]
    return "".join(f"{element}{counts[element] if counts[element] > 1 else ''}" for element in elements)
