"""Which tasks are alike: kinds of tasks, counted by their make-up without listing them.

What a task costs depends on what its fragments are, not on which ones they are.  Fragments of equal
size and spin are of one *sort*; tasks of one block that are made of the same sorts of real and of
ghost fragments are of one *kind*.  A block of a million tasks has a handful of kinds, and where no
n-mer is left out their numbers are products of binomials.  Pure arithmetic; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Block, Family, TaskTable
from qcmb_mpi.farm.cost import GHOST

__all__ = ["Kinds", "Sorts", "count_kinds", "draw", "representatives", "sort_fragments"]

MOST_SORTS = 6  # more are taken together: six sorts make 56 kinds of trimers
ALIKE = 1.2  # kinds of one block whose basis functions differ by less are measured as one

Make = tuple[int, ...]  #: how many fragments of each sort


@dataclass(frozen=True, eq=False)
class Sorts:
    """The fragments of a cluster by sort.

    Attributes
    ----------
    of_fragment : (n_fragments,) int64
        Sort of each fragment.
    sizes : (n_levels, n_sorts) float64
        Basis functions of one fragment of each sort.
    atoms : (n_sorts,) float64
        Atoms of one.
    """

    of_fragment: NDArray[np.int64]
    sizes: NDArray[np.float64]
    atoms: NDArray[np.float64]

    @property
    def counts(self) -> Make:
        return tuple(np.bincount(self.of_fragment, minlength=len(self.atoms)).tolist())


def sort_fragments(
    sizes: NDArray[np.float64], offsets: NDArray[np.int64], multiplicities: NDArray[np.int64]
) -> Sorts:
    """The sorts of a cluster's fragments; neighbours in size are taken together where there are many.

    Parameters
    ----------
    sizes : (n_levels, n_fragments)
        Basis functions of each fragment.
    offsets : (n_fragments + 1,)
        Fragment ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``.
    multiplicities : (n_fragments,)
        Spin multiplicity of each.
    """
    marks = np.column_stack([sizes.sum(axis=0), multiplicities, np.diff(offsets), sizes.T])
    different, of_fragment = np.unique(marks, axis=0, return_inverse=True)  # ascending in size
    merged = np.arange(len(different)) * min(len(different), MOST_SORTS) // len(different)
    of_fragment = merged[of_fragment.reshape(-1)]
    counts = np.bincount(of_fragment)
    mean = np.array([np.bincount(of_fragment, row) / counts for row in [*sizes, np.diff(offsets)]])
    return Sorts(of_fragment, mean[:-1], mean[-1])


@dataclass(frozen=True, eq=False)
class Kinds:
    """Kinds of tasks, all arrays of one length.

    Attributes
    ----------
    level, n_real, n_basis : (n,) int64
        Of the block.
    real, ghosts : (n, n_sorts) int64
        How many real and how many ghost fragments of each sort.
    count : (n,) int64
        Tasks of each kind.
    functions : (n,) float64
        Basis functions, those of ghosts counted less, as the farm's own estimate of cost does.
    atoms : (n,) float64
        Atoms, ghosts included.
    """

    level: NDArray[np.int64]
    n_real: NDArray[np.int64]
    n_basis: NDArray[np.int64]
    real: NDArray[np.int64]
    ghosts: NDArray[np.int64]
    count: NDArray[np.int64]
    functions: NDArray[np.float64]
    atoms: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.level)

    @property
    def n_tasks(self) -> int:
        return int(self.count.sum())

    def only(self, wanted: Sequence[int]) -> Kinds:
        """Some of them, by position."""
        return Kinds(**{name: array[list(wanted)] for name, array in vars(self).items()})

    def block(self, kind: int) -> tuple[int, int, int]:
        """Level, number of real and of basis fragments of one kind."""
        return int(self.level[kind]), int(self.n_real[kind]), int(self.n_basis[kind])

    def blocks(self) -> dict[tuple[int, int, int], list[int]]:
        """The kinds of each block, in the order of the task numbers."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for kind in range(len(self)):
            found.setdefault(self.block(kind), []).append(kind)
        return found


def count_kinds(table: TaskTable, sorts: Sorts) -> Kinds:
    """The kinds of all tasks of a plan and how many there are of each."""
    blocks: list[Block] = []
    pairs: list[tuple[Make, Make]] = []
    counts: list[int] = []
    known: dict[int, Mapping[Make, int]] = {}
    for block in table.blocks:
        makes = known.setdefault(id(block.family), _makes(block.family, sorts))
        for (real, ghosts), count in _of_block(block, makes, sorts.counts).items():
            blocks.append(block)
            pairs.append((real, ghosts))
            counts.append(count)
    shape = (len(pairs), len(sorts.atoms))
    level = np.array([block.level for block in blocks], dtype=np.int64)
    reals = np.array([real for real, _ in pairs], dtype=np.int64).reshape(shape)
    others = np.array([ghosts for _, ghosts in pairs], dtype=np.int64).reshape(shape)
    return Kinds(
        level=level,
        n_real=np.array([block.n_real for block in blocks], dtype=np.int64),
        n_basis=np.array([block.n_basis for block in blocks], dtype=np.int64),
        real=reals,
        ghosts=others,
        count=np.array(counts, dtype=np.int64),
        functions=((reals + GHOST * others) * sorts.sizes[level]).sum(axis=1),
        atoms=(reals + others) @ sorts.atoms,
    )


