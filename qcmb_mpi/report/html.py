"""The report as one page: text, tables and plots, readable without a network.

Joins the sections and says on top what is most wanted; the frame with its style is ``page.html``.
"""

from __future__ import annotations

import time
from collections import Counter
from html import escape
from importlib.resources import files
from itertools import pairwise
from string import Template

import qcmb_mpi
from qcmb_mpi.problem import Cluster, formula
from qcmb_mpi.report.chemistry import cluster_section, expansion_section, increments_section
from qcmb_mpi.report.durations import format_measured
from qcmb_mpi.report.gathered import Gathered, unfinished
from qcmb_mpi.report.making import cite_section, failures_section, made_section, times_section
from qcmb_mpi.report.pieces import model, number

__all__ = ["page"]

MOST_KINDS = 4  # of fragments that the title names


def page(gathered: Gathered) -> str:
    """The whole page."""
    material = gathered.material
    problem = material.problem
    cluster = problem.cluster
    sections = {
        "cluster": ("The cluster", cluster_section(gathered)),
        "expansion": ("The expansion by body order", expansion_section(gathered)),
        "increments": ("Increments of single n-mers", increments_section(gathered)),
        "times": ("Times", times_section(gathered)),
        "failures": ("Failures", failures_section(gathered)),
        "made": ("How the number was made", made_section(gathered)),
        "cite": ("What to cite", cite_section(gathered)),
    }
    text = files("qcmb_mpi.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(text).substitute(
        title=escape(f"{_makeup(cluster)}: many-body expansion of {cluster.n_fragments} fragments"),
        subtitle=escape(
            f"{', '.join(map(model, problem.levels))}; {', '.join(problem.expansion.treatments)} through "
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
        f"{order.treatment} through {order.nbody}-body ({order.missing:,} missing)"
        for order in gathered.orders
        if order.missing
    ]
    shown = unfinished(gathered.material, 5)
    names = ", ".join(f"<code>{escape(label)}</code>" for label in shown)
    more = f" and {left - len(shown):,} more" if left > len(shown) else ""
    return (
        '<div class="partial" role="alert"><div><strong>Partial: '
        f"{gathered.n_done:,} of {gathered.n_tasks:,} tasks are done.</strong>"
        f"<p>{left:,} tasks are missing.{failed} Numbers that need a missing task are left out "
        "(–); increments and plots show what is there.</p>"
        f"<p>Not complete: {escape('; '.join(lacking))}.</p><p>Missing: {names}{more}.</p></div></div>"
    )


def _makeup(cluster: Cluster) -> str:
    """The cluster by its fragments, such as ``(H2O)10``; by its atoms where they are of too many kinds."""
    ends = cluster.offsets.tolist()
    counts = Counter(formula(cluster.symbols[begin:end]) for begin, end in pairwise(ends))
    if len(counts) > MOST_KINDS:
        return formula(cluster.symbols)
    return " ".join(f"({kind}){n}" if n > 1 else kind for kind, n in counts.items())


def _cards(gathered: Gathered) -> str:
    expansion = gathered.material.problem.expansion
    mine = [order for order in gathered.orders if order.treatment == expansion.treatments[0]]
    known = [order for order in mine if not order.missing]
    cards = []
    if known:
        top = known[-1]
        what = f"{top.treatment} {{}} energy through {top.nbody}-body"
        if top.nbody < mine[-1].nbody:
            what += f" (of {mine[-1].nbody})"
        if top.interaction is not None and top.nbody > 1:
            kj = number(top.interaction, gathered.units.kj_mol, 3)
            kcal = number(top.interaction, gathered.units.kcal_mol, 3)
            cards.append((f"{kj} kJ/mol = {kcal} kcal/mol", what.format("interaction")))
        if top.total is not None:
            cards.append((f"{number(top.total)} Eh", what.format("total")))
    cards.append((f"{gathered.n_done:,} of {gathered.n_tasks:,}", "tasks done"))
    engine = float((gathered.finished - gathered.begun).sum())
    cards.append((format_measured(engine), f"computing, on {len(gathered.seats)} ranks"))
    return "".join(f'<div class="card"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in cards)
