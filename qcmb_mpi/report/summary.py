"""Plan and result as text for a terminal or a log file, and the plan as data.

Only formats; numbers come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qcmb_mpi.expansion.plan import Block, TaskTable
from qcmb_mpi.expansion.plan import plan as make_plan
from qcmb_mpi.expansion.result import headline, statistics
from qcmb_mpi.expansion.weights import Weights, through
from qcmb_mpi.problem import Problem
from qcmb_mpi.report.durations import format_measured
from qcmb_mpi.report.hindrances import hindrances

__all__ = ["plan_as_dict", "plan_text", "result_text", "where_time_went"]

#: Basis functions in a small basis by row of the periodic table: for shares of cost before any engine
#: is asked.
FUNCTIONS = ((2, 5), (10, 14), (18, 18), (36, 30), (54, 40))


def plan_as_dict(problem: Problem) -> dict[str, Any]:
    """The plan as data fit for JSON."""
    table = make_plan(problem.expansion)
    by_nbody: dict[int, int] = {}
    for block in table.blocks:
        by_nbody[block.n_real] = by_nbody.get(block.n_real, 0) + block.size
    return {
        "n_fragments": problem.cluster.n_fragments,
        "n_atoms": problem.cluster.n_atoms,
        "n_tasks": table.n_tasks,
        "tasks_by_nbody": {str(n): by_nbody[n] for n in sorted(by_nbody)},
        "driver": problem.driver,
        "bsse_type": list(problem.expansion.treatments),
        "max_nbody": problem.expansion.max_nbody,
        "blocks": [
            {
                "level": problem.levels[block.level].name,
                "n_real": block.n_real,
                "n_basis": block.n_basis,
                "n_tasks": block.size,
                "serves": _serves(table, number),
                "cost_share": share,
            }
            for number, (block, share) in enumerate(zip(table.blocks, _shares(problem, table), strict=True))
        ],
    }


def plan_text(problem: Problem, *, show_tasks: bool = False) -> str:
    """The plan as a table: tasks by level, body order and basis, what they serve and weigh."""
    table = make_plan(problem.expansion)
    expansion = problem.expansion
    lines = [
        f"{problem.cluster.n_fragments} fragments, {problem.cluster.n_atoms} atoms; {problem.driver}, "
        f"{', '.join(expansion.treatments)} through {expansion.max_nbody}-body: {table.n_tasks:,} tasks"
    ]
    for number, level in enumerate(problem.levels):
        orders = ", ".join(f"{n}-body" for n in expansion.orders[number])
        if number == expansion.supersystem:
            orders = f"{orders}, supersystem".removeprefix(", ")
        model = level.method if level.basis in (None, "") else f"{level.method}/{level.basis}"
        lines.append(f'Level "{level.name}": {level.program} {model} for {orders}')
    lines += ["", f"{'level':<12} {'real':>5} {'basis':>12} {'tasks':>14} {'cost':>7}  weights"]
    weights = through(table)
    shares = _shares(problem, table)
    for number, block in enumerate(table.blocks):
        row = f"{problem.levels[block.level].name[:12]:<12} {block.n_real:>5} {_basis(table, block):>12} "
        lines.append(f"{row}{block.size:>14,} {shares[number]:>7.1%}  {_weights(weights, number)}")
    if show_tasks:
        names = [level.name for level in problem.levels]
        lines += ["", *(table.label(task, names) for task in range(table.n_tasks))]
    return "\n".join(lines)


def result_text(result: Any, *, timings: bool = True) -> str:
    """QCManyBody's tables, the number returned with its error bar, and where the time went."""
    run = statistics(result)
    lines = [(result.stdout or "").rstrip("\n"), "", *headline(result)]
    if not run.get("bits_repeat", True):
        lines.append("Tasks were computed on several threads: another run may differ in the last digits.")
    for note, count in run.get("notes", {}).items():
        lines.append(f"{count} tasks: {note}")
    if timings:
        lines.append(where_time_went(run))
    return "\n".join(lines)


def where_time_went(run: Mapping[str, Any]) -> str:
    """One paragraph on tasks and times, and on what kept more workers from helping."""
    computed, reused = run.get("tasks_computed", 0), run.get("tasks_reused", 0)
    wall, farm, ranks = run["wall_seconds"], run["farm_seconds"], max(1, run["ranks"])
    cached = run.get("tasks_from_cache", 0)
    from_cache = f"{cached:,} from the cache, " if cached else ""
    derived = run.get("tasks_by_symmetry", 0)
    by_symmetry = f"{derived:,} by symmetry, " if derived else ""
    text = (
        f"{computed:,} tasks computed, {by_symmetry}{reused:,} from the checkpoint, {from_cache}"
        f"in {format_measured(wall)}"
    )
    if not computed or not farm:
        return text + "."
    engine, master = run["engine_seconds"], run["master_seconds"]
    total = ranks * farm
    waiting = max(0.0, total - engine - master)
    lines = [
        f"{text} on {ranks} rank{'s' if ranks > 1 else ''}.",
        f"While tasks were computed ({format_measured(farm)}): {engine / total:.1%} of the ranks' time "
        f"in the engine, {master / total:.1%} in the master, {waiting / total:.1%} waiting and in transit.",
        *hindrances(run),
    ]
    return "\n".join(lines)


def _serves(table: TaskTable, number: int) -> list[str]:
    return [
        treatment
        for treatment, sums in through(table).items()
        if any(number in terms for terms in sums.values())
    ]


def _basis(table: TaskTable, block: Block) -> str:
    if block.n_basis == block.n_real:
        return "own"
    return "all" if block.n_basis == table.expansion.n_fragments else f"{block.n_basis}-mer"


def _weights(weights: Mapping[str, Mapping[int, Weights]], number: int) -> str:
    """Weight of a block's tasks in the highest order of each treatment."""
    found = []
    for treatment, sums in weights.items():
        weight = sums[max(sums)].get(number)
        if isinstance(weight, np.ndarray):
            found.append(f"{treatment} {weight.min():+d}..{weight.max():+d}")
        elif weight is not None:
            found.append(f"{treatment} {weight:+d}")
    return ", ".join(found) or "lower orders only"


def _shares(problem: Problem, table: TaskTable) -> list[float]:
    """Rough share of each block in the cost: mean functions cubed times tasks."""
    functions = np.array([_functions(int(number)) for number in problem.cluster.numbers])
    per_fragment = float(functions.sum()) / problem.cluster.n_fragments
    costs = [
        block.size * (per_fragment * (block.n_real + 0.6 * (block.n_basis - block.n_real))) ** 3
        for block in table.blocks
    ]
    total = sum(costs) or 1.0
    return [cost / total for cost in costs]


def _functions(number: int) -> int:
    return next((functions for last, functions in FUNCTIONS if number <= last), 50)
