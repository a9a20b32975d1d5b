"""The master's loop, with ranks and a crew that do as they are told."""

from __future__ import annotations

import select

import numpy as np

from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Finish
from qcmb_mpi.farm.master import Master
from qcmb_mpi.farm.messages import Answers, Tag
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
    """Ranks that give signs of life until they are sent work."""

    def __init__(self, n):
        self.alive = list(range(1, n + 1))
        self.sent = []

    def poll(self):
        return [(rank, Tag.ANSWERS, Answers.join([]).encode()) for rank in self.alive]

    def lost(self):
        return []

    def send(self, rank, tag, data):
        self.alive.remove(rank)
        self.sent.append(rank)


class NoSink:
    def __init__(self):
        self.silences = []

    def silent(self, rank, silent):
        if silent:
            self.silences.append(rank)

    def round(self, schedule, now):
        pass


def test_a_task_that_takes_rank_after_rank_with_it_is_set_aside():
    model = CostModel(np.ones(1, np.float32), TABLE.starts)
    schedule = Schedule(model, np.zeros(1, bool), Policy(silence=0.3))
    ranks = DeadlyRanks(LOST_LIMIT + 1)
    sink = NoSink()
    master = Master(TABLE, schedule, NoCrew(), ranks, sink, stop=lambda: None)
    assert master.run() == Finish(stopped=False)
    assert schedule.state.tolist() == [State.FAILED]
    assert len(set(ranks.sent)) == LOST_LIMIT
    assert sink.silences == ranks.sent
    assert master.failed == {}  # nobody has said anything of it
