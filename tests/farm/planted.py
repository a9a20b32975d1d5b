"""Bugs planted into the schedule one at a time: how fast do the invariants find each?

    python tests/farm/planted.py [--examples 300]

A bug is a change of a few characters in one of the schedule's files, which are then imported anew.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from invariants import Case, cases, play

import qcmb_mpi.farm
from qcmb_mpi.farm.schedule import Schedule

__all__ = ["BUGS", "Bug", "Found", "hunt"]

#: The files a bug may be in, those that import the others last.
FILES = ("seats", "trust", "queue", "schedule")


@dataclass(frozen=True)
class Bug:
    """A wrong line: in ``file`` stands ``wrong`` instead of ``right``."""

    name: str
    file: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Found:
    """How a bug was found: after so many examples and seconds of the processor, and what was said."""

    examples: int
    seconds: float
    by: str


class _Enough(Exception):
    """A bug has been found."""


BUGS = (
    Bug(
        "a late answer is counted twice",
        "schedule",
        "wanted = np.asarray(before != State.DONE)",
        "wanted = np.ones(len(tasks), dtype=bool)",
    ),
    Bug(
        "the answer of a seat that was given up is thrown away",
        "schedule",
        "wanted = np.asarray(before != State.DONE)",
        "wanted = np.asarray(before == State.OUT)",
    ),
    Bug(
        "a task answered late stays in the queue",
        "schedule",
        "self._queue.sieve(self.state == State.WAITING)",
        "pass",
    ),
    Bug(
        "a retry goes back to where it failed",
        "queue",
        "return seat not in shunned or all",
        "return True or all",
    ),
    Bug(
        "a seat is forgotten after a failure",
        "schedule",
        "self._failed(seat, task, kind, now)\n                self._rest(seat)",
        "self._failed(seat, task, kind, now)",
    ),
    Bug(
        "what a lost seat held is not queued again",
        "schedule",
        "self._queue.retry(task)\n        self._leave(seat)",
        "pass\n        self._leave(seat)",
    ),
    Bug(
        "a lost seat still gets work",
        "seats",
        "self.idle.pop(seat.number, None)\n        return held",
        "return held",
    ),
    Bug(
        "a silent seat is believed for ever",
        "schedule",
        "now - seat.heard > self.policy.silence",
        "now - seat.heard > 1e9",
    ),
    Bug(
        "a stop is ignored",
        "schedule",
        "if self._stop_at is None:\n            commands += self._feed(now)",
        "if True:\n            commands += self._feed(now)",
    ),
    Bug(
        "a stop has no end",
        "schedule",
        "(out == 0 or now >= self._stop_at)",
        "out == 0",
    ),
    Bug(
        "the last task of a batch is sent twice",
        "queue",
        "self._cursor += len(tasks)",
        "self._cursor += max(1, len(tasks) - 1)",
    ),
    Bug(
        "no sturdier method after no convergence",
        "schedule",
        "self._sturdiness.get(task, 0) + 1",
        "self._sturdiness.get(task, 0)",
    ),
    Bug(
        "one try too many",
        "schedule",
        "self._tries[task] > self.policy.max_retries",
        "self._tries[task] > self.policy.max_retries + 1",
    ),
    Bug(
        "one try too few",
        "schedule",
        "self._tries[task] > self.policy.max_retries",
        "self._tries[task] >= self.policy.max_retries",
    ),
    Bug(
        "a task may take any number of seats with it",
        "schedule",
        "self._losses[task] >= LOST_LIMIT",
        "self._losses[task] >= 10**9",
    ),
    Bug(
        "wrong input is tried again",
        "schedule",
        "kind is Kind.INPUT or",
        "",
    ),
    Bug(
        "a failure counts though the task was taken away",
        "schedule",
        "if task not in seat.held:\n            return",
        "if False:\n            return",
    ),
    Bug(
        "a task that needs a node is sent to a busy one",
        "schedule",
        "if any(other.held for other in here):",
        "if False:",
    ),
    Bug(
        "a node that is taken is never given back",
        "schedule",
        "del self._taken[seat.node]",
        "pass",
    ),
    Bug(
        "what cannot end is begun",
        "queue",
        'if left < float("inf"):\n            self._part_with_late(left)',
        "",
    ),
    Bug(
        "nobody ends a job in which all that waits is late",
        "schedule",
        "(over or stopped or late)",
        "(over or stopped)",
    ),
    Bug(
        "a doubted seat gets nothing though there is no better",
        "trust",
        "return all(self._doubted.get(other, Doubt.NONE) >= doubt for other in living)",
        "return False",
    ),
)


@contextmanager
def planted(bug: Bug) -> Iterator[type[Schedule]]:
    """The schedule with a bug; the modules as they are come back afterwards."""
    names = [f"qcmb_mpi.farm.{file}" for file in FILES]
    kept = {name: importlib.import_module(name) for name in names}
    source = inspect.getsource(kept[f"qcmb_mpi.farm.{bug.file}"])
    assert source.count(bug.right) == 1, f"{bug.file}.py has changed: where is {bug.right!r}?"
    try:
        for name, file in zip(names, FILES, strict=True):
            del sys.modules[name]
            if file == bug.file:
                module = types.ModuleType(name)
                sys.modules[name] = module
                exec(compile(source.replace(bug.right, bug.wrong), f"{file}.py", "exec"), module.__dict__)
            else:
                module = importlib.import_module(name)
        yield sys.modules["qcmb_mpi.farm.schedule"].Schedule
    finally:
        sys.modules.update(kept)
        for file in FILES:
            setattr(qcmb_mpi.farm, file, kept[f"qcmb_mpi.farm.{file}"])


def hunt(bug: Bug, most_examples: int) -> Found | None:
    """Try the cases of the test suite, always the same ones, until one breaks a rule."""
    begin = time.process_time()
    examples = 0
    found: Found | None = None

    with planted(bug) as schedule:

        @settings(
            max_examples=most_examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def search(case: Case) -> None:
            nonlocal examples, found
            if found is not None:
                raise _Enough  # hypothesis repeats what has failed
            examples += 1
            try:
                play(case, schedule)
            except Exception as error:
                text = str(error).partition("\n")[0]
                found = Found(examples, time.process_time() - begin, f"{type(error).__name__}: {text}")
                raise _Enough from error

        with suppress(_Enough):
            search()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=300, help="give up after so many")
    options = parser.parse_args()
    print(f"{'planted bug':<58} {'examples':>8} {'seconds':>8}  found by")
    for bug in BUGS:
        found = hunt(bug, options.examples)
        if found is None:
            print(f"{bug.name:<58} {'-':>8} {'-':>8}  not found", flush=True)
        else:
            print(f"{bug.name:<58} {found.examples:>8} {found.seconds:>8.2f}  {found.by[:80]}", flush=True)


if __name__ == "__main__":
    main()
