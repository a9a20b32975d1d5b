"""The sections of a page that tell how its numbers came about: times, failures, levels, references."""

from __future__ import annotations

import json
import time
from html import escape

from qcmb_mpi.report.citations import references
from qcmb_mpi.report.durations import format_measured
from qcmb_mpi.report.gathered import Gathered
from qcmb_mpi.report.pieces import plot, table

__all__ = ["cite_section", "failures_section", "made_section", "times_section"]

SHOWN = 40  # rows of a list that may be long


def times_section(gathered: Gathered) -> str:
    rows = [
        [
            group.level,
            str(group.n_real),
            group.basis,
            f"{group.n_done:,}",
            f"{group.n_tasks:,}",
            f"{group.walls[0]:,.2f}",
            f"{group.walls[1]:.4f}",
            f"{group.walls[2]:.4f}",
        ]
        for group in gathered.groups
    ]
    header = [
        "level",
        "real fragments",
        "in the basis of",
        "done",
        "tasks",
        "time / s",
        "mean / s",
        "longest / s",
    ]
    slow = [[task.label, f"{task.seconds:.3f}", str(task.rank), task.host] for task in gathered.slowest]
    times = ""
    if gathered.seats:
        begin, end = float(gathered.begun.min()), float(gathered.finished.max())
        spent = format_measured(float((gathered.finished - gathered.begun).sum()))
        times = (
            f"<p>First task begun {_moment(begin)}, last one finished {_moment(end)} (UTC); "
            f"{spent} of computing in between.</p>"
        )
    return (
        f"{times}{plot('timings', gathered)}{table(header, rows, 'tntnnnnn')}{plot('timeline', gathered)}"
        f"<h3>Slowest tasks</h3>{table(['task', 'time / s', 'rank', 'host'], slow, 'tnnt')}"
    )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def failures_section(gathered: Gathered) -> str:
    failures = gathered.failures
    if not failures:
        return "<p>No attempt has failed.</p>"
    gone = [failure for failure in failures if not failure.recovered]
    # those that matter first, the latest of them on top
    shown = sorted(failures, key=lambda f: (f.recovered, -f.finished))[:SHOWN]
    rows = [
        [
            failure.label or "a task that the present input does not want",
            failure.kind,
            "later done" if failure.recovered else "not done",
            str(failure.attempt + 1),
            f"{failure.rank} on {failure.host}",
            _words(failure.message),
        ]
        for failure in shown
    ]
    more = f" The first {SHOWN} are listed." if len(failures) > SHOWN else ""
    header = ["task", "kind", "state", "attempt", "rank", "message"]
    marks = "".join("-" if failure.recovered else "o" for failure in shown)
    return (
        f"<p>{len(failures):,} attempts have failed; {len(failures) - len(gone):,} of them belong to tasks "
        f"that were done later.{more}</p>{table(header, rows, 'tttntt', marks)}"
    )


def _words(message: str) -> str:
    """First and last line of a message: what it is, and how a traceback ends."""
    lines = message.strip().splitlines()
    return " … ".join([lines[0], *lines[1:][-1:]])[:400] if lines else ""


def made_section(gathered: Gathered) -> str:
    material = gathered.material
    problem, expansion = material.problem, material.problem.expansion
    levels = [
        [
            level.name,
            level.program,
            level.method,
            level.basis or "–",
            ", ".join(f"{n}-body" for n in expansion.orders[number])
            + (" supersystem" if number == expansion.supersystem else ""),
            json.dumps(dict(level.keywords), default=repr) if level.keywords else "program's defaults",
        ]
        for number, level in enumerate(problem.levels)
    ]
    kept = [
        f"{len(family):,} of the {n}-mers"
        for n, family in sorted((expansion.families or {}).items())
        if n > 1
    ]
    notes = [f"{count:,} tasks: {note}" for note, count in material.archive.notes.items()]
    facts = [
        ["driver", problem.driver],
        ["BSSE treatments", ", ".join(expansion.treatments) + f" ({expansion.treatments[0]} is returned)"],
        ["returned", "total data" if expansion.return_total_data else "interaction data"],
        ["body orders", "1 and all only" if expansion.supersystem_ie_only else f"1 to {expansion.max_nbody}"],
        ["screening", f"keeps {', '.join(kept)}" if kept else "none: all n-mers"],
        ["embedding", "none" if problem.cluster.embedding is None else "point charges"],
        ["arithmetic", "weights are integers; the sum is exact and rounded once to a float64"],
        ["beyond the plain algorithm", "; ".join(notes) or "nothing"],
        ["checkpoint begun", material.snapshot.created],
        [
            "versions",
            ", ".join(f"{name} {number}" for name, number in sorted(material.snapshot.versions.items())),
        ],
        ["damage", "; ".join(material.snapshot.warnings) or "none found"],
    ]
    header = ["level", "program", "method", "basis", "serves", "keywords"]
    return table(header, levels, "tttttt") + "<br>" + table(["", ""], facts, "tt")


def cite_section(gathered: Gathered) -> str:
    problem = gathered.material.problem
    found, others = references(problem.levels, problem.expansion.treatments)
    items = "".join(f"<li><b>{escape(r.what)}</b>: {escape(r.text)}. doi:{escape(r.doi)}</li>" for r in found)
    also = f"<p>And as their own documentation asks: {escape(', '.join(others))}.</p>" if others else ""
    version = escape(gathered.material.snapshot.versions.get("qcmb_mpi", ""))
    return (
        f"<ol class=refs>{items}</ol>{also}"
        '<p class="note">Basis sets, functionals and other methods have references of their own. '
        f"Name the versions given above, and qcmb_mpi {version}.</p>"
    )
