"""Whether a job may compute equivalent tasks once, and which those are."""

from __future__ import annotations

from collections.abc import Callable

from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.expansion.symmetry import Symmetry, find_symmetry
from qcmb_mpi.logs import log
from qcmb_mpi.problem import Problem

__all__ = ["different", "symmetry_of"]

CLOSE = 1e-7  # bohr within which coordinates with eight decimals are


def symmetry_of(problem: Problem, table: TaskTable, pause: Callable[[], None]) -> Symmetry | None:
    """The classes of equivalent tasks; None, and a warning, where answers cannot be moved.

    Parameters
    ----------
    pause
        Called now and then; it may take minutes where there are millions of tasks.
    """
    cluster = problem.cluster
    reason = ""
    if cluster.embedding is not None:
        reason = "every task feels the point charges of all the others"
    elif problem.keep_records:
        reason = "this input asks for the full record of every task"
    if reason:
        log.warning("symmetry is not used: %s, so every task is computed", reason)
        return None
    symmetry = find_symmetry(
        table,
        numbers=cluster.numbers,
        geometry=cluster.geometry,
        offsets=cluster.offsets,
        charges=cluster.charges,
        multiplicities=cluster.multiplicities,
        keep_orders=problem.driver != "energy",
        pause=pause,
    )
    if symmetry.farthest > CLOSE:
        log.warning(
            "symmetry: atoms of tasks that are taken as equivalent lie up to %.1g bohr beside their places, "
            "which many-body sums magnify; give coordinates with eight decimals or more",
            symmetry.farthest,
        )
    return symmetry


def different(n_tasks: int, n_classes: int, derived: int) -> str:
    """What symmetry saves, as one line; ``derived`` answers are there already."""
    answers = "1 answer follows" if derived == 1 else f"{derived:,} answers follow"
    known = f"; {answers} from what is there" if derived else ""
    return f"{n_tasks:,} tasks, {n_classes:,} of them different by symmetry{known}"
