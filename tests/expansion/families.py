"""What an expansion is by its definition: plain enumeration over sets, one integer per task.

A task is (level, real fragments, basis fragments), each set a sorted tuple.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from qcmb_mpi.expansion.plan import Expansion, TaskTable
from qcmb_mpi.expansion.weights import Weights

Nmer = tuple[int, ...]
Task = tuple[int, Nmer, Nmer]


def subsets(nmer: Iterable[int]) -> list[Nmer]:
    """Every subset but the empty one."""
    members = tuple(nmer)
    return [subset for k in range(1, len(members) + 1) for subset in combinations(members, k)]


def kept_nmers(expansion: Expansion, largest: int) -> list[Nmer]:
    """The family F up to a size."""
    nmers: list[Nmer] = []
    for k in range(1, largest + 1):
        if k == 1 or expansion.families is None:
            nmers += combinations(range(expansion.n_fragments), k)
        else:
            nmers += [tuple(row) for row in expansion.families[k].tolist()]
    return nmers


def one_level(expansion: Expansion, treatment: str, level: int, n: int) -> Counter[Task]:
    """Weights through n bodies at one level; ``cp`` without the monomers that anchor its total data."""
    everything = tuple(range(expansion.n_fragments))
    weights: Counter[Task] = Counter()
    for nmer in kept_nmers(expansion, n):
        for real in subsets(nmer):
            basis = {"nocp": real, "cp": everything, "vmfc": nmer}[treatment]
            weights[level, real, basis] += (-1) ** (len(nmer) - len(real))
    if treatment == "cp":
        for i in everything:
            weights[level, (i,), everything] -= 1
    return weights


def through_by_definition(expansion: Expansion, treatment: str, n: int) -> dict[Task, int]:
    """Weights of the data through n bodies; n = N includes the supersystem level."""
    everything = tuple(range(expansion.n_fragments))
    level_of = {k: level for level, orders in enumerate(expansion.orders) for k in orders}
    weights: Counter[Task] = Counter()
    for k in range(1, min(n, expansion.max_nbody) + 1):
        level = level_of[k]
        if treatment == "cp" and k == 1:
            if expansion.has_monomers(level):
                weights.update({(level, (i,), (i,)): 1 for i in everything})
            continue
        weights.update(one_level(expansion, treatment, level, k))
        weights.subtract(one_level(expansion, treatment, level, k - 1))
    if expansion.supersystem is not None and n == expansion.n_fragments:
        weights[expansion.supersystem, everything, everything] += 1
        weights.subtract(one_level(expansion, "nocp", expansion.supersystem, expansion.max_nbody))
    return {task: weight for task, weight in weights.items() if weight}


def by_task(table: TaskTable, terms: Weights) -> dict[Task, int]:
    """Our weights in the same form."""
    weights = {}
    for number, weight in terms.items():
        block = table.blocks[number]
        each = np.broadcast_to(np.asarray(weight), (block.size,))
        for row in np.flatnonzero(each):
            weights[table.members(block.start + int(row))] = int(each[row])
    return weights


LEVELS = [
    lambda top: ((tuple(range(1, top + 1)),), False),
    lambda top: (((1,), tuple(range(2, top + 1))) if top > 1 else ((1,),), False),
    lambda top: ((tuple(range(1, top)), (top,)) if top > 1 else ((1,),), False),
    lambda top: ((tuple(range(1, top + 1)), ()), True),
    lambda top: (((1,), tuple(range(2, top + 1)), ()) if top > 1 else ((1,), ()), True),
]


@st.composite
def expansions(
    draw: st.DrawFn, largest: int = 6, treatments: tuple[str, ...] = ("nocp", "cp", "vmfc")
) -> Expansion:
    """Expansions of up to ``largest`` fragments, about half of them screened."""
    n_fragments = draw(st.integers(1, largest))
    top = draw(st.integers(1, min(n_fragments, 4)))
    chosen = draw(st.lists(st.sampled_from(treatments), min_size=1, max_size=3, unique=True))
    orders, has_supersystem = draw(st.sampled_from(LEVELS))(top)
    families = None
    if draw(st.booleans()):
        every = [nmer for nmer in subsets(range(n_fragments)) if len(nmer) <= top]
        maximal = draw(st.lists(st.sampled_from(every), max_size=6, unique=True))
        kept = {subset for nmer in maximal for subset in subsets(nmer)}
        families = {
            k: np.array(sorted(nmer for nmer in kept if len(nmer) == k), dtype=np.int16).reshape(-1, k)
            for k in range(2, top + 1)
        }
    return Expansion(
        n_fragments,
        tuple(chosen),
        orders,
        len(orders) - 1 if has_supersystem else None,
        draw(st.booleans()),
        families=families,
    )
