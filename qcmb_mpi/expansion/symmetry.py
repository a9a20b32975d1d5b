"""Which tasks are equivalent: a rigid motion brings the atoms of one onto those of the other.

Rotations, translations, reflections and inversions leave an energy as it is.  Tasks of one block are
equivalent if a motion brings every atom of the one to within :data:`TOLERANCE` of an atom of the other that
is the same: element, real or ghost, and, where it is real, charge and multiplicity of its fragment; atoms of
one fragment go to atoms of one fragment.  Each pair of tasks that is called equivalent has been tried.

Pure numpy on arrays of tasks, some ten microseconds each.  Hashes of what two
equivalent tasks have in common say which pairs to try.  They are made from rounded numbers, so a pair may be
overlooked, and is then computed twice, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.assemble import coordinates
from qcmb_mpi.expansion.ordering import canonical_order, distances
from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.rigid import fit, moved_gradients, moved_hessians

__all__ = ["TOLERANCE", "Motions", "Symmetry", "find_symmetry"]

TOLERANCE = 1e-6
"""Bohr that an atom may lie beside its place after the motion.

An energy then differs by no more than this times the sum of the forces' lengths: by 1e-7 Eh where they are
0.1 Eh/bohr together.  Many-body sums magnify that, since each monomer is part of thousands of n-mers and what
cancels between them does so only if all have the same coordinates.  So it is small; coordinates with eight
decimals are thirty times closer.  :attr:`Symmetry.farthest` says how close they are.
"""

ELEMENTS = 1 << 19  # pairs of atoms handled at once
NUMBERS = 4  # rounded numbers in a hash
WIDTH = 50 * TOLERANCE  # to which they are rounded: far more than what equivalent tasks differ by
SHIFTS = (0.0, 0.5)  # widths by which they are shifted, so that pairs beside an edge are seen the second time
TRIES = 6  # tasks with one hash that the others are compared with: without a limit, all pairs

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motions:
    """How one task is brought onto some others.

    Attributes
    ----------
    atoms : (n,) int64
        Atoms of the one, by position in ascending order.
    onto : (m, n) int64
        The atom of each other that it goes to, likewise.
    rotations : (m, 3, 3) float64
    """

    atoms: Integers
    onto: Integers
    rotations: Floats

    def gradients(self, gradient: Floats) -> Floats:
        """The others' gradients, (m, 3 * n), from that of the one, (3 * n,)."""
        m, n = self.onto.shape
        moved = np.empty((m, n, 3))
        ordered = gradient.reshape(n, 3)[self.atoms]
        moved[np.arange(m)[:, None], self.onto] = moved_gradients(self.rotations, ordered)
        return moved.reshape(m, -1)

    def hessians(self, hessian: Floats) -> Floats:
        """The others' Hessians, (m, 9 * n * n), from that of the one, (9 * n * n,)."""
        m, n = self.onto.shape
        back = np.argsort(self.onto, axis=1)
        ordered = hessian.reshape(n, 3, n, 3)[self.atoms][:, :, self.atoms]
        moved = moved_hessians(self.rotations, ordered)
        rows = np.arange(m)[:, None, None]
        # advanced indices apart from each other put their axes first
        there = moved[rows, back[:, :, None], :, back[:, None, :], :]
        flat: Floats = there.transpose(0, 1, 3, 2, 4).reshape(m, -1)
        return flat


@dataclass(frozen=True, eq=False)
class _Part:
    """The tasks of a block that have the same number of atoms.

    Attributes
    ----------
    rows : (k,) int64
        Their places in the block, ascending.
    orders : (k, n) int
        The canonical order of the atoms of each.
    """

    block: Block
    rows: Integers
    orders: NDArray[np.integer]


