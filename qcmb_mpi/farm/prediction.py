"""What a plan will cost, from the times of a few of its tasks: seconds of each kind, and of the whole.

Pure arithmetic: no clock, no process, no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.farm.cost import POWER
from qcmb_mpi.farm.kinds import ALIKE, Kinds

__all__ = ["Bill", "Model", "Point", "Wall", "bill", "makespan", "wall"]

MOST_POWER = 7.0  # that of CCSD(T)
APART = 1.3  # sizes that differ by less tell nothing about the power
MASTER = 15e-6  # s that the master spends on a task (docs/performance.md)


@dataclass(frozen=True)
class Point:
    """What is known of one kind.

    Attributes
    ----------
    level, n_real, n_basis
        Of its block.
    functions
        Its size, as in :class:`Kinds`.
    seconds
        Mean time of its tasks.
    at_least
        Whether the task was stopped after that time, not finished.
    """

    level: int
    n_real: int
    n_basis: int
    functions: float
    seconds: float
    at_least: bool = False

    @property
    def block(self) -> tuple[int, int, int]:
        return self.level, self.n_real, self.n_basis


class Model:
    """Seconds of any kind of task, from those that were measured.

    A kind takes after the nearest measured size of its block, else of its level, else of all; the
    time grows with a power of the basis functions.  That power is the slope between the largest
    measured sizes of the level, but never less than the farm's own estimate takes, since small
    tasks with their constant part know nothing of how large ones grow.

    Parameters
    ----------
    points
        What was measured.

    Raises
    ------
    ValueError
        If nothing was.
    """

    def __init__(self, points: Sequence[Point]):
        self._points = [point for point in points if not point.at_least]
        self._stopped = [point for point in points if point.at_least]
        if not self._points:
            raise ValueError("nothing was measured")

    def power(self, level: int) -> float:
        """With which power of the basis functions the time grows at a level."""
        known = sorted((p.functions, p.seconds) for p in self._points if p.level == level)
        if not known:
            return POWER
        large, slow = known[-1]
        below = [(functions, seconds) for functions, seconds in known if functions * APART <= large]
        if not below:
            return POWER
        small, quick = below[-1]
        slope = float(np.log(slow / quick) / np.log(large / small))
        return min(max(slope, POWER), MOST_POWER)

    def seconds(self, kinds: Kinds) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Expected seconds of a task of each kind.

        Returns
        -------
        seconds : (n,) float64
        measured : (n,) bool
            Whether a kind of this block and nearly this size was measured; else it is extrapolated.
        """
        powers = {level: self.power(level) for level in np.unique(kinds.level).tolist()}
        seconds = np.zeros(len(kinds))
        measured = np.zeros(len(kinds), dtype=bool)
        for block, members in kinds.blocks().items():
            level = block[0]
            own = [point for point in self._points if point.block == block]
            near = own or [point for point in self._points if point.level == level] or self._points
            functions = kinds.functions[members]
            sizes = np.array([point.functions for point in near])
            times = np.array([point.seconds for point in near])
            apart = np.abs(np.log(functions[:, None] / sizes))
            nearest = apart.argmin(axis=1)
            measured[members] = bool(own) & (apart.min(axis=1) <= np.log(ALIKE) + 1e-9)
            seconds[members] = times[nearest] * (functions / sizes[nearest]) ** powers[level]
            for point in self._stopped:
                if point.level == level:
                    slower = (functions >= point.functions) & ~measured[members]
                    seconds[members] = np.where(
                        slower, np.maximum(seconds[members], point.seconds), seconds[members]
                    )
        return seconds, measured


@dataclass(frozen=True)
class Bill:
    """What a plan costs.

    Attributes
    ----------
    n_tasks
        Its tasks.
    seconds
        Of all tasks together.
    longest
        Of the longest one.
    extrapolated
        Share of the seconds in kinds that were not measured.
    """

    n_tasks: int
    seconds: float
    longest: float
    extrapolated: float

    @property
    def handing_out(self) -> float:
        """Seconds that the master needs for so many tasks."""
        return MASTER * self.n_tasks

    @property
    def useful_ranks(self) -> int:
        """How many ranks there can be before the longest task, or the master, keeps the others waiting."""
        floor = max(self.longest, self.handing_out)
        return max(1, int(self.seconds / floor)) if floor else 1


def bill(kinds: Kinds, model: Model) -> Bill:
    """What tasks of these kinds cost."""
    each, measured = model.seconds(kinds)
    total = kinds.count * each
    seconds = float(total.sum())
    guessed = float(total[~measured].sum()) / seconds if seconds else 0.0
    return Bill(kinds.n_tasks, seconds, float(each.max(initial=0.0)), guessed)


def makespan(seconds: NDArray[np.float64], counts: NDArray[np.int64], ranks: int) -> float:
    """How long ``ranks`` take for all tasks, each rank taking the longest one left when it is free.

    Parameters
    ----------
    seconds, counts : (n,)
        Time of a task and number of tasks of each kind.
    ranks
        Those that compute.
    """
    loads = np.zeros(ranks)
    for kind in np.argsort(-seconds, kind="stable").tolist():
        loads = _share(np.sort(loads), float(seconds[kind]), int(counts[kind]))
    return float(loads.max())


def _share(loads: NDArray[np.float64], duration: float, n: int) -> NDArray[np.float64]:
    """Ascending loads with ``n`` equal tasks more, each given to the least loaded rank."""
    if not n or loads[0] + duration == loads[0]:
        return loads
    # if tasks were water, it would stand at this level; no rank ends more than a task below it
    levels = (np.cumsum(loads) + n * duration) / np.arange(1, len(loads) + 1)
    level = float(levels[np.flatnonzero(levels > loads)[-1]])
    given = np.maximum(0, np.floor((level - duration - loads) / duration)).astype(np.int64)
    loads = np.sort(loads + given * duration)
    left = n - int(given.sum())
    while left > 0:
        # with equal tasks, those less than a task above the least loaded come before it a second time
        takers = min(left, int(np.searchsorted(loads, loads[0] + duration)))
        loads[:takers] += duration
        loads = np.sort(loads)
        left -= takers
    return loads


@dataclass(frozen=True)
class Wall:
    """How long a plan takes.

    Attributes
    ----------
    ranks
        On so many ranks.
    seconds
        From the first task to the last answer.
    busy
        Share of the ranks' time in the engine.
    """

    ranks: int
    seconds: float
    busy: float


def wall(kinds: Kinds, model: Model, ranks: int, warm_up: float = 0.0) -> Wall:
    """How long a plan takes on so many ranks.

    Parameters
    ----------
    warm_up
        Seconds by which the first tasks of every runner take longer.
    """
    each, _ = model.seconds(kinds)
    seconds = max(makespan(each, kinds.count, ranks), MASTER * kinds.n_tasks) + warm_up
    total = float((kinds.count * each).sum())
    return Wall(ranks, seconds, total / (ranks * seconds) if seconds else 0.0)
