"""The plots that tell of the run: where the time went, and who computed when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.report.drawing import new_figure
from qcmb_mpi.report.gathered import Gathered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["timeline", "timings"]

#: Fill of bars by number of real fragments, dark to light, and hatches that repeat it.
FILLS = ("#1f3b57", "#4c7a9c", "#8fb6cf", "#cfe3ee", "#f0f0f0")
HATCHES = ("", "//", "..", "xx", "--")
WIDE_RANKS, MANY_TASKS = 40, 2000  # above which the timeline shows busy fractions, not tasks
BINS = 240  # of time, then


def timings(gathered: Gathered) -> Figure | None:
    """Time by level, real fragments and basis: of all tasks, and of one."""
    groups = [group for group in gathered.groups if group.n_done]
    if not groups:
        return None
    figure = new_figure(7.0, 0.8 + 0.32 * len(groups))
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
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", visible=False)
    left.invert_yaxis()
    return figure  # type: ignore[no-any-return]


def _fill(n_real: int) -> str:
    return FILLS[min(n_real, len(FILLS)) - 1]


def timeline(gathered: Gathered) -> Figure | None:
    """Who computed when; stretches in which nobody did are cut out and marked."""
    if not gathered.seats:
        return None
    n_seats = len(gathered.seats)
    cut, breaks = _without_pauses(gathered.begun, gathered.finished)
    begun, finished = cut(gathered.begun), cut(gathered.finished)
    figure = new_figure(7.0, float(np.clip(0.9 + 0.25 * n_seats, 1.6, 8.0)))
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