class _Atoms:
    """Atoms of tasks, as arrays.

    Parameters
    ----------
    numbers, geometry, offsets, charges, multiplicities
        As in :class:`qcmb_mpi.problem.Cluster`.
    """

    def __init__(
        self,
        numbers: Integers,
        geometry: Floats,
        offsets: Integers,
        charges: Floats,
        multiplicities: Integers,
    ):
        self.offsets = offsets
        self.geometry = geometry
        self.fragment = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        ghosts = np.column_stack([numbers, np.full((len(numbers), 2), np.inf)])
        reals = np.column_stack([numbers, charges[self.fragment], multiplicities[self.fragment]])
        kinds = np.unique(np.concatenate([ghosts, reals]), axis=0, return_inverse=True)[1].reshape(2, -1)
        self._as_ghost, self._as_real = kinds

    def of(self, block: Block, rows: Integers) -> tuple[Floats, Integers, Integers]:
        """Places (m, n, 3), types (m, n) and fragments (m, n) of tasks with the same number of atoms."""
        ((_, addresses),) = coordinates(block.basis(rows), self.offsets)
        atoms = addresses[:, ::3] // 3
        fragments = self.fragment[atoms]
        types = self._as_real[atoms]
        if block.n_basis > block.n_real:
            real = (fragments[:, :, None] == block.real(rows)[:, None, :]).any(axis=2)
            types = np.where(real, types, self._as_ghost[atoms])
        return self.geometry[atoms], types, fragments

    def in_order(self, part: _Part, which: Integers) -> tuple[Floats, Integers, Integers]:
        """The same in canonical order; fragments are numbered by the first of their atoms."""
        places, types, fragments = self.of(part.block, part.rows[which])
        order = part.orders[which].astype(np.int64)
        fragments = np.take_along_axis(fragments, order, axis=1)
        return (
            np.take_along_axis(places, order[:, :, None], axis=1),
            np.take_along_axis(types, order, axis=1),
            (fragments[:, :, None] == fragments[:, None, :]).argmax(axis=2),
        )


class Symmetry:
    """The classes of equivalent tasks.

    Attributes
    ----------
    representative : (n_tasks,) int64
        The first task of each task's class.
    farthest
        Bohr that an atom lies beside its place at most, of all tasks that are called equivalent.
    moves
        Whether motions can be asked for.
    """

    def __init__(self, representative: Integers, farthest: float, atoms: _Atoms, parts: list[_Part]):
        self.representative = representative
        self.farthest = farthest
        self.moves = bool(parts)
        self._atoms = atoms
        self._parts = parts
        others = np.flatnonzero(representative != np.arange(len(representative)))
        self._others = others[np.argsort(representative[others], kind="stable")]
        self._firsts = representative[self._others]

    @property
    def n_classes(self) -> int:
        return len(self.representative) - len(self._others)

    @property
    def follows(self) -> NDArray[np.bool_]:
        """Which tasks are not the first of their class, (n_tasks,)."""
        others: NDArray[np.bool_] = self.representative != np.arange(len(self.representative))
        return others

    def members(self, task: int) -> Integers:
        """All tasks that are equivalent to one, with it, ascending."""
        first = int(self.representative[task])
        begin, end = np.searchsorted(self._firsts, [first, first + 1])
        return np.concatenate([[first], self._others[begin:end]])

    def motions(self, task: int, others: Integers) -> Motions:
        """How a task is brought onto others of its class."""
        for part in self._parts:
            if part.block.tasks.start <= task < part.block.tasks.stop:
                at = np.searchsorted(part.rows, np.concatenate([[task], others]) - part.block.start)
                if at[0] < len(part.rows) and part.rows[at[0]] == task - part.block.start:
                    break
        places = self._atoms.in_order(part, at)[0]
        orders = part.orders[at].astype(np.int64)
        return Motions(orders[0], orders[1:], fit(places[:1], places[1:])[0])


def find_symmetry(
    table: TaskTable,
    *,
    numbers: Integers,
    geometry: Floats,
    offsets: Integers,
    charges: Floats,
    multiplicities: Integers,
    keep_orders: bool,
    pause: Callable[[], None] = lambda: None,
) -> Symmetry:
    """Find the classes of equivalent tasks.

    Parameters
    ----------
    table
        The tasks.
    numbers, geometry, offsets, charges, multiplicities
        As in :class:`qcmb_mpi.problem.Cluster`.
    keep_orders
        Whether motions will be asked for: a byte or two for each atom of each task.
    pause
        Called now and then.
    """
    atoms = _Atoms(numbers, geometry, offsets, charges, multiplicities)
    representative = np.arange(table.n_tasks)
    farthest = 0.0
    kept = []
    for block in table.blocks:
        for part in _parts(block, atoms, pause):
            first, away = _classes(part, atoms, pause)
            farthest = max(farthest, away)
            representative[block.start + part.rows] = block.start + part.rows[first]
            if keep_orders:
                kept.append(part)
    return Symmetry(representative, farthest, atoms, kept)


