"""The expansion by treatment and body order, as far as it is complete.

The sums are those of the result, by the same arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.assemble import missing
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.expansion.properties import partial
from qcmb_mpi.expansion.weights import through
from qcmb_mpi.outcome import energy_sums
from qcmb_mpi.problem import Problem

__all__ = ["BodyOrder", "body_orders"]


@dataclass(frozen=True)
class BodyOrder:
    """Energies of one treatment through one body order.

    Attributes
    ----------
    missing
        Tasks that the sum through this order lacks.
    total, interaction, contribution
        Total and interaction energy through this order, contribution of this order alone (of the
        monomers, their energy) [Eh]; None as long as a task is missing, or where the input defines none.
    """

    treatment: str
    nbody: int
    missing: int
    total: float | None
    interaction: float | None
    contribution: float | None


def body_orders(
    problem: Problem, table: TaskTable, done: NDArray[np.bool_], energies: NDArray[np.float64]
) -> tuple[BodyOrder, ...]:
    """The body orders of every treatment.

    Parameters
    ----------
    problem, table
        What is wanted, and its tasks.
    done : (n_tasks,) bool
    energies : (n_tasks,) float64
        In Eh.
    """
    weights = through(table)
    lacking = {
        treatment: {n: missing(table, terms, done) for n, terms in sums.items()}
        for treatment, sums in weights.items()
    }
    complete = {treatment: [n for n, lack in each.items() if not lack] for treatment, each in lacking.items()}
    values = partial(
        problem.expansion,
        {"energy": energy_sums(table, weights, done, energies)},
        complete,
        order=problem.cluster.order,
        embedding=problem.cluster.embedding is not None,
    )
    found = []
    for treatment, each in lacking.items():
        stem = f"{treatment}_corrected"
        for n, lack in sorted(each.items()):
            total = values.get(f"{stem}_total_energy_through_{n}_body")
            found.append(
                BodyOrder(
                    treatment=treatment,
                    nbody=n,
                    missing=lack,
                    total=total,
                    interaction=values.get(f"{stem}_interaction_energy_through_{n}_body"),
                    contribution=total if n == 1 else values.get(f"{stem}_{n}_body_contribution_to_energy"),
                )
            )
    return tuple(found)
