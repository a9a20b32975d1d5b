"""What a plan will cost, as text and as data.

Only formats; the numbers were measured and worked out elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qcmb_mpi.farm.prediction import Bill, Wall
from qcmb_mpi.report.durations import format_measured

__all__ = ["BlockCost", "Forecast", "Screening", "Treatment", "forecast_as_dict", "forecast_text"]

HOUR = 3600.0
MOST_FAILURES = 5
BUSY = 0.05  # share of waiting that is worth a word


@dataclass(frozen=True)
class BlockCost:
    """One line of the plan with its cost.

    Attributes
    ----------
    level, n_real, n_basis, n_tasks
        Which tasks, and how many.
    seconds
        Of all of them together.
    longest
        Of the longest.
    measured
        Whether all its kinds were; else some are extrapolated.
    """

    level: str
    n_real: int
    n_basis: int
    n_tasks: int
    seconds: float
    longest: float
    measured: bool


@dataclass(frozen=True)
class Treatment:
    """The plan with one BSSE treatment alone; ``bill`` is None where ``why`` it cannot be computed."""

    name: str
    bill: Bill | None
    chosen: bool
    why: str = ""


@dataclass(frozen=True)
class Screening:
    """The plan with some of its n-mers.

    Attributes
    ----------
    name
        Which ones.
    cutoff
        Those whose pairs are so close [angstrom]; None where that is not what makes the choice.
    bill
        What they cost.
    """

    name: str
    cutoff: float | None
    bill: Bill


@dataclass(frozen=True)
class Forecast:
    """What a plan will cost.

    Attributes
    ----------
    host, threads
        Where tasks were measured, and on how many threads each.
    seconds, limit
        How long that took, and how long it might have taken.
    waited
        Share of the tasks' time in which other programs had their core; all times are without it.
    n_measured, n_kinds
        Kinds of tasks that were measured, of those there are.
    blocks
        The plan's lines.
    bill
        Of the whole.
    walls
        How long on some numbers of ranks.
    task_memory, rank_memory
        Most memory of a runner, and of the rank itself [bytes].
    checkpoint
        Size of the checkpoint [bytes].
    treatments, screenings
        What other plans for the same cluster would cost.
    failures
        Tasks that could not be computed, a line each.
    """

    host: str
    threads: int
    seconds: float
    limit: float
    waited: float
    n_measured: int
    n_kinds: int
    blocks: tuple[BlockCost, ...]
    bill: Bill
    walls: tuple[Wall, ...]
    task_memory: int
    rank_memory: int
    checkpoint: int
    treatments: tuple[Treatment, ...]
    screenings: tuple[Screening, ...]
    failures: tuple[str, ...]


def forecast_as_dict(forecast: Forecast) -> dict[str, Any]:
    """The same as data fit for JSON."""
    threads = forecast.threads

    def of(bill: Bill) -> dict[str, Any]:
        return {
            "n_tasks": bill.n_tasks,
            "core_hours": bill.seconds * threads / HOUR,
            "extrapolated_share": bill.extrapolated,
        }

    return {
        "host": forecast.host,
        "threads_per_rank": threads,
        "probe_seconds": forecast.seconds,
        "probe_limit": forecast.limit,
        "waited_for_core": forecast.waited,
        "kinds_measured": forecast.n_measured,
        "kinds": forecast.n_kinds,
        **of(forecast.bill),
        "task_seconds": forecast.bill.seconds,
        "longest_task": forecast.bill.longest,
        "ranks": [
            {"ranks": wall.ranks, "wall_seconds": wall.seconds, "busy": wall.busy} for wall in forecast.walls
        ],
        "memory_per_rank": forecast.task_memory + forecast.rank_memory,
        "memory_of_task": forecast.task_memory,
        "checkpoint_bytes": forecast.checkpoint,
        "blocks": [
            {
                "level": block.level,
                "n_real": block.n_real,
                "n_basis": block.n_basis,
                "n_tasks": block.n_tasks,
                "seconds_per_task": block.seconds / block.n_tasks,
                "longest_task": block.longest,
                "core_hours": block.seconds * threads / HOUR,
                "measured": block.measured,
            }
            for block in forecast.blocks
        ],
        "treatments": [
            {"bsse_type": one.name, "chosen": one.chosen, "why_not": one.why or None}
            | ({} if one.bill is None else of(one.bill))
            for one in forecast.treatments
        ],
        "screenings": [
            {"name": one.name, "cutoff_angstrom": one.cutoff, **of(one.bill)} for one in forecast.screenings
        ],
        "failures": list(forecast.failures),
    }


def forecast_text(forecast: Forecast, n_fragments: int) -> str:
    """The same as tables for a terminal or a log file."""
    parts = [
        _measured(forecast, n_fragments),
        _ranks(forecast),
        _needs(forecast),
        _treatments(forecast),
        _screenings(forecast),
        _failures(forecast),
    ]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _measured(forecast: Forecast, n_fragments: int) -> Iterable[str]:
    threads = f"{forecast.threads} thread{'s' if forecast.threads > 1 else ''}"
    yield (
        f"Measured on {forecast.host}, one task at a time on {threads}, in {forecast.seconds:.1f} s "
        f"(at most {forecast.limit:g} s): {forecast.n_measured} of {forecast.n_kinds} kinds of tasks"
    )
    if forecast.waited > BUSY:
        yield (
            f"Other programs kept this machine busy: tasks waited {forecast.waited:.0%} of the time, "
            "which no figure includes"
        )
    heads = f"{'level':<12} {'real':>5} {'basis':>10} {'tasks':>14}"
    yield f"{heads} {'s/task':>10} {'core-hours':>11} {'share':>7}"
    for block in forecast.blocks:
        basis = f"{block.n_basis}-mer"
        if block.n_basis == block.n_real:
            basis = "own"
        elif block.n_basis == n_fragments:
            basis = "all"
        share = block.seconds / forecast.bill.seconds if forecast.bill.seconds else 0.0
        hours = _hours(block.seconds, forecast)
        yield (
            f"{block.level[:12]:<12} {block.n_real:>5} {basis:>10} {block.n_tasks:>14,} "
            f"{block.seconds / block.n_tasks:>10.3g} {hours:>11} {share:>7.1%}"
            f"{'' if block.measured else '  extrapolated'}"
        )
    total = f"Together {_hours(forecast.bill.seconds, forecast)} core-hours"
    if forecast.bill.extrapolated:
        total += (
            f", {forecast.bill.extrapolated:.0%} of it extrapolated from smaller tasks "
            "(--probe-seconds measures longer)"
        )
    yield total


def _ranks(forecast: Forecast) -> Iterable[str]:
    yield f"{'ranks':>7} {'cores':>8} {'wall time':>14} {'busy':>7}"
    for wall in forecast.walls:
        cores = wall.ranks * forecast.threads
        yield f"{wall.ranks:>7,} {cores:>8,} {format_measured(wall.seconds):>14} {wall.busy:>7.1%}"
    bill = forecast.bill
    if bill.longest >= bill.handing_out:
        floor = f"The longest task takes {format_measured(bill.longest)}"
    else:
        floor = f"To hand out so many tasks takes the master {format_measured(bill.handing_out)}"
    yield "From the first task to the last answer, with ranks as fast as this machine."
    yield f"{floor}: more than about {bill.useful_ranks:,} ranks gain nothing."


def _needs(forecast: Forecast) -> Iterable[str]:
    tried = "" if not forecast.bill.extrapolated else "; larger tasks, not tried here, may need more"
    yield (
        f"Memory per rank: {_bytes(forecast.task_memory + forecast.rank_memory)}, of which "
        f"{_bytes(forecast.task_memory)} for the tasks measured{tried}"
    )
    yield f"Checkpoint: about {_bytes(forecast.checkpoint)}"


def _treatments(forecast: Forecast) -> Iterable[str]:
    if not forecast.treatments:
        return
    yield f"{'BSSE treatment':<24} {'tasks':>14} {'core-hours':>11} {'to nocp':>8}"
    base = forecast.treatments[0].bill
    for one in forecast.treatments:
        if one.bill is None or base is None:
            yield f"  {one.name:<22} not possible: {one.why}"
            continue
        mark = "  this input" if one.chosen else ""
        guess = "  extrapolated" if one.bill.extrapolated > 0.5 else ""
        ratio = one.bill.seconds / base.seconds if base.seconds else 1.0
        yield (
            f"  {one.name:<22} {one.bill.n_tasks:>14,} {_hours(one.bill.seconds, forecast):>11} "
            f"{ratio:>7.2f}x{mark}{guess}"
        )


def _screenings(forecast: Forecast) -> Iterable[str]:
    if not forecast.screenings:
        return
    whole = forecast.screenings[0].bill
    yield f"{'Screening by distance':<24} {'tasks':>14} {'core-hours':>11} {'left':>8}"
    for one in forecast.screenings:
        left = one.bill.seconds / whole.seconds if whole.seconds else 1.0
        hours = _hours(one.bill.seconds, forecast)
        yield f"  {one.name:<22} {one.bill.n_tasks:>14,} {hours:>11} {left:>8.1%}"


def _failures(forecast: Forecast) -> Iterable[str]:
    if not forecast.failures:
        return
    yield "Tasks that could not be computed, so that their time is a guess:"
    for line in forecast.failures[:MOST_FAILURES]:
        yield f"  {line}"
    if len(forecast.failures) > MOST_FAILURES:
        yield f"  and {len(forecast.failures) - MOST_FAILURES} more"


def _hours(seconds: float, forecast: Forecast) -> str:
    hours = seconds * forecast.threads / HOUR
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
