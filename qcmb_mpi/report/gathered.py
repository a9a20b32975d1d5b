"""The numbers of a report, worked out from the material: plain data for page, plots and tables.

Knows neither HTML nor matplotlib nor CSV.  Energies are in Eh and lengths in angstrom here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.increments import Increments, largest_of_pairs
from qcmb_mpi.expansion.plan import Block
from qcmb_mpi.report.body_orders import BodyOrder, body_orders
from qcmb_mpi.report.material import Failure, Material
from qcmb_mpi.report.slowest import Slow, slowest
from qcmb_mpi.store.format import DERIVED

__all__ = [
    "Gathered",
    "Group",
    "Series",
    "Units",
    "gather",
    "series_of",
    "unfinished",
]

SLOWEST = 10
LARGEST = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """Conversion factors, QCElemental's."""

    kj_mol: float
    kcal_mol: float
    angstrom: float

    @classmethod
    def known(cls) -> Units:
        from qcelemental import constants

        return cls(constants.hartree2kJmol, constants.hartree2kcalmol, constants.bohr2angstroms)


@dataclass(frozen=True, eq=False)
class Series:
    """Increments with the distances of their n-mers.

    Attributes
    ----------
    distance : (m,) float64
        Angstrom: shortest distance between atoms of two fragments; of more than two fragments the
        largest among the pairs.
    between_centres : (m,) float64
        The same of the distances between centres of mass.
    """

    increments: Increments
    level: str
    distance: Floats
    between_centres: Floats

    def largest(self, count: int = LARGEST) -> list[int]:
        """Positions of the n-mers with the largest increments, the largest first."""
        size = np.nan_to_num(np.abs(self.increments.values), nan=-1.0)
        found = np.argpartition(-size, min(count, len(size)) - 1)[:count] if len(size) else np.empty(0, int)
        order = found[np.argsort(-size[found], kind="stable")]
        return [int(place) for place in order if size[place] >= 0]


@dataclass(frozen=True)
class Group:
    """Tasks of one level, number of real fragments and basis, with the time they took.

    Attributes
    ----------
    walls
        Sum, mean and maximum of those that somebody has computed, s.
    """

    level: str
    n_real: int
    basis: str
    n_tasks: int
    n_done: int
    walls: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Gathered:
    """All that a page tells in numbers.

    Attributes
    ----------
    n_tasks, n_done, n_gone
        Tasks wanted, done, and not done after at least one failed attempt.
    orders
        By treatment and body order.
    series
        Of two and more bodies, by treatment and body order.
    slowest
        Slowest tasks of this job.
    seats
        Rank and host of everyone who has finished a task, in order.
    seat_of, begun, finished, n_real : (n_computed,)
        Who computed each task and when, in unix seconds, and its real fragments; without tasks whose
        answers came out of a cache or followed by symmetry.
    """

    material: Material
    units: Units
    n_tasks: int
    n_done: int
    n_gone: int
    orders: tuple[BodyOrder, ...]
    series: tuple[Series, ...]
    groups: tuple[Group, ...]
    slowest: tuple[Slow, ...]
    seats: tuple[tuple[int, str], ...]
    seat_of: NDArray[np.int64]
    begun: Floats
    finished: Floats
    n_real: NDArray[np.int64]

    @property
    def complete(self) -> bool:
        return self.n_done == self.n_tasks

    @property
    def failures(self) -> Sequence[Failure]:
        return self.material.failures


def gather(material: Material) -> Gathered:
    """Work out everything."""
    units = Units.known()
    own = material.rows["rank"] >= 0  # what came out of a cache or follows by symmetry was not computed here
    rows = material.rows[own]
    who = rows[["rank", "host"]].astype([("rank", "<i4"), ("host", "S32")])
    seats, seat_of = np.unique(who, return_inverse=True)
    gone = {failure.label for failure in material.failures if failure.label and not failure.recovered}
    done = np.flatnonzero(material.archive.done)
    n_real = np.concatenate([np.full(b.size, b.n_real) for b in material.table.blocks])
    return Gathered(
        material=material,
        units=units,
        n_tasks=material.table.n_tasks,
        n_done=int(material.archive.done.sum()),
        n_gone=len(gone),
        orders=body_orders(
            material.problem, material.table, material.archive.done, material.archive.energies
        ),
        series=tuple(series_of(material, one, units) for one in material.increments() if one.n > 1),
        groups=tuple(_groups(material)),
        slowest=slowest(
            material.table,
            material.snapshot.rows,
            done,
            material.row_of[done],
            material.level_names,
            SLOWEST,
        ),
        seats=tuple((int(seat["rank"]), seat["host"].decode(errors="replace")) for seat in seats),
        seat_of=seat_of.astype(np.int64),
        begun=rows["finished"] - rows["wall"],
        finished=rows["finished"].astype(np.float64),
        n_real=n_real[material.archive.done][own],
    )


def series_of(material: Material, one: Increments, units: Units) -> Series:
    """Increments with their distances."""
    return Series(
        one,
        material.level_names[one.level],
        units.angstrom * largest_of_pairs(material.shortest, one.nmers),
        units.angstrom * largest_of_pairs(material.between_centres, one.nmers),
    )


def _groups(material: Material) -> list[Group]:
    groups = []
    for block in material.table.blocks:
        rows = material.row_of[block.tasks]
        done = material.snapshot.rows[rows[rows >= 0]]
        walls = done["wall"][done["rank"] != DERIVED]
        times = (
            (float(walls.sum()), float(walls.mean()), float(walls.max())) if len(walls) else (0.0, 0.0, 0.0)
        )
        level = material.level_names[block.level]
        groups.append(Group(level, block.n_real, _basis(material, block), block.size, len(done), times))
    return groups


def _basis(material: Material, block: Block) -> str:
    if block.n_basis == block.n_real:
        return "own"
    if block.n_basis == material.table.expansion.n_fragments:
        return "whole cluster"
    return f"{block.n_basis}-mer"


def unfinished(material: Material, count: int) -> list[str]:
    """Labels of the first ``count`` tasks that are not done."""
    names = material.level_names
    tasks = np.flatnonzero(~material.archive.done)[:count]
    return [material.table.label(int(task), names) for task in tasks]