def _parts(block: Block, atoms: _Atoms, pause: Callable[[], None]) -> Iterator[_Part]:
    """The tasks of a block, those with the same number of atoms together, with their orders."""
    sizes = np.diff(atoms.offsets)
    totals = np.empty(block.size, dtype=np.int32)
    for begin, end in _pieces(block.size, max(1, ELEMENTS // block.n_basis)):
        totals[begin:end] = sizes[block.basis(slice(begin, end))].sum(axis=1)
    for n in np.unique(totals).tolist():
        rows = np.flatnonzero(totals == n)
        orders = np.empty((len(rows), n), dtype=np.uint8 if n < 256 else np.uint32)
        for begin, end in _pieces(len(rows), max(1, ELEMENTS // n**2)):
            pause()
            orders[begin:end] = canonical_order(*atoms.of(block, rows[begin:end]), TOLERANCE)
        yield _Part(block, rows, orders)


def _pieces(n: int, step: int) -> Iterator[tuple[int, int]]:
    return ((begin, min(begin + step, n)) for begin in range(0, n, step))


def _classes(part: _Part, atoms: _Atoms, pause: Callable[[], None]) -> tuple[Integers, float]:
    """For each task of a part the first one of its class, as positions in ``part.rows``, (k,).

    Returned with it is the largest distance [bohr] that is left between an atom and its place.
    """
    first = np.arange(len(part.rows))
    left = np.zeros(len(part.rows))
    for shift in SHIFTS:
        alone = np.flatnonzero(first == np.arange(len(first)))
        hashes = _hashes(part, alone, shift, atoms, pause)
        order = np.argsort(hashes, kind="stable")
        hashes, rest = hashes[order], alone[order]
        for _ in range(TRIES):
            begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
            counts = np.diff(np.append(begins, len(rest)))
            leader = np.repeat(rest[begins], counts)
            open_ = leader != rest
            if not open_.any():
                break
            hashes, rest, leader = hashes[open_], rest[open_], leader[open_]
            away = _away(part, leader, rest, atoms, pause)
            alike = away < TOLERANCE
            first[rest[alike]], left[rest[alike]] = leader[alike], away[alike]
            hashes, rest = hashes[~alike], rest[~alike]
            if not len(rest):
                break
    # what followed a task that has come to follow another one is close to that, too, or stays alone
    chained = np.flatnonzero(first[first] != first)
    away = _away(part, first[first[chained]], chained, atoms, pause)
    alike = away < TOLERANCE
    left[chained] = np.where(alike, away, 0.0)
    first[chained] = np.where(alike, first[first[chained]], chained)
    return first, float(left.max(initial=0.0))


def _hashes(
    part: _Part, which: Integers, shift: float, atoms: _Atoms, pause: Callable[[], None]
) -> NDArray[np.uint64]:
    """Equal for tasks that are equivalent, but for those whose numbers lie beside an edge."""
    n = part.orders.shape[1]
    random = np.random.default_rng(n)
    directions = np.triu(random.standard_normal((NUMBERS, n, n)), 1).reshape(NUMBERS, -1).T
    directions /= np.maximum(np.sqrt((directions**2).sum(axis=0)), 1e-300)
    factors = random.integers(1, 1 << 62, NUMBERS + 2 * n, dtype=np.int64) * 2 + 1
    edges = random.random(NUMBERS) + shift
    hashes = np.empty(len(which), dtype=np.uint64)
    for begin, end in _pieces(len(which), max(1, ELEMENTS // n**2)):
        pause()
        places, types, fragments = atoms.in_order(part, which[begin:end])
        numbers = distances(places).reshape(len(places), -1) @ directions
        rounded = np.floor(numbers / WIDTH + edges).astype(np.int64)
        words = np.concatenate([rounded, types, fragments], axis=1)
        hashes[begin:end] = (words * factors).sum(axis=1).view(np.uint64)
    return hashes


def _away(
    part: _Part, leaders: Integers, others: Integers, atoms: _Atoms, pause: Callable[[], None]
) -> Floats:
    """How far atoms are from their places if each leader is moved onto the other task beside it.

    Infinite where the atoms are not the same.
    """
    away = np.empty(len(others))
    for begin, end in _pieces(len(others), max(1, ELEMENTS // part.orders.shape[1] ** 2)):
        pause()
        places, types, fragments = atoms.in_order(part, leaders[begin:end])
        onto, types_there, fragments_there = atoms.in_order(part, others[begin:end])
        same = (types == types_there).all(axis=1) & (fragments == fragments_there).all(axis=1)
        away[begin:end] = np.where(same, fit(places, onto)[1], np.inf)
    return away