def _of_block(block: Block, makes: Mapping[Make, int], whole: Make) -> dict[tuple[Make, Make], int]:
    """Tasks of a block by the make-up of their real and their ghost fragments."""
    if block.pattern is None:
        ghosted = block.n_basis > block.n_real
        none = (0,) * len(whole)
        return {(make, _less(whole, make) if ghosted else none): count for make, count in makes.items()}
    found: dict[tuple[Make, Make], int] = {}
    for host, count in makes.items():
        for real in _bounded(block.n_real, host):
            key = real, _less(host, real)
            found[key] = found.get(key, 0) + count * _ways(host, real)
    return found


def _makes(family: Family, sorts: Sorts) -> dict[Make, int]:
    """The n-mers of a family by make-up."""
    if family.kept is None:
        counts = sorts.counts
        return {make: _ways(counts, make) for make in _bounded(family.order, counts)}
    codes, counts_of = np.unique(_codes(family, sorts), return_counts=True)
    return {
        _decode(code, family.order, len(sorts.atoms)): count
        for code, count in zip(codes.tolist(), counts_of.tolist(), strict=True)
    }


def _codes(family: Family, sorts: Sorts) -> NDArray[np.int64]:
    """The make-up of each n-mer of a family as one number: its digits are how many there are of each sort."""
    weight = (family.order + 1) ** sorts.of_fragment
    total = np.zeros(family.size, dtype=np.int64)
    for column in family.rows.T:
        total += weight[column]
    return total


def _decode(code: int, order: int, n_sorts: int) -> Make:
    return tuple(code // (order + 1) ** sort % (order + 1) for sort in range(n_sorts))


def _bounded(n: int, most: Sequence[int]) -> Iterator[Make]:
    """All ways to take ``n`` things out of as many as there are of each sort."""
    if not most:
        if n == 0:
            yield ()
        return
    rest = sum(most[1:])
    for first in range(max(0, n - rest), min(n, most[0]) + 1):
        for others in _bounded(n - first, most[1:]):
            yield (first, *others)


def _ways(most: Sequence[int], make: Make) -> int:
    return prod(comb(there, taken) for there, taken in zip(most, make, strict=True))


def _less(whole: Sequence[int], part: Make) -> Make:
    return tuple(there - taken for there, taken in zip(whole, part, strict=True))


def representatives(kinds: Kinds, among: Sequence[int]) -> list[int]:
    """Which kinds to measure, in this order: the cheapest of every level, then the others, cheapest first.

    Of kinds in one block that are nearly equal in size, the one with the most tasks stands for all.

    Parameters
    ----------
    among
        Positions of the kinds to choose from.
    """
    chosen: list[int] = []
    wanted = set(among)
    for members in kinds.blocks().values():
        alike: list[int] = []
        for kind in sorted(wanted.intersection(members), key=lambda kind: float(kinds.functions[kind])):
            if alike and kinds.functions[kind] > ALIKE * kinds.functions[alike[0]]:
                chosen.append(max(alike, key=lambda kind: int(kinds.count[kind])))
                alike = []
            alike.append(kind)
        if alike:
            chosen.append(max(alike, key=lambda kind: int(kinds.count[kind])))
    chosen.sort(key=lambda kind: float(kinds.functions[kind]))
    first = {int(kinds.level[kind]): kind for kind in reversed(chosen)}
    return sorted(chosen, key=lambda kind: kind not in first.values())


def draw(
    kinds: Kinds, kind: int, n: int, table: TaskTable, sorts: Sorts, random: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Real and basis fragments of ``n`` tasks of one kind, drawn from the plan that it was counted in."""
    block = table.blocks[table.index[kinds.block(kind)]]
    real = kinds.real[kind]
    host = real + kinds.ghosts[kind] if block.pattern is not None else real
    if block.family.kept is None:
        where = [np.flatnonzero(sorts.of_fragment == sort) for sort in range(len(host))]
        rows = [
            np.concatenate([random.choice(w, k, replace=False) for w, k in zip(where, host, strict=True)])
            for _ in range(n)
        ]
    else:
        code = int(((block.family.order + 1) ** np.arange(len(host)) * host).sum())
        fitting = np.flatnonzero(_codes(block.family, sorts) == code)
        rows = [block.family.rows[row].astype(np.int64) for row in random.choice(fitting, n)]
    whole = np.arange(len(sorts.of_fragment))
    drawn = []
    for row in rows:
        taken = [random.permutation(row[sorts.of_fragment[row] == sort])[:k] for sort, k in enumerate(real)]
        basis = row if block.n_basis in (block.n_real, len(row)) else whole
        drawn.append((np.sort(np.concatenate(taken)), np.sort(basis)))
    return drawn
