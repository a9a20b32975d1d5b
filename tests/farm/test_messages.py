"""What travels arrives as it was sent."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.messages import Answers, Frames, Work, failure, frame, make_work, pack_answer

TABLE = plan(Expansion(5, ("nocp", "cp", "vmfc"), ((1, 2, 3),), return_total_data=True))


def unpack(data: bytes) -> Answers:
    (message,) = Frames().feed(data)
    return Answers.decode(message)


@given(st.lists(st.integers(0, TABLE.n_tasks - 1), min_size=1, max_size=40, unique=True))
def test_work_names_each_task_with_its_fragments(tasks):
    work = Work.decode(make_work(TABLE, np.array(tasks), np.arange(len(tasks))).encode())
    for position, (task, sturdiness, width, level, real, basis) in enumerate(work):
        basis = list(range(5)) if basis is None else basis.tolist()
        assert (task, sturdiness, width) == (tasks[position], position, 1)
        assert (level, tuple(real.tolist()), tuple(basis)) == TABLE.members(task)


@given(st.data())
def test_work_can_be_cut(data):
    tasks = data.draw(st.lists(st.integers(0, TABLE.n_tasks - 1), min_size=1, max_size=20, unique=True))
    first = data.draw(st.integers(0, len(tasks)))
    work = make_work(TABLE, np.array(tasks))
    rest = [(task, real.tolist()) for task, _, _, _, real, _ in work.without(first)]
    assert rest == [(task, real.tolist()) for task, _, _, _, real, _ in work][first:]


def answers() -> list[bytes]:
    gradient, hessian = np.arange(6.0), np.arange(36.0)
    return [
        pack_answer(3, 0, Answer(-1.5), 0.1, 0.2, 9.0),
        pack_answer(4, 1, Answer(-2.5, gradient, None, "sturdier", {"a": "record"}), 0.1, 0.2, 9.0),
        frame(failure(5, 0, Kind.TIMEOUT, "too slow", 3.0, 9.0).encode()),
        pack_answer(6, 0, Answer(-3.5, gradient, hessian), 0.1, 0.2, 9.0),
    ]


def test_a_packed_answer_reads_back():
    answer = unpack(answers()[1])
    head = answer.heads[0]
    assert (head["task"], head["kind"], head["sturdiness"], head["energy"]) == (4, 0, 1, -2.5)
    assert answer.floats.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert answer.text(0) == "sturdier"
    assert json.loads(zlib.decompress(answer.texts[len("sturdier") :])) == {"a": "record"}


def test_joined_answers_can_be_told_apart_again():
    joined = Answers.decode(Answers.join([unpack(data) for data in answers()]).encode())
    assert joined.heads["task"].tolist() == [3, 4, 5, 6]
    assert [joined.text(i) for i in range(4)] == ["", "sturdier", "too slow", ""]
    some = joined.only(np.array([False, True, False, True]))
    assert some.heads["task"].tolist() == [4, 6]
    assert some.floats.tolist() == [*range(6), *range(6), *range(36)]


@pytest.mark.parametrize("chosen", [[0], [0, 0, 0], [1, 0], [2], []])
def test_decoding_at_once_is_decoding_one_by_one(chosen):
    messages = [Frames().feed(answers()[i])[0] for i in chosen]
    at_once = Answers.decode_all(messages)
    one_by_one = Answers.join([Answers.decode(message) for message in messages])
    assert at_once.encode() == one_by_one.encode()


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 20))
def test_frames_survive_any_cutting_of_the_stream(messages, step):
    stream = b"".join(frame(message) for message in messages)
    frames = Frames()
    found = [m for at in range(0, len(stream), step) for m in frames.feed(stream[at : at + step])]
    assert found == messages
