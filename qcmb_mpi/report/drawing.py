"""Draws a cluster in two dimensions: atoms, bonds, and every fragment with its number.

The picture looks along the axis in which the cluster is thinnest.  Fragments of the same formula have the
same background; the number says which is which, also in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.problem import Cluster, formula

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_cluster", "new_figure"]

#: Fill of atoms, by element; others are grey.
ATOMS = {"H": "#ffffff", "C": "#555555", "N": "#4a6fb5", "O": "#c0392b", "F": "#7fb800", "S": "#e3c000"}
#: Backgrounds of fragments by formula: light, and of different lightness.
BACKGROUNDS = ("#dce9f2", "#f3dfb8", "#c9d6c4", "#e8cfe0", "#b9c7d9", "#eeeeee")
WIDTH, HIGHEST = 6.4, 5.5  # inches
LEGEND = 1.1  # inches beside the picture
ROOM = 2.2  # angstrom around the outermost atoms
TURN = 0.35  # radians by which a bulky cluster is turned, so that fragments do not hide each other
MANY = 150  # fragments above which they are not numbered


def new_figure(width: float, height: float) -> Any:
    """An empty figure of some size [inches] that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_cluster(figure: Figure, cluster: Cluster, angstrom: float) -> None:
    """Draw a cluster on an empty figure, which gets its shape; ``angstrom`` is the length of a bohr."""
    from qcelemental import covalentradii

    flat, depth = _projected(cluster.geometry * angstrom)
    radii = np.array([covalentradii.get(s, units="angstrom", missing=1.5) for s in cluster.symbols])
    kinds: dict[str, int] = {}
    order = np.argsort(depth, kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) / max(1, len(order))
    spans = np.ptp(flat, axis=0) + 2 * ROOM
    height = float(np.clip((WIDTH - LEGEND) * spans[1] / spans[0], 1.2, HIGHEST))
    figure.set_size_inches(WIDTH, height)
    points = 72 * min((WIDTH - LEGEND) / spans[0], height / spans[1])  # per angstrom
    axes = figure.add_subplot()
    for fragment in range(cluster.n_fragments):
        atoms = slice(int(cluster.offsets[fragment]), int(cluster.offsets[fragment + 1]))
        kind = kinds.setdefault(formula(cluster.symbols[atoms]), len(kinds))
        background = BACKGROUNDS[kind % len(BACKGROUNDS)]
        place, above = flat[atoms], float(rank[atoms].mean())
        axes.scatter(
            place[:, 0],
            place[:, 1],
            s=(points * 1.6 * (radii[atoms] + 0.35)) ** 2,
            color=background,
            linewidths=0,
            zorder=1 + above,
        )
        for i, j in _bonds(cluster.geometry[atoms] * angstrom, radii[atoms]):
            axes.plot(*place[[i, j]].T, color="#222222", linewidth=min(2.0, points / 12), zorder=3 + above)
        axes.scatter(
            place[:, 0],
            place[:, 1],
            s=(points * 0.75 * radii[atoms]) ** 2,
            c=[ATOMS.get(symbol, "#a0a0a0") for symbol in cluster.symbols[atoms]],
            edgecolors="#222222",
            linewidths=min(0.9, points / 25),
            zorder=3.1 + above,
        )
        if cluster.n_fragments <= MANY:
            axes.annotate(
                str(fragment + 1),
                place.mean(axis=0),
                xytext=(0.55 * points, -0.55 * points),
                textcoords="offset points",
                fontsize=float(np.clip(points * 0.45, 5, 11)),
                fontweight="bold",
                ha="center",
                va="center",
                zorder=6,
                bbox={
                    "boxstyle": "round,pad=0.15",
                    "facecolor": "white",
                    "edgecolor": "#888888",
                    "linewidth": 0.5,
                },
            )
    for name, kind in kinds.items():
        axes.scatter([], [], s=60, color=BACKGROUNDS[kind % len(BACKGROUNDS)], label=name)
    if len(kinds) <= len(BACKGROUNDS):
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    axes.set_aspect("equal")
    axes.set_xlim(flat[:, 0].min() - ROOM, flat[:, 0].max() + ROOM)
    axes.set_ylim(flat[:, 1].min() - ROOM, flat[:, 1].max() + ROOM)
    axes.set_axis_off()
    _scale(axes, flat)


def _scale(axes: Axes, flat: NDArray[np.float64]) -> None:
    """A bar of one length that is round."""
    length = next((x for x in (10.0, 5.0, 2.0, 1.0) if x < 0.5 * np.ptp(flat, axis=0).max()), 1.0)
    left, low = flat.min(axis=0) - 0.8 * ROOM
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    axes.annotate(
        f"{length:.0f} Å", (left + length / 2, low), xytext=(0, 3), textcoords="offset points", ha="center"
    )


def _projected(xyz: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates in the plane of the two longest axes, shape (n, 2), and the depth, shape (n,)."""
    centred = xyz - xyz.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    turned = np.zeros((len(xyz), 3))
    turned[:, : len(axes)] = centred @ axes.T
    if len(sizes) == 3 and sizes[2] > 0.4 * sizes[1]:
        c, s = np.cos(TURN), np.sin(TURN)
        turned = turned @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        turned = turned @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return turned[:, :2], turned[:, 2]


def _bonds(xyz: NDArray[np.float64], radii: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of atoms closer than 1.25 times the sum of their covalent radii."""
    distance = np.linalg.norm(xyz[:, None] - xyz[None, :], axis=2)
    close = np.triu(distance < 1.25 * (radii[:, None] + radii[None, :]), 1)
    return [(int(i), int(j)) for i, j in np.argwhere(close)]
