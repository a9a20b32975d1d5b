"""The report as one page: text, tables and plots, readable without a network.

Only words and tables are made here; numbers come from ``gathered.py``, plots from ``plots.py``, and the
frame with its style is ``page.html``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

import qcmb_mpi
from qcmb_mpi.problem import Level, formula
from qcmb_mpi.report.citations import references
from qcmb_mpi.report.gathered import BodyOrder, Gathered, Series, unfinished
from qcmb_mpi.report.plots import FIGURES, have_matplotlib, svg
from qcmb_mpi.report.progress import format_duration

__all__ = ["page"]

SHOWN = 40  # rows of a list that may be long
FRAGMENTS = 60  # fragments listed one by one


def page(gathered: Gathered) -> str:
    """The whole page."""
    material = gathered.material
    problem = material.problem
    cluster = problem.cluster
    sections = {
        "cluster": ("The cluster", _cluster(gathered)),
        "expansion": ("The expansion by body order", _expansion(gathered)),
        "increments": ("Increments of single n-mers", _increments(gathered)),
        "times": ("Times", _times(gathered)),
        "failures": ("Failures", _failures(gathered)),
        "made": ("How the number was made", _made(gathered)),
        "cite": ("What to cite", _cite(gathered)),
    }
    text = files("qcmb_mpi.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(text).substitute(
        title=escape(f"{formula(cluster.symbols)}: many-body expansion of {cluster.n_fragments} fragments"),
        subtitle=escape(
            f"{', '.join(map(_model, problem.levels))}; {', '.join(problem.expansion.treatments)} through "
            f"{problem.expansion.max_nbody}-body; {problem.driver}"
        ),
        partial=_partial(gathered),
        cards=_cards(gathered),
        contents=" ".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items()),
        sections="\n".join(
            f'<section id="{key}"><h2>{title}</h2>\n{content}</section>'
            for key, (title, content) in sections.items()
        ),
        footer=escape(
            f"Made by qcmb_mpi {qcmb_mpi.__version__} from {material.snapshot.path.name} on "
            f"{time.strftime('%Y-%m-%d %H:%M %Z')}."
        ),
    )


# --- pieces -----------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numeric: str, open_rows: str = "") -> str:
    """A table; ``numeric`` has an ``n`` for each column of numbers, ``open_rows`` an ``o`` for marked rows."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if kind == 'n' else ''}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, numeric, strict=True)
        )

    body = "\n".join(
        f"<tr{' class=open' if open_rows[i : i + 1] == 'o' else ''}>{line(row, 'td')}</tr>"
        for i, row in enumerate(rows)
    )
    return f'<div class="wide"><table><thead><tr>{line(header, "th")}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _plot(name: str, gathered: Gathered) -> str:
    draw, caption = FIGURES[name]
    if not have_matplotlib():
        return ""
    picture = svg(draw, gathered)
    if not picture:
        return ""
    return (
        f'<figure role="img" aria-label="{escape(caption)}">{picture}'
        f"<figcaption>{escape(caption)}.</figcaption></figure>"
    )


def _model(level: Level) -> str:
    return f"{level.method}/{level.basis}" if level.basis else level.method


def _nmer(series: Series, place: int) -> str:
    return "-".join(str(int(fragment) + 1) for fragment in series.increments.nmers[place])


def _number(value: float | None, factor: float = 1.0, digits: int = 8) -> str:
    return "–" if value is None else f"{value * factor:,.{digits}f}".replace("-", "−")


# --- sections ---------------------------------------------------------------------------------


def _partial(gathered: Gathered) -> str:
    """What is missing, if anything is."""
    if gathered.complete:
        return ""
    left = gathered.n_tasks - gathered.n_done
    failed = (
        f" {gathered.n_gone:,} of them have failed so far."
        if gathered.n_gone
        else " None of them has failed."
    )
    lacking = [
        f"{order.treatment} through {order.n}-body ({order.n_missing:,} tasks)"
        for order in gathered.orders
        if order.n_missing
    ]
    shown = unfinished(gathered.material, 5)
    names = ", ".join(f"<code>{escape(label)}</code>" for label in shown)
    more = f" and {left - len(shown):,} more" if left > len(shown) else ""
    return (
        '<div class="partial" role="alert"><div><strong>Partial: '
        f"{gathered.n_done:,} of {gathered.n_tasks:,} tasks are done.</strong>"
        f"<p>{left:,} tasks are missing.{failed} Numbers that need a missing task are left out (–); increments and "
        "plots show what is there.</p>"
        f"<p>Not complete: {escape('; '.join(lacking))}.</p><p>Missing: {names}{more}.</p></div></div>"
    )


