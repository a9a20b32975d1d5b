"""How fast tasks were finished and how busy the ranks were, from the times in their rows.

Pure numpy.  A row says when its task was finished and how long it took; what is being computed at
this moment, and what failed, left no row and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.store.format import Rows

__all__ = ["Busy", "Group", "Pace", "busy", "pace"]

PAUSE = 60.0  # s in which nobody computes, after which what follows is another session
RECENT = 300.0  # s that count as the last minutes


@dataclass(frozen=True)
class Pace:
    """Tasks per second.

    Attributes
    ----------
    recent_per_second, recent_seconds
        In the last minutes of a running job, and how long that is; None where none is running.
    overall_per_second, working_seconds
        Over all the time in which tasks were computed; pauses between runs left out.
    sessions
        Stretches of work with pauses between them.
    """

    recent_per_second: float | None
    recent_seconds: float | None
    overall_per_second: float | None
    working_seconds: float
    sessions: int


@dataclass(frozen=True)
class Group:
    """One rank or one host.

    Attributes
    ----------
    host, rank
        ``rank`` is None for a whole host.
    ranks, tasks
        Ranks that have finished tasks, and those tasks.
    busy
        Fraction of the time in the engine.
    silent_seconds
        From its last answer to the end of the time looked at.
    """

    host: str
    rank: int | None
    ranks: int
    tasks: int
    busy: float
    silent_seconds: float


@dataclass(frozen=True)
class Busy:
    """How busy ranks were in the last session; a rank's time ends with its last answer while it runs.

    Attributes
    ----------
    overall
        Mean over the ranks; None where there is nothing to tell it from.
    """

    overall: float | None
    ranks: tuple[Group, ...]
    hosts: tuple[Group, ...]


def _computed(rows: Rows) -> Rows:
    """Without what came out of a cache, where times and hosts are another job's, or followed by symmetry."""
    own = rows["rank"] >= 0
    return rows if own.all() else rows[own]


def _sessions(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Begin and end of every stretch of work [unix s]."""
    ends = rows["finished"]
    begins = ends - rows["wall"]
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    new = np.flatnonzero(begins[1:] > ends[:-1] + PAUSE) + 1
    return begins[np.concatenate([[0], new])], ends[np.concatenate([new - 1, [len(ends) - 1]])]


def pace(rows: Rows, until: float | None) -> Pace:
    """The pace of a job.

    Parameters
    ----------
    rows : (n,) ROW
        Its finished tasks.
    until
        Unix time up to which it has been running; None where it is not running.
    """
    rows = _computed(rows)
    if not len(rows):
        return Pace(None, None, None, 0.0, 0)
    begins, ends = _sessions(rows)
    recent = seconds = None
    if until is not None:
        until = max(until, float(ends[-1]))
        seconds = min(RECENT, until - float(begins[-1]))
        if until - float(ends[-1]) < PAUSE:
            ends[-1] = until
        if seconds > 0:
            recent = int(np.count_nonzero(rows["finished"] > until - seconds)) / seconds
    working = float((ends - begins).sum())
    return Pace(recent, seconds, len(rows) / working if working > 0 else None, working, len(begins))


def busy(rows: Rows, until: float | None) -> Busy:
    """How busy ranks and hosts were in the last session.

    Parameters
    ----------
    rows, until
        As for :func:`pace`.
    """
    rows = _computed(rows)
    if not len(rows):
        return Busy(None, (), ())
    begins, ends = _sessions(rows)
    begin, end = float(begins[-1]), float(ends[-1])
    if begins.size > 1:
        rows = rows[rows["finished"] - rows["wall"] >= begin]
    ranks: list[Group] = []
    for host, of_host in _by_host(rows):
        numbers, which = np.unique(of_host["rank"], return_inverse=True)
        tasks = np.bincount(which)
        walls = np.bincount(which, of_host["wall"])
        last = np.full(len(numbers), -np.inf)
        np.maximum.at(last, which, of_host["finished"])
        for i, number in enumerate(numbers.tolist()):
            span = (float(last[i]) if until is not None else end) - begin
            fraction = min(1.0, float(walls[i]) / span) if span > 0 else 0.0
            silent = max(0.0, (end if until is None else max(end, until)) - float(last[i]))
            ranks.append(Group(host, number, 1, int(tasks[i]), fraction, silent))
    hosts = [
        _together([rank for rank in ranks if rank.host == host]) for host in sorted({r.host for r in ranks})
    ]
    overall = sum(rank.busy for rank in ranks) / len(ranks)
    return Busy(overall, tuple(sorted(ranks, key=lambda r: (r.rank or 0, r.host))), tuple(hosts))


def _by_host(rows: Rows) -> list[tuple[str, Rows]]:
    """The rows of each host."""
    if (rows["host"] == rows["host"][0]).all():
        return [(rows["host"][0].decode(errors="replace"), rows)]
    names, which = np.unique(rows["host"], return_inverse=True)
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(which))[:-1])
    return [
        (name.decode(errors="replace"), rows[part]) for name, part in zip(names.tolist(), parts, strict=True)
    ]


def _together(ranks: list[Group]) -> Group:
    return Group(
        host=ranks[0].host,
        rank=None,
        ranks=len(ranks),
        tasks=sum(rank.tasks for rank in ranks),
        busy=sum(rank.busy for rank in ranks) / len(ranks),
        silent_seconds=min(rank.silent_seconds for rank in ranks),
    )
