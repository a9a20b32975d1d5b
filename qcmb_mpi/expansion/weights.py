"""Integer weights of every task in every many-body quantity.

A quantity is the data "through n bodies" of one BSSE treatment; interaction data and the
contribution of one body order are differences of two.  With E(S;B) the energy of the real
fragments S in the basis of B, and F the family of n-mers kept:

``nocp``
    sum over S of c(S) E(S;S),  c(S) = sum over T in F, T >= S, |T| <= n of (-1)**(|T|-|S|).
    Without screening c(S) = (-1)**(n-|S|) C(N-|S|-1, n-|S|), and 1 for |S| = n = N.
``cp``
    the same with E(S; all), less its 1-body part, plus the monomers in their own basis.
``vmfc``
    every n-mer T contributes the sum over S <= T of (-1)**(|T|-|S|) E(S;T).

References: S. F. Boys, F. Bernardi, Mol. Phys. 19, 553 (1970) for ``cp``; P. Valiron, I. Mayer,
Chem. Phys. Lett. 275, 46 (1997) for ``vmfc``; R. M. Richard, K. U. Lao, J. M. Herbert, J. Chem.
Phys. 141, 014108 (2014) for the closed form and why its cancellation matters.
"""

from __future__ import annotations

from itertools import combinations as subsets
from math import comb

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.plan import Expansion, TaskTable

__all__ = ["Weights", "codes", "coefficients", "combine", "through"]

#: Weight of each task, by block: one for the whole block, or shape (block.size,).
Weights = dict[int, int | NDArray[np.int64]]


def through(table: TaskTable) -> dict[str, dict[int, Weights]]:
    """Weights of the data through n bodies.

    Parameters
    ----------
    table
        The planned tasks.

    Returns
    -------
    dict
        ``weights[treatment][n]`` for every body order n that the expansion gives; with a
        supersystem level also n = N.  Where ``cp`` has no monomers in their own basis its numbers
        are interaction data (the 1-body entry has no tasks).
    """
    expansion = table.expansion
    n_fragments, top = expansion.n_fragments, expansion.max_nbody
    level_of = {n: level for level, orders in enumerate(expansion.orders) for n in orders}
    result: dict[str, dict[int, Weights]] = {}
    for treatment in expansion.treatments:
        sums: dict[int, Weights] = {}
        if expansion.supersystem_ie_only:
            sums[1] = _body(table, treatment, level_of[1], 1)
            sums[n_fragments] = _body(table, treatment, level_of[1], n_fragments)
        else:
            running: Weights = {}
            for n in range(1, top + 1):
                upper = _body(table, treatment, level_of[n], n)
                lower = _body(table, treatment, level_of[n], n - 1) if n > 1 else {}
                running = combine(running, upper, minus=lower)
                sums[n] = running
        if expansion.supersystem is not None:
            # adds nothing where the expansion itself goes up to the whole cluster
            whole: Weights = {table.index[expansion.supersystem, n_fragments, n_fragments]: 1}
            sums[n_fragments] = combine(
                sums[top], whole, minus=_body(table, "nocp", expansion.supersystem, top)
            )
        result[treatment] = sums
    return result


def combine(*plus: Weights, minus: Weights | None = None) -> Weights:
    """Sum of weights, less ``minus``; tasks of weight zero stay out where a whole block has it."""
    total: Weights = {}
    for sign, terms in [(1, terms) for terms in plus] + [(-1, minus or {})]:
        for block, weight in terms.items():
            total[block] = total.get(block, 0) + sign * weight
    return {block: weight for block, weight in total.items() if np.any(weight)}


def coefficients(expansion: Expansion, n: int) -> dict[int, int | NDArray[np.int64]]:
    """c(S) of the expansion through n bodies, by size of S: one number, or one per kept n-mer."""
    n_fragments = expansion.n_fragments
    if n == n_fragments and (expansion.supersystem_ie_only or expansion.families is None):
        return {n: 1}
    if expansion.families is None:
        return {k: (-1) ** (n - k) * comb(n_fragments - k - 1, n - k) for k in range(1, n + 1)}
    nmers = {k: expansion.nmers[k].rows for k in range(1, n + 1)}
    return {
        k: sum((-1) ** (t - k) * _hosts(nmers[k], nmers[t], n_fragments) for t in range(k, n + 1))
        for k in range(1, n + 1)
    }


def _hosts(small: NDArray[np.integer], large: NDArray[np.integer], n_fragments: int) -> NDArray[np.int64]:
    """How many of the ``large`` n-mers contain each of the ``small`` ones, shape (len(small),)."""
    k, t = small.shape[1], large.shape[1]
    known = codes(small, n_fragments)
    counts = np.zeros(len(small), dtype=np.int64)
    for columns in subsets(range(t), k):
        position = np.searchsorted(known, codes(large[:, columns], n_fragments))
        counts += np.bincount(position, minlength=len(small))
    return counts


def codes(rows: NDArray[np.integer], n_fragments: int) -> NDArray[np.object_] | NDArray[np.int64]:
    """One number per n-mer, ascending in lexical order."""
    exact = n_fragments ** rows.shape[1] < 2**63
    code = np.zeros(len(rows), dtype=np.int64 if exact else object)
    for column in rows.T:
        code = code * n_fragments + column
    return code


def _body(table: TaskTable, treatment: str, level: int, n: int) -> Weights:
    """Data through n bodies at one level alone, as far as that level's own tasks give it."""
    expansion = table.expansion
    n_fragments = expansion.n_fragments
    if treatment == "vmfc":
        return {
            table.index[level, k, t]: (-1) ** (t - k)
            for t in expansion.orders[level]
            if t <= n and expansion.nmers[t].size
            for k in range(1, t + 1)
        }
    if treatment == "nocp":
        return _on_blocks(table, level, coefficients(expansion, n), own_basis=True)
    monomers: Weights = {table.index[level, 1, 1]: 1} if expansion.has_monomers(level) else {}
    if n == 1:
        return monomers
    ghosted: Weights = {table.index[level, 1, n_fragments]: 1}
    return combine(
        _on_blocks(table, level, coefficients(expansion, n), own_basis=False), monomers, minus=ghosted
    )


def _on_blocks(
    table: TaskTable, level: int, by_size: dict[int, int | NDArray[np.int64]], *, own_basis: bool
) -> Weights:
    n_fragments = table.expansion.n_fragments
    weights: Weights = {}
    for k, weight in by_size.items():
        block = table.index.get((level, k, k if own_basis else n_fragments))
        if block is not None and np.size(weight):  # else no n-mer of that size was kept
            weights[block] = weight
    return weights
