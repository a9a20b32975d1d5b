"""Is it the task or the machine?  Finds seats and nodes where tasks fail that succeed elsewhere.

A node without scratch space, or a rank that lacks a program's library, fails task after task, faster
than any other computes one.  A single failure tells nothing.  A *group* is what may be broken
together: one seat, or all seats of a node.  After ``STREAK`` tasks have failed in a group and none
succeeded, it is *doubted*: it gets nothing more as long as there are others, save for a single task
after a pause, which grows.  What decides are the tasks that failed there: one that succeeds elsewhere
proves that the group is broken, and it is *set aside*; one that fails elsewhere too was no proof.

Pure: it knows numbers of seats, nodes and tasks, and the time it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["STREAK", "Trust", "Verdict"]

STREAK = 3  # tasks that fail in a group, and nothing succeeds, before it is doubted
DOUBLINGS = 6  # of the pause of a second after which a doubted group is tried once more


class Doubt(IntEnum):
    """How little a seat is trusted."""

    NONE = 0
    NODE = 1
    SEAT = 2
    PROVEN = 3


@dataclass(eq=False)
class _Group:
    level: Doubt
    seats: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)  # tasks, since something last succeeded here
    proven: bool = False
    paused_until: float = 0.0

    @property
    def doubt(self) -> Doubt:
        if self.proven:
            return Doubt.PROVEN
        return self.level if len(self.failed) >= STREAK else Doubt.NONE

    def disproved_by(self, tasks: Collection[int]) -> bool:
        """Whether it is doubted, and one of these tasks, which have succeeded, had failed here."""
        return not self.proven and bool(self.doubt) and not self.failed.isdisjoint(tasks)


@dataclass(frozen=True)
class Verdict:
    """A group is broken.

    Attributes
    ----------
    seats
        Its seats.
    tasks
        That failed there: no fault of theirs.
    """

    seats: frozenset[int]
    tasks: frozenset[int]


class Trust:
    """Who has failed at what, and what that says."""

    def __init__(self) -> None:
        self._of_seat: dict[int, tuple[_Group, _Group]] = {}  # its own group and its node's
        self._nodes: dict[int, _Group] = {}
        self._suspects: list[_Group] = []  # with failed tasks, or proven
        self._doubted: dict[int, Doubt] = {}  # seats that are not trusted

    def join(self, seat: int, node: int) -> None:
        """A seat on a node is there."""
        if seat in self._of_seat:
            return
        of_node = self._nodes.setdefault(node, _Group(Doubt.NODE))
        of_node.seats.add(seat)
        self._of_seat[seat] = _Group(Doubt.SEAT, {seat}), of_node
        if of_node.doubt:
            self._recount(())

    def failed(self, seat: int, task: int, now: float) -> None:
        """A task has failed at a seat, in a way that may be the machine's fault."""
        mine = self._of_seat[seat]
        for group in self._suspects:
            if group not in mine:
                group.failed.discard(task)  # it fails elsewhere too
        for group in mine:
            group.failed.add(task)
            group.paused_until = now + 2.0 ** min(DOUBLINGS, len(group.failed) - STREAK)
        self._recount(mine)

    def succeeded(self, seat: int, tasks: Collection[int]) -> Verdict | None:
        """Tasks have succeeded at a seat; returns what is proven broken by that."""
        if not self._suspects:
            return None
        mine = self._of_seat[seat]
        for group in mine:
            group.failed.clear()
            group.proven = False
        broken = []
        if self._doubted:
            broken = [g for g in self._suspects if g.disproved_by(tasks)]
        verdict = None
        if broken:
            verdict = Verdict(
                frozenset().union(*(group.seats for group in broken)),
                frozenset().union(*(group.failed for group in broken)),
            )
        for group in broken:
            group.proven = True
        self._recount(())
        return verdict

    def doubted(self, seat: int) -> bool:
        """Whether a seat is not trusted: if it gets anything, then one task."""
        return seat in self._doubted

    def serves(self, seat: int, living: Iterable[int], now: float) -> bool:
        """Whether a seat should get work: it is trusted, its pause is over, or nobody is better."""
        doubt = self._doubted.get(seat, Doubt.NONE)
        if doubt is Doubt.NONE:
            return True
        groups = self._of_seat[seat]
        if doubt < Doubt.PROVEN and all(group.paused_until <= now for group in groups if group.doubt):
            return True
        return all(self._doubted.get(other, Doubt.NONE) >= doubt for other in living)

    def _recount(self, also: Iterable[_Group]) -> None:
        """Who is suspected and doubted now, of those who were and ``also`` these."""
        groups = {id(group): group for group in (*self._suspects, *also)}
        self._suspects = [group for group in groups.values() if group.failed or group.proven]
        self._doubted = {}
        for group in self._suspects:
            for seat in group.seats if group.doubt else ():
                self._doubted[seat] = max(group.doubt, self._doubted.get(seat, Doubt.NONE))
