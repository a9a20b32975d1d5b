"""The sections of a page that tell of the cluster and its energy."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from qcmb_mpi.problem import formula
from qcmb_mpi.report.body_orders import BodyOrder
from qcmb_mpi.report.gathered import Gathered, Series
from qcmb_mpi.report.pieces import number, plot, table

__all__ = ["cluster_section", "expansion_section", "increments_section"]

FRAGMENTS = 20  # fragments listed one by one


def _nmer(series: Series, place: int) -> str:
    return "-".join(str(int(fragment) + 1) for fragment in series.increments.nmers[place])


def cluster_section(gathered: Gathered) -> str:
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
        f"{plot('molecule', gathered)}{table(header, rows, 'ntnntn')}{note}"
    )


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers counted from 1, such as ``1-3, 7``."""
    found: list[list[int]] = []
    for atom in sorted(int(n) + 1 for n in numbers):
        if found and atom == found[-1][1] + 1:
            found[-1][1] = atom
        else:
            found.append([atom, atom])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def expansion_section(gathered: Gathered) -> str:
    units = gathered.units
    parts = [plot("expansion", gathered)]
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
        marks = "".join("o" if order.missing else "-" for order in orders)
        parts.append(f"<h3>{treatment}</h3>{table(header, rows, 'nt' + 8 * 'n', marks)}")
    if gathered.material.problem.expansion.supersystem is not None:
        parts.append(
            '<p class="note">The last line of each table is the supersystem: '
            "all higher orders at once, at its own level.</p>"
        )
    parts.append(
        f'<p class="note">1 Eh = {units.kj_mol:.4f} kJ/mol = {units.kcal_mol:.4f} kcal/mol '
        "(QCElemental). Sums are exact and "
        "rounded once. “–” is not defined for this input, or not known yet.</p>"
    )
    return "".join(parts)


def _order_cells(order: BodyOrder, gathered: Gathered) -> list[str]:
    units = gathered.units
    contribution = None if order.nbody == 1 else order.contribution
    return [
        str(order.nbody),
        gathered.material.level_of(order.nbody),
        number(order.contribution),
        number(contribution, units.kj_mol, 4),
        number(contribution, units.kcal_mol, 4),
        number(order.interaction),
        number(order.interaction, units.kj_mol, 4),
        number(order.interaction, units.kcal_mol, 4),
        number(order.total),
        f"{order.missing:,}",
    ]


def increments_section(gathered: Gathered) -> str:
    if not gathered.series:
        return "<p>This expansion has no increments of single n-mers beyond the monomers.</p>"
    intro = (
        "<p>The increment of an n-mer is what it adds to the energy beyond all its subsets; those of one "
        "body order add up to its contribution. Distance is the shortest one between atoms of two fragments; "
        "for three and more fragments it is the largest among the pairs (of a trimer's three "
        "shortest distances the largest). The distance of centres of mass is taken likewise.</p>"
    )
    parts = [intro, *(plot(name, gathered) for name in ("distribution", "distance", "cutoff"))]
    units = gathered.units
    rows = []
    for series in gathered.series:
        one = series.increments
        known = units.kj_mol * one.values[~np.isnan(one.values)]
        numbers = ["–"] * 4
        if len(known):
            numbers = [number(float(f), 1, 4) for f in (known.sum(), known.mean(), known.min(), known.max())]
        count = [f"{len(known):,}", f"{len(one.values):,}"]
        rows.append([one.treatment, str(one.n), series.level, *count, *numbers])
    header = ["treatment", "n", "level", "known", "n-mers", "sum / kJ/mol", "mean", "smallest", "largest"]
    parts.append(table(header, rows, "tntnnnnnn"))
    for series in gathered.series:
        parts.append(_largest(series, gathered))
    return "".join(parts)


def _largest(series: Series, gathered: Gathered) -> str:
    one, units = series.increments, gathered.units
    rows = [
        [
            _nmer(series, place),
            number(float(one.values[place])),
            number(float(one.values[place]), units.kj_mol, 4),
            number(float(one.values[place]), units.kcal_mol, 4),
            f"{series.distance[place]:.2f}",
            f"{series.between_centres[place]:.2f}",
        ]
        for place in series.largest()
    ]
    if not rows:
        return ""
    level = f" at {escape(series.level)}" if len(gathered.material.problem.levels) > 1 else ""
    header = ["fragments", "increment / Eh", "kJ/mol", "kcal/mol", "distance / Å", "centres of mass / Å"]
    return f"<h3>Largest {one.n}-body increments, {one.treatment}{level}</h3>{table(header, rows, 'tnnnnn')}"
