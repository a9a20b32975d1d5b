"""The master's loop, with ranks and a crew that do as they are told."""

from __future__ import annotations

import select

import numpy as np

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Finish
from qcmb_mpi.farm.master import Master
from qcmb_mpi.farm.messages import Answers, Frames, Tag, pack_answer
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import LOST_LIMIT, Schedule, State

TABLE = plan(Expansion(1, ("nocp",), ((1,),), return_total_data=True))


class NoCrew:
    seats = ()

    def poll(self):
        return []

    def wait(self, seconds, also=()):
        select.select([], [], [], seconds)


class DeadlyRanks:
    """Ranks that give signs of life until they are sent work; MPI may notice that they have died."""

    def __init__(self, n, noticed=False):
        self.noticed = noticed
        self.alive = list(range(1, n + 1))
        self.sent = []
        self.dead = []

    def poll(self):
        return [(rank, Tag.ANSWERS, Answers.join([]).encode()) for rank in self.alive]

    def lost(self):
        dead, self.dead = self.dead, []
        return dead

    def send(self, rank, tag, data):
        self.alive.remove(rank)
        self.sent.append(rank)
        if self.noticed:
            self.dead.append(rank)


class NoSink:
    def __init__(self):
        self.silences = []
        self.losses = []

    def silent(self, rank):
        self.silences.append(rank)

    def lost(self, rank):
        self.losses.append(rank)

    def round(self, schedule, now):
        pass


def killing_task(silence, noticed):
    """A task that kills every rank it is sent to; what schedule, ranks, sink and master say of it."""
    schedule = Schedule(
        CostModel(np.ones(1, np.float32), TABLE.starts), np.zeros(1, bool), Policy(silence=silence)
    )
    ranks, sink = DeadlyRanks(LOST_LIMIT + 1, noticed), NoSink()
    master = Master(TABLE, schedule, NoCrew(), ranks, sink, stop=lambda: None)
    assert master.run() == Finish(stopped=False)
    assert schedule.state.tolist() == [State.FAILED]
    assert len(set(ranks.sent)) == LOST_LIMIT
    assert master.failed == {}  # nobody has said anything of it
    return ranks, sink


def test_a_task_that_takes_rank_after_rank_with_it_is_set_aside():
    ranks, sink = killing_task(silence=0.3, noticed=False)
    assert sink.silences == ranks.sent


def test_ranks_that_mpi_says_have_died_are_not_waited_for():
    ranks, sink = killing_task(silence=3.0, noticed=True)
    assert sink.losses == ranks.sent
    assert sink.silences == []


class HonestRanks(DeadlyRanks):
    """Ranks that say so when they cannot compute what they were sent, all but the last."""

    def __init__(self, n):
        super().__init__(n)
        self.said = []

    def send(self, rank, tag, data):
        self.sent.append(rank)
        if len(self.alive) > 1:
            self.alive.remove(rank)
            self.said.append((rank, Tag.LOST, b""))
        else:
            frame = pack_answer(0, 0, Answer(-1.0), 0.1, 0.1, 1.0)
            self.said.append((rank, Tag.ANSWERS, Frames().feed(frame)[0]))

    def poll(self):
        said, self.said = self.said, []
        return super().poll() + said


class KeepingSink(NoSink):
    def append(self, answers, seat, attempts):
        self.kept = (seat, answers.heads["energy"].tolist())


def test_a_rank_that_says_it_is_lost_gives_its_tasks_back_at_once():
    model = CostModel(np.ones(1, np.float32), TABLE.starts)
    schedule = Schedule(model, np.zeros(1, bool), Policy())  # no silence would ever be noticed
    sink = KeepingSink()
    master = Master(TABLE, schedule, NoCrew(), HonestRanks(2), sink, stop=lambda: None)
    assert master.run() == Finish(stopped=False)
    assert sink.kept == (2, [-1.0])