def _cards(gathered: Gathered) -> str:
    expansion = gathered.material.problem.expansion
    mine = [order for order in gathered.orders if order.treatment == expansion.treatments[0]]
    known = [order for order in mine if not order.n_missing]
    cards = []
    if known:
        top = known[-1]
        what = f"{top.treatment} {{}} energy through {top.n}-body"
        if top.n < mine[-1].n:
            what += f" (of {mine[-1].n})"
        if top.interaction is not None and top.n > 1:
            cards.append(
                (f"{_number(top.interaction, gathered.units.kj_mol, 3)} kJ/mol", what.format("interaction"))
            )
            cards.append(
                (
                    f"{_number(top.interaction, gathered.units.kcal_mol, 3)} kcal/mol",
                    what.format("interaction"),
                )
            )
        if top.total is not None:
            cards.append((f"{_number(top.total)} Eh", what.format("total")))
    cards.append((f"{gathered.n_done:,} of {gathered.n_tasks:,}", "tasks done"))
    engine = sum(group.walls[0] for group in gathered.groups)
    cards.append((format_duration(engine), f"computing, on {len(gathered.seats)} ranks"))
    return "".join(f'<div class="card"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in cards)


def _cluster(gathered: Gathered) -> str:
    cluster = gathered.material.problem.cluster
    rows = []
    for fragment in range(min(cluster.n_fragments, FRAGMENTS)):
        atoms = slice(int(cluster.offsets[fragment]), int(cluster.offsets[fragment + 1]))
        others = np.delete(gathered.material.shortest[fragment], fragment)
        nearest = f"{gathered.units.angstrom * others.min():.2f}" if len(others) else "–"
        rows.append(
            [
                str(fragment + 1),
                formula(cluster.symbols[atoms]),
                f"{cluster.charges[fragment]:+g}" if cluster.charges[fragment] else "0",
                str(int(cluster.multiplicities[fragment])),
                _ranges(cluster.order[atoms]),
                nearest,
            ]
        )
    more = cluster.n_fragments - len(rows)
    note = f'<p class="note">and {more:,} more fragments</p>' if more > 0 else ""
    header = ["fragment", "formula", "charge", "multiplicity", "atoms of the input", "nearest neighbour / Å"]
    return (
        f"<p>{cluster.n_atoms:,} atoms in {cluster.n_fragments:,} fragments.</p>"
        f"{_plot('molecule', gathered)}{_table(header, rows, 'ntnntn')}{note}"
    )


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers counted from 1, such as ``1-3, 7``."""
    found: list[list[int]] = []
    for number in sorted(int(n) + 1 for n in numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def _expansion(gathered: Gathered) -> str:
    units = gathered.units
    parts = [_plot("expansion", gathered)]
    header = [
        "n",
        "level",
        "contribution / Eh",
        "kJ/mol",
        "kcal/mol",
        "interaction / Eh",
        "kJ/mol",
        "kcal/mol",
    ]
    header += ["total / Eh", "missing tasks"]
    for treatment in gathered.material.problem.expansion.treatments:
        orders = [order for order in gathered.orders if order.treatment == treatment]
        rows = [[*_order_cells(order, gathered)] for order in orders]
        marks = "".join("o" if order.n_missing else "-" for order in orders)
        parts.append(f"<h3>{treatment}</h3>{_table(header, rows, 'nt' + 8 * 'n', marks)}")
    if gathered.material.problem.expansion.supersystem is not None:
        parts.append(
            '<p class="note">The last line of each table is the supersystem: all higher orders at once, at its own level.</p>'
        )
    parts.append(
        f'<p class="note">1 Eh = {units.kj_mol:.4f} kJ/mol = {units.kcal_mol:.4f} kcal/mol (QCElemental). Sums are exact and '
        "rounded once. “–” is not defined for this input, or not known yet.</p>"
    )
    return "".join(parts)


def _order_cells(order: BodyOrder, gathered: Gathered) -> list[str]:
    units = gathered.units
    contribution = None if order.n == 1 else order.contribution
    return [
        str(order.n),
        order.level,
        _number(order.contribution),
        _number(contribution, units.kj_mol, 4),
        _number(contribution, units.kcal_mol, 4),
        _number(order.interaction),
        _number(order.interaction, units.kj_mol, 4),
        _number(order.interaction, units.kcal_mol, 4),
        _number(order.total),
        f"{order.n_missing:,}",
    ]


def _increments(gathered: Gathered) -> str:
    if not gathered.series:
        return "<p>This expansion has no increments of single n-mers beyond the monomers.</p>"
    intro = (
        "<p>The increment of an n-mer is what it adds to the energy beyond all its subsets; those of one body order add up to "
        "its contribution. Distance is the shortest one between atoms of two fragments; for three and more fragments "
        "it is the largest among the pairs, so that all of them are at least that close. The distance of centres of mass is "
        "taken likewise.</p>"
    )
    parts = [intro, *(_plot(name, gathered) for name in ("distribution", "distance", "cutoff"))]
    units = gathered.units
    rows = []
    for series in gathered.series:
        one = series.increments
        known = units.kj_mol * one.values[~np.isnan(one.values)]
        numbers = [_number(float(f), 1, 4) for f in (known.sum(), known.mean(), known.min(), known.max())]
        rows.append(
            [one.treatment, str(one.n), series.level, f"{len(known):,}", f"{len(one.values):,}"]
            + (numbers if len(known) else ["–"] * 4)
        )
    header = ["treatment", "n", "level", "known", "n-mers", "sum / kJ/mol", "mean", "smallest", "largest"]
    parts.append(_table(header, rows, "tntnnnnnn"))
    for series in gathered.series:
        parts.append(_largest(series, gathered))
    return "".join(parts)


def _largest(series: Series, gathered: Gathered) -> str:
    one, units = series.increments, gathered.units
    rows = [
        [
            _nmer(series, place),
            _number(float(one.values[place])),
            _number(float(one.values[place]), units.kj_mol, 4),
            _number(float(one.values[place]), units.kcal_mol, 4),
            f"{series.distance[place]:.2f}",
            f"{series.between_centres[place]:.2f}",
        ]
        for place in series.largest()
    ]
    if not rows:
        return ""
    header = ["fragments", "increment / Eh", "kJ/mol", "kcal/mol", "distance / Å", "centres of mass / Å"]
    return (
        f"<h3>Largest {one.n}-body increments, {one.treatment} ({escape(series.level)})</h3>"
        f"{_table(header, rows, 'tnnnnn')}"
    )


def _times(gathered: Gathered) -> str:
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
    slow = [[label, f"{wall:.3f}", str(rank), host] for label, wall, rank, host in gathered.slowest]
    times = ""
    if gathered.n_done:
        begin, end = float(gathered.begun.min()), float(gathered.finished.max())
        times = (
            f"<p>First task begun {_moment(begin)}, last one finished {_moment(end)} (UTC); "
            f"{format_duration(float((gathered.finished - gathered.begun).sum()))} of computing in between.</p>"
        )
    return (
        f"{times}{_plot('timings', gathered)}{_table(header, rows, 'tntnnnnn')}{_plot('timeline', gathered)}"
        f"<h3>Slowest tasks</h3>{_table(['task', 'time / s', 'rank', 'host'], slow, 'tnnt')}"
    )


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _failures(gathered: Gathered) -> str:
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
            failure.message.strip().splitlines()[-1][:300] if failure.message.strip() else "",
        ]
        for failure in shown
    ]
    more = f" The first {SHOWN} are listed." if len(failures) > SHOWN else ""
    header = ["task", "kind", "state", "attempt", "rank", "message"]
    return (
        f"<p>{len(failures):,} attempts have failed; {len(failures) - len(gone):,} of them belong to tasks that were done "
        f"later.{more}</p>{_table(header, rows, 'tttntt', ''.join('-' if f.recovered else 'o' for f in shown))}"
    )


def _made(gathered: Gathered) -> str:
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
    return _table(header, levels, "tttttt") + "<br>" + _table(["", ""], facts, "tt")


def _cite(gathered: Gathered) -> str:
    problem = gathered.material.problem
    found, others = references(problem.levels, problem.expansion.treatments)
    items = "".join(f"<li><b>{escape(r.what)}</b>: {escape(r.text)}. doi:{escape(r.doi)}</li>" for r in found)
    also = f"<p>And as their own documentation asks: {escape(', '.join(others))}.</p>" if others else ""
    return (
        f"<ol class=refs>{items}</ol>{also}"
        '<p class="note">Basis sets, functionals and other methods have references of their own. '
        f"Name the versions given above, and qcmb_mpi {escape(gathered.material.snapshot.versions.get('qcmb_mpi', ''))}.</p>"
    )
