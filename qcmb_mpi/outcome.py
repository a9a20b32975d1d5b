"""What came out of a run: sums over the archive, QCManyBody's result, or what is complete of it.

Joins the archive to the arithmetic; knows nothing of how the answers were computed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qcmb_mpi
from qcmb_mpi.expansion.assemble import Assembly, error_growth, hessian_elements, ready
from qcmb_mpi.expansion.exact import Exact, rounded
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.expansion.properties import Sums, partial
from qcmb_mpi.expansion.result import build
from qcmb_mpi.expansion.weights import Weights, combine, through
from qcmb_mpi.problem import Problem
from qcmb_mpi.store.archive import Archive

__all__ = [
    "MOST_CLUSTERS",
    "EnergySoFar",
    "Outcome",
    "assemble",
    "complete",
    "components",
    "energy_sums",
    "partial_result",
    "result",
]

MOST_CLUSTERS = 100_000  # tasks above which the result leaves out the properties of each
MOST_BYTES = 256 * 1024**2  # bytes of padded derivatives above which it does
ELEMENTS = 1 << 20  # Hessian elements that are addressed at once


@dataclass(frozen=True, eq=False)
class Outcome:
    """Sums of a run, as far as its answers go.

    Attributes
    ----------
    sums
        Property to treatment to body order to exact numbers.
    weights
        Of the tasks in each of them.
    """

    sums: Sums
    weights: Mapping[str, Mapping[int, Weights]]


def assemble(problem: Problem, table: TaskTable, archive: Archive) -> Outcome:
    """Sum up all answers that are there."""
    weights = through(table)
    sums: dict[str, Any] = {"energy": energy_sums(table, weights, archive.done, archive.energies)}
    if problem.driver != "energy":
        sums |= _derivatives(problem, table, archive, weights)
    return Outcome(sums, weights)


def energy_sums(
    table: TaskTable,
    weights: Mapping[str, Mapping[int, Weights]],
    done: NDArray[np.bool_],
    energies: NDArray[np.float64],
) -> dict[str, dict[int, Exact]]:
    """The energies of all tasks that are done, ``(n_tasks,)`` in Eh, summed up with some weights."""
    assembly = Assembly(table, weights)
    for block in table.blocks:
        tasks = block.start + np.flatnonzero(done[block.tasks])
        assembly.add(tasks, energies[tasks])
    return assembly.exact()


class EnergySoFar:
    """The energy through the highest body order that is complete, while a job runs.

    Calling it gives the energy [Eh] of the first treatment, None at first, and what it is.
    """

    def __init__(self, table: TaskTable, archive: Archive):
        self._table = table
        self._archive = archive
        self._treatment = table.expansion.treatments[0]
        sums = dict(sorted(through(table)[self._treatment].items()))
        self._what = self._treatment if sums.get(1) else f"{self._treatment} interaction"
        self._sums = {n: terms for n, terms in sums.items() if terms}
        self._best: tuple[float | None, str] = (None, "")

    def __call__(self) -> tuple[float | None, str]:
        while self._sums:
            n, terms = next(iter(self._sums.items()))
            if not ready(self._table, terms, self._archive.done):
                break
            del self._sums[n]
            wanted = {self._treatment: {n: terms}}
            sums = energy_sums(self._table, wanted, self._archive.done, self._archive.energies)
            energy = float(rounded(sums[self._treatment][n])[0])
            self._best = energy, f"{self._what} through {n}-body"
        return self._best


def _derivatives(
    problem: Problem, table: TaskTable, archive: Archive, weights: Mapping[str, Mapping[int, Weights]]
) -> dict[str, Any]:
    size = 3 * problem.cluster.n_atoms
    gradient = Assembly(table, weights, size)
    hessian = Assembly(table, weights, size * size) if problem.driver == "hessian" else None
    with_gradient = True
    for block in table.blocks:
        for tasks, addresses, gradients, hessians in archive.derivatives(block):
            if gradients.shape[1]:
                gradient.add(tasks, gradients, addresses)
            else:
                with_gradient = False
            if hessian is not None:
                step = max(1, ELEMENTS // hessians.shape[1])
                for begin in range(0, len(tasks), step):
                    part = slice(begin, begin + step)
                    hessian.add(tasks[part], hessians[part], hessian_elements(addresses[part], size))
    sums = {"gradient": gradient.exact()} if with_gradient else {}
    if hessian is not None:
        sums["hessian"] = hessian.exact()
    return sums


def complete(table: TaskTable, archive: Archive, outcome: Outcome) -> dict[str, list[int]]:
    """For each treatment the body orders through which all tasks are done."""
    return {
        treatment: [n for n, terms in by_order.items() if ready(table, terms, archive.done)]
        for treatment, by_order in outcome.weights.items()
    }


def partial_result(problem: Problem, table: TaskTable, archive: Archive, outcome: Outcome) -> dict[str, Any]:
    """Properties of the body orders that are complete; no total is invented."""
    return partial(
        problem.expansion,
        outcome.sums,
        complete(table, archive, outcome),
        order=problem.cluster.order,
        embedding=problem.cluster.embedding is not None,
    )


def result(
    problem: Problem,
    table: TaskTable,
    archive: Archive,
    outcome: Outcome,
    statistics: Mapping[str, Any],
) -> Any:
    """QCManyBody's ``ManyBodyResult`` of a run whose tasks are all done."""
    statistics = dict(statistics)
    components: dict[str, Any] = {}
    records: dict[str, Any] = {}
    floats = {"energy": 0, "gradient": 3, "hessian": 9}[problem.driver]
    n_bytes = 8 * table.n_tasks * problem.cluster.n_atoms ** min(floats // 3, 2) * max(floats, 1)
    if table.n_tasks <= MOST_CLUSTERS and n_bytes <= MOST_BYTES:
        components = _components(problem, table, archive)
    else:
        statistics["cluster_properties"] = f"left out: {table.n_tasks} tasks; the checkpoint holds them"
    if problem.keep_records:
        records = _records(problem, table, archive)
    return build(
        problem.model,
        problem.expansion,
        [level.name for level in problem.levels],
        outcome.sums,
        order=problem.cluster.order,
        n_tasks=table.n_tasks,
        version=qcmb_mpi.__version__,
        embedding=problem.cluster.embedding is not None,
        statistics=statistics,
        component_properties=components,
        component_results=records,
    )


def _records(problem: Problem, table: TaskTable, archive: Archive) -> dict[str, Any]:
    """Full record of every task, by label, in the input's version of the schema."""
    from qcelemental.models.v2 import AtomicResult

    names = [level.name for level in problem.levels]
    records: dict[str, Any] = {}
    for task, content in archive.records().items():
        record = json.loads(zlib.decompress(content))
        if problem.model.schema_version == 1:  # engines write version 2
            record = AtomicResult(**record).convert_v(1)
        records[table.label(task, names)] = record
    return records


def _components(problem: Problem, table: TaskTable, archive: Archive) -> dict[str, Any]:
    """Energy and padded derivatives of every task, by label, in the order of the tasks."""
    names = [level.name for level in problem.levels]
    found: dict[str, Any] = dict.fromkeys(table.label(task, names) for task in range(table.n_tasks))
    found.update(components(problem, table, archive))
    return found


def components(
    problem: Problem, table: TaskTable, archive: Archive
) -> Iterator[tuple[str, dict[str, float | NDArray[np.float64]]]]:
    """Energy and padded derivatives of the tasks that are done, one by one.

    Yields
    ------
    label, properties
        ``calcinfo_natom``, ``return_energy`` [Eh], ``return_gradient`` [Eh/bohr, (n_atoms, 3)] and
        ``return_hessian`` [Eh/bohr^2, (3 n_atoms, 3 n_atoms)], in the user's order of atoms and of the
        whole cluster: zero where the task has no atom.
    """
    names = [level.name for level in problem.levels]
    n_atoms = problem.cluster.n_atoms
    users = (3 * problem.cluster.order[:, None] + np.arange(3)).reshape(-1)
    for block in table.blocks:
        if problem.driver == "energy":
            for task in (block.start + np.flatnonzero(archive.done[block.tasks])).tolist():
                yield table.label(task, names), _component(archive, task, n_atoms)
            continue
        for tasks, addresses, gradients, hessians in archive.derivatives(block):
            for position, task in enumerate(tasks.tolist()):
                where = users[addresses[position]]
                entry = _component(archive, task, n_atoms)
                if gradients.shape[1]:
                    padded = np.zeros(3 * n_atoms)
                    padded[where] = gradients[position]
                    entry["return_gradient"] = padded.reshape(n_atoms, 3)
                if hessians.shape[1]:
                    square: NDArray[np.float64] = np.zeros((3 * n_atoms, 3 * n_atoms))
                    square[np.ix_(where, where)] = hessians[position].reshape(len(where), -1)
                    entry["return_hessian"] = square
                yield table.label(task, names), entry


def _component(archive: Archive, task: int, n_atoms: int) -> dict[str, Any]:
    return {"calcinfo_natom": n_atoms, "return_energy": float(archive.energies[task])}


def expected_error(
    problem: Problem,
    table: TaskTable,
    outcome: Outcome,
    energy_errors: tuple[float, ...],
    representative: NDArray[np.int64] | None = None,
) -> float:
    """Expected error [Eh] of the energy returned, if errors of tasks are independent that were computed.

    The root of the summed squares of weight times the engine's error of one energy; tasks with the same
    ``representative``, (n_tasks,), have one error together.
    """
    treatment = problem.expansion.treatments[0]
    sums = outcome.weights[treatment]
    terms = sums[max(sums)]
    if not problem.expansion.return_total_data:
        terms = combine(terms, minus=sums[1])
    total = 0.0
    for level, error in enumerate(energy_errors):
        own = {number: weight for number, weight in terms.items() if table.blocks[number].level == level}
        total += (error * error_growth(table, own, representative)) ** 2
    return float(total**0.5)
