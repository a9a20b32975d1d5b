"""Which single-point tasks an expansion needs, as arrays.

A task is (level, real fragments, basis fragments).  Tasks come in blocks of one level, one number
of real and one number of basis fragments; a block is a family of n-mers and never one object per
task, so ten million tasks are planned in about a second.  Task numbers run through the blocks.

The list is QCManyBody's own (``qcmanybody.builder.build_nbody_compute_list``), each task once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations as subsets
from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Expansion", "Family", "TaskTable", "combinations", "plan"]


def combinations(n: int, k: int) -> NDArray[np.integer]:
    """All k-subsets of ``range(n)``, shape (C(n, k), k), in lexical order."""
    dtype = np.int16 if n <= np.iinfo(np.int16).max else np.int32
    rows = np.arange(n - k + 1, dtype=dtype)[:, None]
    for column in range(1, k):
        # each row goes on with every larger fragment that leaves room for the remaining columns
        last = n - k + column
        counts = (last - rows[:, -1]).astype(np.int64)
        ends = np.cumsum(counts)
        offset = np.repeat(ends - counts - rows[:, -1] - 1, counts)
        longer = np.empty((int(counts.sum()), column + 1), dtype=dtype)
        for done in range(column):
            longer[:, done] = np.repeat(rows[:, done], counts)
        longer[:, column] = np.arange(len(offset)) - offset
        rows = longer
    return rows


@dataclass(frozen=True, eq=False)
class Family:
    """The n-mers of one size that an expansion keeps; enumerated when first looked at."""

    n_fragments: int
    order: int
    kept: NDArray[np.integer] | None = None

    @property
    def size(self) -> int:
        return comb(self.n_fragments, self.order) if self.kept is None else len(self.kept)

    @cached_property
    def rows(self) -> NDArray[np.integer]:
        """Fragments of each n-mer, shape (size, order)."""
        return combinations(self.n_fragments, self.order) if self.kept is None else self.kept


@dataclass(frozen=True, eq=False)
class Expansion:
    """What is wanted: which n-mers, at which level, with which BSSE treatments.

    Attributes
    ----------
    n_fragments
        Number of fragments N.
    treatments
        ``nocp``, ``cp``, ``vmfc``: those the user named in order (the first is the one returned),
        then those that come with them at no cost.
    orders
        For each level the body orders it supplies, ascending; empty for a level that serves the
        supersystem only.
    supersystem
        Index of the level that computes all higher orders in one task on the whole cluster.
    return_total_data
        Total rather than interaction data wanted: monomers in their own basis are needed.
    supersystem_ie_only
        Only 1-body and N-body.
    families
        For each order k >= 2 the kept k-mers, shape (m, k), rows ascending and in lexical order;
        closed under subsets.  None keeps all.
    """

    n_fragments: int
    treatments: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    supersystem: int | None = None
    return_total_data: bool = False
    supersystem_ie_only: bool = False
    families: Mapping[int, NDArray[np.integer]] | None = None

    @property
    def max_nbody(self) -> int:
        return max(order for orders in self.orders for order in orders)

    def has_monomers(self, level: int) -> bool:
        """Whether the 1-body sum in the monomers' own basis is known at this level.

        It anchors the total data of ``cp``; without it ``cp`` gives interaction data only.
        """
        with_nocp = "nocp" in self.treatments and not self.supersystem_ie_only
        return 1 in self.orders[level] and (self.return_total_data or with_nocp)

    @cached_property
    def nmers(self) -> dict[int, Family]:
        """The kept n-mers by order, 1 to N."""
        kept = self.families or {}
        orders = range(1, self.n_fragments + 1)
        return {k: Family(self.n_fragments, k, kept.get(k) if k > 1 else None) for k in orders}


@dataclass(frozen=True, eq=False)
class Block:
    """All tasks of one level with ``n_real`` real fragments in the basis of ``n_basis``.

    Attributes
    ----------
    level, n_real, n_basis
        What these tasks have in common.
    family
        The n-mers in whose basis they are computed (``n_basis`` of them, or, where the basis is
        the whole cluster, the real n-mers).
    pattern
        Which members of its n-mer are real, one row per task of that n-mer; None where all are.
    start
        Number of the block's first task.
    """

    level: int
    n_real: int
    n_basis: int
    family: Family
    pattern: NDArray[np.int64] | None
    start: int

    @property
    def size(self) -> int:
        return self.family.size * (1 if self.pattern is None else len(self.pattern))

    @property
    def tasks(self) -> slice:
        return slice(self.start, self.start + self.size)

    def real(self, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.integer]:
        """Real fragments of the tasks ``start + rows``, shape (n, n_real)."""
        if self.pattern is None:
            return self.family.rows[rows]
        host, which = self._hosts(rows)
        return np.take_along_axis(self.family.rows[host], self.pattern[which], axis=1)

    def basis(self, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.integer]:
        """Basis fragments of the tasks ``start + rows``, shape (n, n_basis)."""
        if self.pattern is not None:
            return self.family.rows[self._hosts(rows)[0]]
        if self.n_basis == self.n_real:
            return self.family.rows[rows]
        n = len(range(*rows.indices(self.size))) if isinstance(rows, slice) else len(rows)
        return np.broadcast_to(np.arange(self.n_basis), (n, self.n_basis))

    def _hosts(self, rows: NDArray[np.int64] | slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        assert self.pattern is not None
        index = np.arange(*rows.indices(self.size)) if isinstance(rows, slice) else rows
        host, which = np.divmod(index, len(self.pattern))
        return host, which


@dataclass(frozen=True, eq=False)
class TaskTable:
    """All tasks of an expansion.

    Attributes
    ----------
    expansion
        What they are for.
    blocks
        In the order of the task numbers.
    """

    expansion: Expansion
    blocks: tuple[Block, ...]

    @cached_property
    def n_tasks(self) -> int:
        return sum(block.size for block in self.blocks)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First task number of each block, shape (n_blocks,)."""
        return np.array([block.start for block in self.blocks], dtype=np.int64)

    @cached_property
    def index(self) -> dict[tuple[int, int, int], int]:
        """Block number by (level, n_real, n_basis)."""
        return {(b.level, b.n_real, b.n_basis): i for i, b in enumerate(self.blocks)}

    def block_of(self, task: int) -> Block:
        return self.blocks[int(np.searchsorted(self.starts, task, side="right")) - 1]

    def split(self, tasks: NDArray[np.int64]) -> Iterator[tuple[Block, NDArray[np.int64]]]:
        """The blocks that ``tasks`` fall into, each with the positions of its tasks in ``tasks``."""
        numbers = np.searchsorted(self.starts, tasks, side="right") - 1
        for number in np.flatnonzero(np.bincount(numbers)).tolist():
            yield self.blocks[number], np.flatnonzero(numbers == number)

    def members(self, task: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Level, real and basis fragments (0-based) of one task."""
        block = self.block_of(task)
        row = np.array([task - block.start])
        return block.level, tuple(block.real(row)[0].tolist()), tuple(block.basis(row)[0].tolist())

    def find(self, level: int, real: Sequence[int], basis: Sequence[int]) -> int | None:
        """Number of the task with these real and basis fragments (0-based, ascending), if there is one."""
        number = self.index.get((level, len(real), len(basis)))
        if number is None:
            return None
        block = self.blocks[number]
        rows = np.flatnonzero((block.real() == np.array(real)).all(axis=1))
        rows = rows[(block.basis(rows) == np.array(basis)).all(axis=1)]
        return block.start + int(rows[0]) if len(rows) else None

    def label(self, task: int, level_names: Sequence[str]) -> str:
        """QCManyBody's label of one task, ``["level", [real], [basis]]`` with 1-based fragments."""
        level, real, basis = self.members(task)
        return json.dumps([level_names[level], [f + 1 for f in real], [f + 1 for f in basis]])


def plan(expansion: Expansion) -> TaskTable:
    """The tasks that an expansion needs.

    Parameters
    ----------
    expansion
        What is wanted.

    Returns
    -------
    TaskTable
        Each task once, however many treatments it serves.  Blocks without tasks are left out.
    """
    blocks: list[Block] = []
    start = 0
    for level, n_real, n_basis in _needed(expansion):
        own_or_whole = n_basis in (n_real, expansion.n_fragments)
        family = expansion.nmers[n_real if own_or_whole else n_basis]
        if level == expansion.supersystem and n_real == expansion.n_fragments:
            family = Family(expansion.n_fragments, n_real)  # the supersystem is never screened out
        pattern = None if own_or_whole else np.array(list(subsets(range(n_basis), n_real)), dtype=np.int64)
        block = Block(level, n_real, n_basis, family, pattern, start)
        if block.size:
            blocks.append(block)
            start += block.size
    return TaskTable(expansion, tuple(blocks))


def _needed(expansion: Expansion) -> list[tuple[int, int, int]]:
    """(level, n_real, n_basis) of every block, sorted."""
    n_fragments = expansion.n_fragments
    needed: set[tuple[int, int, int]] = set()
    for level, orders in enumerate(expansion.orders):
        if orders:
            sizes = [1, n_fragments] if expansion.supersystem_ie_only else range(1, orders[-1] + 1)
            if "nocp" in expansion.treatments:
                needed.update((level, k, k) for k in sizes)
            if "cp" in expansion.treatments and orders[-1] > 1:
                needed.update((level, k, n_fragments) for k in sizes)
            if "vmfc" in expansion.treatments:
                kept = [n for n in orders if expansion.nmers[n].size]
                needed.update((level, k, n) for n in kept for k in range(1, n + 1))
            if expansion.has_monomers(level):
                needed.add((level, 1, 1))
        if level == expansion.supersystem:
            needed.update((level, k, k) for k in range(1, expansion.max_nbody + 1))
            needed.add((level, n_fragments, n_fragments))
    return sorted(needed)
