"""The loop of every rank but 0: hand work to this rank's runner, hand its answers back.

It knows the tags of messages but not what tasks are.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from qcmb_mpi.farm.local import Crew
from qcmb_mpi.farm.messages import Answers, Tag, Work

if TYPE_CHECKING:
    from qcmb_mpi.farm.mpi import World

__all__ = ["stand_by", "work"]

REPORT_EVERY = 0.2  # seconds of answers that travel in one message, while there is work to go on with
WATCH = 0.2  # seconds between two looks at MPI while the runner computes
NAP = 0.0005, 0.005  # the same when it has nothing to do: first, and longest for half a second
IDLER = 100  # beyond that a rank naps for this part of the time that it has had nothing to do


def work(world: World, crew: Crew, heartbeat: float) -> int:
    """Compute until rank 0 says that it is over.

    Parameters
    ----------
    world
        The ranks.
    crew
        This rank's runner, already started.
    heartbeat
        Seconds between two signs of life.

    Returns
    -------
    int
        Exit code that rank 0 decided on.
    """
    seat = world.rank
    unsent: list[Answers] = [Answers.join([])]  # an empty report says that this seat has joined
    sent_at = -float("inf")
    nap, idle_since = NAP[0], time.monotonic()
    woken = False  # by the runner: it is about to run out of work, or has
    while True:
        for _, tag, data in world.poll():
            if tag == Tag.END:
                return int(data)
            crew.send(seat, Work.decode(data))
        unsent += [answers for _, answers in crew.poll()]
        now = time.monotonic()
        due = now - sent_at >= (REPORT_EVERY if unsent and crew.waiting(seat) > 1 else heartbeat)
        if due or (unsent and (woken or crew.waiting(seat) <= 1)):
            world.send(0, Tag.ANSWERS, Answers.join(unsent).encode())
            unsent, sent_at = [], now
        if world.orphaned:
            os._exit(1)
        if crew.waiting(seat):
            woken = crew.wait(WATCH)
            nap, idle_since = NAP[0], time.monotonic()
        else:
            woken = crew.wait(nap)
            nap = min(2 * nap, max(NAP[1], (now - idle_since) / IDLER), WATCH)


def stand_by(world: World) -> int:
    """Take no part, but leave with the others; returns the exit code that rank 0 decided on."""
    while True:
        for _, tag, data in world.poll():
            if tag == Tag.END:
                return int(data)
        if world.orphaned:
            os._exit(1)
        time.sleep(10 * NAP[1])
