"""The text of a result file: the result whatever its form, and no more memory than the text needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clusters import HF, PAIR, many_body

from qcmb_mpi import ParallelManyBodyComputer
from qcmb_mpi.report.result_file import Form, serialised

TESTS = Path(__file__).parents[1]

#: A result with 24 MB of derivatives, and how much memory its text takes at most, in units of those.
LARGE = f"""
import sys; sys.path.insert(0, {str(TESTS)!r})
import numpy as np
from clusters import HF, PAIR, many_body
from qcmb_mpi import ParallelManyBodyComputer
from qcmb_mpi.report.result_file import Form, serialised

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

content = many_body(PAIR, level=HF, driver="gradient")
small = ParallelManyBodyComputer.from_manybodyinput(content, parallel=False)
some = next(iter(small.cluster_properties.values()))
each = [some.model_copy(update={{"return_gradient": np.full((5000, 3), 0.1 * i)}}) for i in range(200)]
large = small.model_copy(update={{"cluster_properties": dict(zip(map(str, range(200)), each))}})
before = peak()
text = serialised(large, Form())
print((peak() - before) / sum(one.return_gradient.nbytes for one in each))
"""


@pytest.fixture(scope="module")
def result() -> object:
    content = many_body(PAIR, level=HF, driver="gradient")
    return ParallelManyBodyComputer.from_manybodyinput(content, parallel=False)


def test_every_form_says_the_same(result) -> None:
    meant = json.loads(result.model_dump_json())
    assert meant["cluster_properties"]  # or nothing with derivatives of single tasks is compared
    assert "§" in meant["stdout"]
    for pretty in (True, False):
        text = serialised(result, Form(pretty=pretty))
        assert (len(text.splitlines()) > 100) is pretty
        assert json.loads(text) == meant
        assert yaml.safe_load(serialised(result, Form("yaml", pretty))) == meant


def test_without_timings_only_times_are_missing(result) -> None:
    whole = json.loads(serialised(result, Form()))
    less = json.loads(serialised(result, Form(timings=False)))
    times = whole["provenance"].keys() - less["provenance"].keys()
    assert {"wall_seconds", "efficiency"} <= times
    assert {**whole, "provenance": None} == {**less, "provenance": None}


def test_derivatives_of_many_tasks_are_written_in_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 6  # by way of Python's floats it is above 12
