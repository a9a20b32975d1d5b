"""The seats of a schedule: who is there, what each holds, and when it will want more.

Pure bookkeeping; what follows from it is decided in ``schedule.py``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Seat", "Seats"]


@dataclass(eq=False)
class Seat:
    """What the schedule knows of a seat.

    Attributes
    ----------
    number
        Its own.
    node
        Number of the node it is on.
    gone
        Not believed any more.
    warm
        Has answered before.
    held
        Tasks it was sent and has not answered.
    dry_at
        When it will probably have computed all it holds.
    due_at
        When it is to get its next batch.
    answer_by
        When it will have answered something, unless it is slow or hangs.
    pace
        How many times as long as expected its tasks take.
    heard
        When it last gave a sign of life.
    """

    number: int
    node: int = 0
    gone: bool = False
    warm: bool = False
    held: set[int] = field(default_factory=set)
    dry_at: float = 0.0
    due_at: float = 0.0
    answer_by: float = 0.0
    pace: float = 1.0
    heard: float = 0.0


class Seats:
    """All seats that were ever heard of.

    Parameters
    ----------
    nodes
        Node of each seat; those that are not in it are on node 0.

    Attributes
    ----------
    idle
        Living seats holding nothing, longest idle first.
    unsure
        Seats at work of unknown duration.
    """

    def __init__(self, nodes: Mapping[int, int]):
        self.idle: dict[int, None] = {}
        self.unsure: set[int] = set()
        self._nodes = nodes
        self._seats: dict[int, Seat] = {}
        self._on: dict[int, list[Seat]] = {}  # node -> its seats
        self._due: list[tuple[float, int]] = []  # when a seat will want its next batch

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats.values())

    def __getitem__(self, number: int) -> Seat:
        return self._seats[number]

    def living(self) -> Iterator[int]:
        """Numbers of the seats that are believed."""
        return (number for number, seat in self._seats.items() if not seat.gone)

    def is_gone(self, number: int) -> bool:
        """Whether a seat was heard of and is not believed any more."""
        return number in self._seats and self._seats[number].gone

    def on(self, node: int) -> list[Seat]:
        """The living seats of a node."""
        return [seat for seat in self._on.get(node, ()) if not seat.gone]

    def hear(self, number: int, now: float) -> Seat:
        """A sign of life: also a seat that was given up is believed again."""
        seat = self._seats.get(number)
        if seat is None:
            seat = self._seats[number] = Seat(number, self._nodes.get(number, 0))
            self._on.setdefault(seat.node, []).append(seat)
        seat.gone = False
        seat.heard = now
        return seat

    def lose(self, seat: Seat) -> set[int]:
        """A seat is not believed any more; returns what it held."""
        held, seat.held = seat.held, set()
        seat.gone = True
        self.unsure.discard(seat.number)
        self.idle.pop(seat.number, None)
        return held

    def rest(self, seat: Seat) -> bool:
        """Note if a living seat holds nothing; returns whether that is new."""
        if seat.held or seat.gone or seat.number in self.idle:
            return False
        self.idle[seat.number] = None
        return True

    def expect(self, seat: Seat, dry_at: float, ahead: float) -> None:
        """A seat will probably have computed all it holds at ``dry_at``: it is due ``ahead`` of that."""
        seat.dry_at = dry_at
        seat.due_at = dry_at - ahead
        heapq.heappush(self._due, (seat.due_at, seat.number))

    @property
    def next_due(self) -> float:
        """When the next seat wants its next batch; what does not hold any more is dropped."""
        while self._due:
            due_at, number = self._due[0]
            seat = self._seats[number]
            if due_at == seat.due_at and seat.held and number not in self.unsure:
                return due_at
            heapq.heappop(self._due)
        return float("inf")

    def pop_due(self, now: float) -> Seat | None:
        """The seat that is due first, if it is by now; it is not due again until it is expected to be."""
        return self._seats[heapq.heappop(self._due)[1]] if self.next_due <= now else None
