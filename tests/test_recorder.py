"""When answers are brought to the disk: after the interval, and a lonely one soon enough."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import numpy as np
import pytest

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.messages import Answers, Frames, pack_answer
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.pulse import Pulse
from qcmb_mpi.recorder import SAVE_EVERY, SAVE_WITHIN, Recorder
from qcmb_mpi.report.progress import make_progress


@pytest.mark.parametrize(
    ("n_answers", "after", "saved"),
    [
        (0, SAVE_WITHIN / 2, False),
        (0, SAVE_WITHIN, True),  # there is a lock to be renewed
        (1, SAVE_WITHIN / 2, False),
        (1, 5.0, True),
        (10, SAVE_EVERY / 2, False),
        (10, SAVE_EVERY, True),
    ],
)
def test_a_save_is_due_after_the_interval_or_a_few_seconds_but_not_too_often(n_answers, after, saved):
    saves: list[bool] = []
    archive = SimpleNamespace(append=lambda *_: None, n_done=0, store=SimpleNamespace(save=saves.append))
    progress = make_progress("none", 10, io.StringIO())
    recorder = Recorder(archive, progress, {}, 10, lambda: (None, ""), Pulse(None, 1), str)  # type: ignore[arg-type]
    begin = time.monotonic()
    schedule = Schedule(CostModel(np.ones(10, np.float32), np.array([0])), np.zeros(10, bool), Policy())
    if n_answers:
        messages = [
            Frames().feed(pack_answer(t, 0, Answer(-1.0), 0.1, 0.1, 9.0))[0] for t in range(n_answers)
        ]
        recorder.append(Answers.decode_all(messages), 0, np.zeros(n_answers, dtype=np.int64))
    recorder.round(schedule, begin + after + 0.01)
    assert bool(saves) == saved
