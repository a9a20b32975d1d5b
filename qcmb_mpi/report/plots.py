"""The plots of a report, with matplotlib: figures of gathered numbers, as SVG for a page or PNG files.

Colours differ in lightness, and markers and line styles say the same again, so that a grey print can be
read.  matplotlib is an extra of the package and imported only here and in ``drawing.py``, when a plot is
wanted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.errors import InputError
from qcmb_mpi.report.drawing import draw_cluster
from qcmb_mpi.report.gathered import BodyOrder, Gathered, Series, Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "have_matplotlib", "plot_series", "require_matplotlib", "svg", "write_pngs"]

#: Colour, marker and line style of each treatment.
STYLES = {"nocp": ("#000000", "o", "-"), "cp": ("#0072b2", "s", "--"), "vmfc": ("#e69f00", "^", ":")}
#: Fill of bars by number of real fragments, dark to light, and hatches that repeat it.
FILLS = ("#1f3b57", "#4c7a9c", "#8fb6cf", "#cfe3ee", "#f0f0f0")
HATCHES = ("", "//", "..", "xx", "--")
MANY = 2000  # points above which they are drawn as an image inside the SVG
WIDE_RANKS, MANY_TASKS = 40, 2000  # above which the timeline shows busy fractions, not tasks
BINS = 240  # of time, then
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


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


# --- the expansion ----------------------------------------------------------------------------


def _molecule(gathered: Gathered) -> Figure | None:
    cluster = gathered.material.problem.cluster
    figure = _figure(6.4, 4.6)
    draw_cluster(figure, cluster, gathered.units.angstrom)
    return figure  # type: ignore[no-any-return]


def _expansion(gathered: Gathered) -> Figure | None:
    """n-body contributions as bars, and the interaction energy as it builds up."""
    by_treatment: dict[str, list[BodyOrder]] = {}
    for order in gathered.orders:
        by_treatment.setdefault(order.treatment, []).append(order)
    known = [o for o in gathered.orders if o.n > 1 and o.contribution is not None]
    if not known:
        return None
    units = gathered.units
    figure = _figure(7.0, 3.2)
    with_interaction = any(order.interaction is not None for order in gathered.orders)
    left, *rest = figure.subplots(1, 2 if with_interaction else 1, squeeze=False)[0]
    numbers = sorted({order.n for order in known})
    place = {n: i for i, n in enumerate(numbers)}
    width = 0.8 / len(by_treatment)
    for i, (treatment, orders) in enumerate(by_treatment.items()):
        colour, marker, line = STYLES[treatment]
        terms = [order for order in orders if order.n > 1 and order.contribution is not None]
        where = [place[order.n] + (i - (len(by_treatment) - 1) / 2) * width for order in terms]
        heights = [units.kj_mol * (order.contribution or 0.0) for order in terms]
        left.bar(where, heights, width, color=colour, hatch=HATCHES[i], edgecolor="white", label=treatment)
        sums = [order for order in orders if order.interaction is not None]
        for right in rest:
            right.plot(
                [order.n for order in sums],
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
    for right in rest:
        right.set_xlabel("through n bodies")
        right.set_xticks(sorted({order.n for order in gathered.orders}))
        right.set_ylabel("interaction energy / kJ mol$^{-1}$")
        ratio = units.kcal_mol / units.kj_mol
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
    figure = _figure(7.0, height)
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


# --- the run ----------------------------------------------------------------------------------


def _timings(gathered: Gathered) -> Figure | None:
    groups = [group for group in gathered.groups if group.n_done]
    if not groups:
        return None
    figure = _figure(7.0, 0.8 + 0.32 * len(groups))
    left, right = figure.subplots(1, 2, sharey=True)
    names = [f"{g.level}: {g.n_real} in {g.basis}" for g in groups]
    for axes, values, title in (
        (left, [g.walls[0] for g in groups], "time in all tasks / s"),
        (right, [g.walls[1] for g in groups], "mean time of a task / s"),
    ):
        bars = axes.barh(names, values, color=[_fill(g.n_real) for g in groups], edgecolor="black")
        for bar, group in zip(bars, groups, strict=True):
            bar.set_hatch(HATCHES[(group.n_real - 1) % len(HATCHES)])
            bar.set_linewidth(0.5)
        axes.set_xlabel(title)
        axes.grid(axis="y", visible=False)
    left.invert_yaxis()
    return figure  # type: ignore[no-any-return]


def _fill(n_real: int) -> str:
    return FILLS[min(n_real, len(FILLS)) - 1]


def _timeline(gathered: Gathered) -> Figure | None:
    """Who computed when; stretches in which nobody did are cut out and marked."""
    if not gathered.n_done:
        return None
    n_seats = len(gathered.seats)
    cut, breaks = _without_pauses(gathered.begun, gathered.finished)
    begun, finished = cut(gathered.begun), cut(gathered.finished)
    figure = _figure(7.0, float(np.clip(0.9 + 0.25 * n_seats, 1.6, 8.0)))
    axes = figure.add_subplot()
    if n_seats <= WIDE_RANKS and gathered.n_done <= MANY_TASKS:
        _draw_tasks(axes, gathered, begun, finished)
    else:
        image = axes.imshow(
            _busy(gathered.seat_of, n_seats, begun, finished),
            aspect="auto",
            cmap="Greys",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            extent=(0, float(finished.max()), n_seats - 0.5, -0.5),
        )
        figure.colorbar(image, ax=axes, label="busy", pad=0.01)
    for position, seconds in breaks:
        axes.axvline(position, color="black", linestyle="--", linewidth=1)
        axes.annotate(
            f"{seconds:,.0f} s pause",
            (position, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            fontsize=7,
        )
    step = max(1, -(-n_seats // 30))
    axes.set_yticks(
        range(0, n_seats, step), [f"{rank} on {host[:14]}" for rank, host in gathered.seats[::step]]
    )
    axes.set_ylim(n_seats - 0.5, -0.5)
    axes.set_xlabel("time since the first task began / s")
    axes.set_ylabel("rank")
    axes.grid(axis="y", visible=False)
    return figure  # type: ignore[no-any-return]


def _draw_tasks(axes: Axes, gathered: Gathered, begun: NDArray[Any], finished: NDArray[Any]) -> None:
    many = gathered.n_done > 300
    for n in np.unique(gathered.n_real).tolist():
        for seat in range(len(gathered.seats)):
            mine = (gathered.n_real == n) & (gathered.seat_of == seat)
            if mine.any():
                axes.broken_barh(
                    list(zip(begun[mine].tolist(), (finished - begun)[mine].tolist(), strict=True)),
                    (seat - 0.35, 0.7),
                    facecolors=_fill(n),
                    edgecolors="white",
                    linewidth=0.1 if many else 0.4,
                    hatch=None if many else HATCHES[(n - 1) % len(HATCHES)],
                )
        axes.broken_barh([], (0, 0), facecolors=_fill(n), label=f"{n} real")
    axes.legend(ncols=5, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _without_pauses(
    begun: NDArray[np.float64], finished: NDArray[np.float64]
) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], list[tuple[float, float]]]:
    """A clock that stands still in long pauses, and where and how long those are [s]."""
    order = np.argsort(begun, kind="stable")
    ends = np.maximum.accumulate(finished[order])
    first = float(begun[order[0]])
    gaps = begun[order][1:] - ends[:-1]
    work = float(ends[-1] - first - gaps[gaps > 0].sum())
    long = np.flatnonzero(gaps > max(10.0, 0.2 * work))
    starts, lengths = ends[long], gaps[long]

    def cut(times: NDArray[np.float64]) -> NDArray[np.float64]:
        before = np.searchsorted(starts, times, side="left")
        skipped = np.concatenate([[0.0], np.cumsum(lengths)])
        shifted: NDArray[np.float64] = times - first - skipped[before]
        return shifted

    return cut, [(float(cut(starts[i : i + 1])[0]), float(lengths[i])) for i in range(len(long))]


def _busy(
    seat_of: NDArray[np.int64], n_seats: int, begun: NDArray[np.float64], finished: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fraction of each bin of time in which each rank computed, shape (n_seats, BINS)."""
    width = float(finished.max()) / BINS or 1.0
    first = np.clip(begun / width, 0, BINS)
    last = np.clip(finished / width, 0, BINS)
    # the time computed up to an edge is a sum of ramps: its second differences lie where tasks begin and end
    slopes = np.zeros((n_seats, BINS + 2))
    for times, sign in ((first, 1.0), (last, -1.0)):
        whole = np.floor(times).astype(np.int64)
        part = times - whole
        np.add.at(slopes, (seat_of, whole), sign * (1 - part))
        np.add.at(slopes, (seat_of, whole + 1), sign * part)
    busy: NDArray[np.float64] = np.clip(np.cumsum(slopes, axis=1)[:, :BINS], 0, 1)
    return busy


#: Name of each plot to how it is drawn and what it shows.
FIGURES: dict[str, tuple[Callable[[Gathered], Figure | None], str]] = {
    "molecule": (_molecule, "The cluster and its fragments"),
    "expansion": (_expansion, "Contributions by body order and the interaction energy as it builds up"),
    "distribution": (_distribution, "How large the increments are"),
    "distance": (_distances, "Size of the increments against distance: filled attract, open repel"),
    "cutoff": (_cutoffs, "What the increments up to a distance add up to"),
    "timings": (_timings, "Where the time went: real fragments in their basis"),
    "timeline": (_timeline, "Who computed when"),
}
