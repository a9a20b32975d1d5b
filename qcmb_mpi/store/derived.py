"""Answers of tasks that are equivalent to others, from the others' answers.

Where a class of equivalent tasks stands, and how one is moved onto another, is the business of
:mod:`qcmb_mpi.expansion.symmetry`; rows and keys are the archive's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.symmetry import Symmetry

if TYPE_CHECKING:
    from qcmb_mpi.store.archive import Results

__all__ = ["derived", "sources"]

MOST_TASKS = 1 << 15  # answers made at once
MOST_FLOATS = 1 << 21  # and floats in them


def derived(results: Results, symmetry: Symmetry, done: NDArray[np.bool_]) -> Iterator[Results]:
    """Answers of all tasks that are equivalent to those in ``results`` and not yet ``done``.

    They took no time, no attempt and nothing beyond the plain algorithm.  Where ``symmetry`` can move
    them, all have derivatives; elsewhere those that an engine gives unasked are left out.

    Yields
    ------
    Results
        Some of them; ``done``, (n_tasks,), may change meanwhile.
    """
    if not symmetry.moves:
        none = np.zeros(len(results.tasks), dtype=np.int64)
        energies = replace(results, gradient_lengths=none, hessian_lengths=none)
        missing = [_missing(symmetry, task, done) for task in results.tasks.tolist()]
        positions = np.repeat(np.arange(len(missing)), [len(some) for some in missing])
        tasks = np.concatenate([np.empty(0, dtype=np.int64), *missing])
        for begin in range(0, len(tasks), MOST_TASKS):
            piece = slice(begin, begin + MOST_TASKS)
            yield _results(energies, positions[piece], tasks[piece], np.empty(0))
        return
    lengths = results.gradient_lengths + results.hessian_lengths
    ends = np.cumsum(lengths)
    for position, task in enumerate(results.tasks.tolist()):
        others = _missing(symmetry, task, done)
        step = max(1, MOST_FLOATS // int(lengths[position]))
        middle = int(ends[position] - results.hessian_lengths[position])
        gradient = results.floats[middle - int(results.gradient_lengths[position]) : middle]
        hessian = results.floats[middle : ends[position]]
        for begin in range(0, len(others), step):
            some = others[begin : begin + step]
            motions = symmetry.motions(task, some)
            floats = [motions.gradients(gradient)] if len(gradient) else []
            floats += [motions.hessians(hessian)] if len(hessian) else []
            yield _results(
                results, np.full(len(some), position), some, np.concatenate(floats, axis=1).reshape(-1)
            )


def _missing(symmetry: Symmetry, task: int, done: NDArray[np.bool_]) -> NDArray[np.int64]:
    members = symmetry.members(task)
    missing: NDArray[np.int64] = members[(members != task) & ~done[members]]
    return missing


def _results(
    results: Results,
    positions: NDArray[np.int64],
    tasks: NDArray[np.int64],
    floats: NDArray[np.float64],
) -> Results:
    """What the answers at some positions are for other tasks."""
    nothing = np.zeros(len(tasks))
    return replace(
        results,
        tasks=tasks,
        energies=results.energies[positions],
        walls=nothing,
        cpus=nothing,
        finished=results.finished[positions],
        attempts=np.zeros(len(tasks), dtype=np.int64),
        gradient_lengths=results.gradient_lengths[positions],
        hessian_lengths=results.hessian_lengths[positions],
        floats=floats,
        notes=(),
        records=(),
    )


def sources(symmetry: Symmetry, done: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each class of which some tasks are done and some are not, the first that is done."""
    open_ = np.zeros(len(done), dtype=bool)
    open_[symmetry.representative[~done]] = True
    known = np.flatnonzero(done & open_[symmetry.representative])
    firsts: NDArray[np.int64] = known[np.unique(symmetry.representative[known], return_index=True)[1]]
    return firsts
