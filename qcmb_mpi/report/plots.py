"""The plots of a report, with matplotlib: figures of gathered numbers, as SVG for a page or PNG files.

Colours differ in lightness, and markers and line styles say the same again, so that a grey print can be
read.  matplotlib is an extra of the package and imported only when a plot is wanted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmb_mpi.errors import InputError
from qcmb_mpi.report.body_orders import BodyOrder
from qcmb_mpi.report.drawing import draw_cluster, new_figure
from qcmb_mpi.report.gathered import Gathered, Series, Units
from qcmb_mpi.report.run_plots import timeline, timings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "have_matplotlib", "plot_series", "require_matplotlib", "svg", "write_pngs"]

#: Colour, marker and line style of each treatment.
STYLES = {"nocp": ("#000000", "o", "-"), "cp": ("#0072b2", "s", "--"), "vmfc": ("#e69f00", "^", ":")}
HATCHES = ("", "//", "..")
MANY = 2000  # points above which they are drawn as an image inside the SVG
SETTINGS: Any = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "qcmb_mpi",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def have_matplotlib() -> bool:
    """Whether plots can be drawn here."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def svg(draw: Callable[[Gathered], Figure | None], gathered: Gathered) -> str:
    """A plot as SVG to be put into a page; empty where there is nothing to plot."""
    figure = _drawn(draw, gathered)
    if figure is None:
        return ""
    text = io.StringIO()
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure.savefig(text, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    plain = text.getvalue()
    plain = plain[plain.index("<svg") :]
    # what HTML does not need: the description, names of name spaces, identifiers nobody refers to
    plain = re.sub(r"<metadata>.*?</metadata>\s*", "", plain, flags=re.DOTALL)
    plain = re.sub(r' xmlns(:\w+)?="[^"]*"', "", plain)
    plain = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", plain)
    return _first_tag_sized(plain)


def _first_tag_sized(plain: str) -> str:
    """Without the size in points: the page gives the width."""
    end = plain.index(">")
    return re.sub(r' (width|height)="[^"]*"', "", plain[:end]) + plain[end:]


def write_pngs(gathered: Gathered, folder: Path) -> list[Path]:
    """Every plot as a PNG file; returns the files.

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    require_matplotlib("--png")
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (draw, _) in FIGURES.items():
        figure = _drawn(draw, gathered)
        if figure is not None:
            written.append(folder / f"{name}.png")
            with matplotlib.rc_context(SETTINGS):
                figure.savefig(written[-1], dpi=200)
    return written


def require_matplotlib(field: str | None = None) -> None:
    """Raise InputError, naming the command that helps, where matplotlib is missing."""
    if not have_matplotlib():
        raise InputError("plots need matplotlib, which is not installed: pip install 'qcmb-mpi[plot]'", field)


def _drawn(draw: Callable[[Gathered], Figure | None], gathered: Gathered) -> Figure | None:
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        return draw(gathered)


# --- the expansion ----------------------------------------------------------------------------


def _molecule(gathered: Gathered) -> Figure | None:
    cluster = gathered.material.problem.cluster
    figure = new_figure(6.4, 4.6)
    draw_cluster(figure, cluster, gathered.units.angstrom)
    return figure  # type: ignore[no-any-return]


def _expansion(gathered: Gathered) -> Figure | None:
    """n-body contributions as bars, and the interaction energy as it builds up."""
    by_treatment: dict[str, list[BodyOrder]] = {}
    for order in gathered.orders:
        by_treatment.setdefault(order.treatment, []).append(order)
    known = [o for o in gathered.orders if o.nbody > 1 and o.contribution is not None]
    if not known:
        return None
    units = gathered.units
    figure = new_figure(7.0, 3.2)
    with_interaction = any(order.interaction is not None for order in gathered.orders)
    left, *rest = figure.subplots(1, 2 if with_interaction else 1, squeeze=False)[0]
    numbers = sorted({order.nbody for order in known})
    place = {n: i for i, n in enumerate(numbers)}
    width = 0.8 / len(by_treatment)
    for i, (treatment, orders) in enumerate(by_treatment.items()):
        colour, marker, line = STYLES[treatment]
        terms = [order for order in orders if order.nbody > 1 and order.contribution is not None]
        where = [place[order.nbody] + (i - (len(by_treatment) - 1) / 2) * width for order in terms]
        heights = [units.kj_mol * (order.contribution or 0.0) for order in terms]
        left.bar(where, heights, width, color=colour, hatch=HATCHES[i], edgecolor="white", label=treatment)
        sums = [order for order in orders if order.interaction is not None]
        for right in rest:
            right.plot(
                [order.nbody for order in sums],
                [units.kj_mol * (order.interaction or 0.0) for order in sums],
                color=colour,
                marker=marker,
                linestyle=line,
            )
    left.axhline(0, color="black", linewidth=0.8)
    left.set_xticks(range(len(numbers)), [f"{n}-body" for n in numbers])
    left.set_ylabel("contribution / kJ mol$^{-1}$")
    left.grid(axis="x", visible=False)
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
    left.set_xlim(-0.8, len(numbers) - 0.2)
    ratio = units.kcal_mol / units.kj_mol
    for right in rest:
        right.set_xlabel("through n bodies")
        right.set_xticks(sorted({order.nbody for order in gathered.orders}))
        right.set_ylabel("interaction energy / kJ mol$^{-1}$")
        second = right.secondary_yaxis("right", functions=(lambda y: y * ratio, lambda y: y / ratio))
        second.set_ylabel("kcal mol$^{-1}$")
    return figure  # type: ignore[no-any-return]


# --- the increments ---------------------------------------------------------------------------


def _by_order(series: Sequence[Series]) -> dict[int, list[Series]]:
    groups: dict[int, list[Series]] = {}
    for one in series:
        if one.increments.n_known:
            groups.setdefault(one.increments.n, []).append(one)
    return groups


def _panels(gathered: Gathered, draw: Callable[[Axes, Series, Units], None], height: float) -> Figure | None:
    groups = _by_order(gathered.series)
    if not groups:
        return None
    figure = new_figure(7.0, height)
    for axes, (n, series) in zip(
        figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True
    ):
        for one in series:
            draw(axes, one, gathered.units)
        axes.set_title(f"{n}-body", fontsize=9, loc="left", fontweight="bold")
        if len(series) > 1:
            axes.legend(fontsize=8)
    return figure  # type: ignore[no-any-return]


def _distribution(gathered: Gathered) -> Figure | None:
    return _panels(gathered, _draw_histogram, 3.0)


def _distances(gathered: Gathered) -> Figure | None:
    return _panels(gathered, plot_series, 3.3)


def _cutoffs(gathered: Gathered) -> Figure | None:
    return _panels(gathered, _draw_cutoff, 3.0)


def _draw_histogram(axes: Axes, series: Series, units: Units) -> None:
    values = units.kj_mol * series.increments.values
    values = values[~np.isnan(values)]
    from matplotlib.ticker import MaxNLocator

    colour, _, line = STYLES[series.increments.treatment]
    counts, edges = np.histogram(values, bins=int(np.clip(np.sqrt(len(values)) * 2, 8, 60)))
    axes.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.4, label=series.increments.treatment)
    if counts.max() > 50:
        axes.set_yscale("symlog", linthresh=1)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("increment / kJ mol$^{-1}$")
    axes.set_ylabel("n-mers")


def plot_series(axes: Axes, series: Series, units: Units) -> None:
    """Size of increments against distance: filled where they attract, open where they repel.

    Parameters
    ----------
    axes
        Where to draw.
    series
        Increments of one treatment and body order.
    units
        Conversion factors.
    """
    values = units.kj_mol * series.increments.values
    shown = np.flatnonzero(~np.isnan(values) & (values != 0))
    colour, marker, _ = STYLES[series.increments.treatment]
    for attract, name in ((True, series.increments.treatment), (False, None)):
        some = shown[(values[shown] < 0) == attract]
        axes.scatter(
            series.distance[some],
            np.abs(values[some]),
            s=18 if len(shown) < 200 else 6,
            marker=marker,
            facecolors=colour if attract else "none",
            edgecolors=colour,
            linewidths=0.8,
            label=name,
            rasterized=len(shown) > MANY,
        )
    axes.set_yscale("log")
    axes.set_xlabel("distance / Å")
    axes.set_ylabel("|increment| / kJ mol$^{-1}$")


def _draw_cutoff(axes: Axes, series: Series, units: Units) -> None:
    """What the increments within a distance add up to."""
    known = np.flatnonzero(~np.isnan(series.increments.values))
    order = known[np.argsort(series.distance[known], kind="stable")]
    sums = np.cumsum(np.append(0.0, units.kj_mol * series.increments.values[order]))
    distances = np.append(series.distance[order[:1]], series.distance[order])
    keep = np.unique(np.linspace(0, len(sums) - 1, MANY).astype(int))
    colour, _, line = STYLES[series.increments.treatment]
    axes.step(
        distances[keep],
        sums[keep],
        where="post",
        marker="." if len(sums) < 30 else None,
        color=colour,
        linestyle=line,
        label=series.increments.treatment,
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("distance / Å")
    axes.set_ylabel("sum up to there / kJ mol$^{-1}$")


#: Name of each plot to how it is drawn and what it shows.
FIGURES: dict[str, tuple[Callable[[Gathered], Figure | None], str]] = {
    "molecule": (_molecule, "The cluster and its fragments"),
    "expansion": (_expansion, "Contributions by body order and the interaction energy as it builds up"),
    "distribution": (_distribution, "How large the increments are"),
    "distance": (_distances, "Size of the increments against distance: filled attract, open repel"),
    "cutoff": (_cutoffs, "What the increments up to a distance add up to"),
    "timings": (timings, "Where the time went: real fragments in their basis"),
    "timeline": (timeline, "Who computed when"),
}
