"""``plot_increments``: the increments of a job against distance, for Python users."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qcmb_mpi.errors import InputError
from qcmb_mpi.reading import look
from qcmb_mpi.report.drawing import new_figure
from qcmb_mpi.report.gathered import Units, series_of
from qcmb_mpi.report.plots import plot_series, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_increments"]


def plot_increments(
    checkpoint: str | os.PathLike[str], n: int = 2, treatment: str | None = None, axes: Axes | None = None
) -> Axes:
    """Plot the size of the n-body increments against the distance of the fragments.

    Parameters
    ----------
    checkpoint
        Of a job, running or not.
    n
        Body order.
    treatment
        ``nocp``, ``cp`` or ``vmfc``; all that were asked for by default.
    axes
        Where to draw; on a new figure by default (``axes.figure`` saves it).

    Returns
    -------
    matplotlib.axes.Axes
        Distance in angstrom, increments in kJ/mol: filled where they attract, open where they repel.

    Raises
    ------
    StoreError
        It is no checkpoint.
    InputError
        matplotlib is not installed, or there are no such increments.
    """
    require_matplotlib()
    material = look(checkpoint)
    units = Units.known()
    found = [
        series_of(material, one, units)
        for one in material.increments()
        if one.n == n and one.n > 1 and treatment in (None, one.treatment)
    ]
    if not found:
        asked = f"{n}-body increments" + (f" with {treatment}" if treatment else "")
        raise InputError(f"{checkpoint}: this job has no {asked}")
    if axes is None:
        axes = new_figure(5.0, 3.6).add_subplot()
    for series in found:
        plot_series(axes, series, units)
    axes.legend()
    return axes
