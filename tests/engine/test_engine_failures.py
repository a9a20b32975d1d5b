"""Kinds of failure."""

import numpy as np
import pytest

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import EngineFailure, Kind, checked, classify
from qcmb_mpi.errors import InputError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EngineFailure(Kind.CONVERGENCE, "no"), Kind.CONVERGENCE),
        (MemoryError(), Kind.MEMORY),
        (InputError("bad", "basis"), Kind.INPUT),
        (RuntimeError("boom"), Kind.CRASH),
        (KeyError("x"), Kind.CRASH),
    ],
)
def test_everything_raised_has_a_kind(error, kind):
    assert classify(error)[0] is kind


def test_messages_tell_what_was_raised():
    assert classify(RuntimeError("boom"))[1] == "RuntimeError: boom"
    assert classify(InputError("bad", "basis"))[1] == "basis: bad"
    assert classify(MemoryError())[1] == "out of memory"


def test_good_answers_pass_unchanged():
    answer = Answer(-1.0, np.zeros((2, 3)))
    assert checked(answer, 2, "gradient") is answer


@pytest.mark.parametrize(
    ("answer", "driver", "words"),
    [
        (Answer(float("nan")), "energy", "nan"),
        (Answer(float("inf")), "energy", "inf"),
        (Answer(-1.0), "gradient", "no gradient"),
        (Answer(-1.0, np.zeros((2, 3))), "hessian", "no hessian"),
        (Answer(-1.0, np.zeros((3, 2))), "gradient", "shape"),
        (Answer(-1.0, np.full((2, 3), np.nan)), "gradient", "finite"),
        (Answer(-1.0, None, np.zeros((3, 3))), "hessian", "shape"),
    ],
)
def test_what_is_not_an_answer_is_a_crash(answer, driver, words):
    with pytest.raises(EngineFailure, match=words) as failure:
        checked(answer, 2, driver)
    assert failure.value.kind is Kind.CRASH
