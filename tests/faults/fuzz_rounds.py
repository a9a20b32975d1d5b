"""Jobs that go on with a damaged checkpoint, from opening it to the result, each in a forked process.

All of the job is the program's own but the runners: tasks are computed in the same process.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from damage import ask_forked, damage
from jobs import CHECKPOINT, Place, Shape, Undisturbed
from program import bits_of
from toy import DATA

from qcmb_mpi import job
from qcmb_mpi.config import merge
from qcmb_mpi.errors import StoreError
from qcmb_mpi.farm import runner
from qcmb_mpi.farm.messages import Answers, Frames, Work, pack_answer
from qcmb_mpi.inputs import load
from qcmb_mpi.reading import look
from qcmb_mpi.store import salvage
from qcmb_mpi.store.snapshot import read

PATIENCE = 60  # seconds for a round; a second is usual


@dataclass(frozen=True)
class Original:
    """A checkpoint to be damaged, and how many tasks it has."""

    path: Path
    n_rows: int


class Here:
    """A crew that computes in this process."""

    def __init__(self) -> None:
        self.seats: tuple[int, ...] = ()
        self.computed: list[int] = []
        self._work: list[tuple[int, Work]] = []

    def prepare(self, setup: runner.Setup) -> None:
        self._prepared = runner.prepare(setup)

    def start(self, seats: Sequence[int]) -> None:
        self.seats = tuple(seats)

    def describe(self) -> runner.Description:
        return runner.describe(self._prepared)

    def send(self, seat: int, work: Work) -> None:
        self._work.append((seat, work))

    def poll(self) -> list[tuple[int, Answers]]:
        found = [
            (seat, Answers.decode_all([self._compute(*task) for task in work])) for seat, work in self._work
        ]
        self._work = []
        return found

    def _compute(self, task: int, sturdiness: int, width: int, level: int, real: Any, basis: Any) -> bytes:
        prepared, setup = self._prepared, self._prepared.setup
        whole = np.arange(setup.cluster.n_fragments)
        molecule = prepared.cutter.cut(real, whole if basis is None else basis)
        answer = prepared.engines[level].compute(setup.levels[level], setup.driver, molecule, setup.resources)
        self.computed.append(task)
        return Frames().feed(pack_answer(task, sturdiness, answer, 0.001, 0.001, time.time()))[0]

    def wait(self, seconds: float, also: Sequence[int] = ()) -> bool:
        return True

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


@cache
def finished(folder: Path) -> Original:
    """The checkpoint of an undisturbed job."""
    return Original(folder / CHECKPOINT, len(read(folder / CHECKPOINT).rows))


@cache
def killed_half_way(folder: Path, shape: Shape) -> Original:
    """The checkpoint of a job of the same shape that was killed in the middle."""
    place = Place(folder.with_name(f"{folder.name}-killed"), shape)
    place.write_input(checkpoint_interval=1, n_workers=2)
    place.toy.takes(0.1)
    running = place.start(None)
    running.wait_until(lambda: sum(place.toy.tries().values()) > 8)
    time.sleep(0.6)  # a save is due
    running.kill()
    n_rows = len(read(place.checkpoint).rows)
    assert n_rows
    return Original(place.checkpoint, n_rows)


class Words(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def run(seed: int, folder: Path, references: list[Undisturbed]) -> int:
    """Go on with the damaged checkpoint of a seed, in a child; returns 1 for this one."""
    random = np.random.default_rng([2026, seed])
    reference = references[int(random.integers(len(references)))]
    killed = random.random() < 0.5
    original = killed_half_way(reference.folder, reference.shape) if killed else finished(reference.folder)
    folder.mkdir(parents=True)
    shutil.copy(original.path, folder / CHECKPOINT)
    damage(folder / CHECKPOINT, random)
    said = folder.with_name(f"{folder.name}-child.txt")
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        code = 1
        try:
            with open(said, "w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            outcome = go_on(folder, reference, original.n_rows, thorough=random.random() < 0.2)
            said.write_text(outcome)
            code = 0
        except BaseException:
            said.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), f"ended by signal {os.WTERMSIG(status)}\n{said.read_text()}"
    text = said.read_text()
    assert status == 0, text
    return 1


def go_on(folder: Path, reference: Undisturbed, n_rows: int, thorough: bool) -> str:
    """Go on from a damaged checkpoint; returns how that went: refused, salvaged or whole.

    Thoroughly: look into it as ``report`` does before, and go on once more afterwards.
    """
    path = folder / CHECKPOINT
    salvage._ask_child = ask_forked
    sys.path.insert(0, str(DATA))
    toy = Path(tempfile.mkdtemp(dir=folder))
    os.environ["TOY_FOLDER"] = str(toy)
    words = Words()
    logging.getLogger("qcmb_mpi").addHandler(words)
    if thorough:
        refusal(path, lambda: look(path))
    runs: list[tuple[dict[str, Any], Here]] = []
    refused = refusal(path, lambda: runs.append(finish(path, reference)))
    if refused:
        assert "--overwrite" in refused or "--checkpoint" in refused, f"it does not say what to do: {refused}"
        return "refused"
    ((result, crew),) = runs
    check(result, reference, words.said, n_rows, path)
    lost = n_rows - result["provenance"]["tasks_reused"]
    assert len(crew.computed) == len(reference.labels) - n_rows + lost
    assert len(set(crew.computed)) == len(crew.computed)
    if thorough:  # what has been mended stays so
        words.said.clear()
        result, crew = finish(path, reference)
        check(result, reference, words.said, len(reference.labels), path)
        assert not crew.computed
    return "salvaged" if lost else "whole"


def refusal(path: Path, use: Callable[[], object]) -> str:
    """Use a checkpoint; returns the words in which it was refused, if it was."""
    try:
        use()
    except StoreError as error:
        words = str(error)
    else:
        return ""
    assert str(path) in words
    return words


def finish(path: Path, reference: Undisturbed) -> tuple[dict[str, Any], Here]:
    """Run the job on a checkpoint; returns its result as in the file, and who computed."""
    loaded = load(str(reference.folder / "input.json"))
    crew = Here()
    options = job.Options(checkpoint=path)
    begin = job.Start(crew, None, time.monotonic())  # type: ignore[arg-type]
    result = job.run(begin, lambda: (loaded, merge({}, loaded.execution, {}), options))
    return json.loads(result.model_dump_json()), crew


def check(result: dict[str, Any], reference: Undisturbed, said: list[str], n_rows: int, path: Path) -> None:
    """Right bits, and nothing lost without a word."""
    assert bits_of({**result, "stdout": None}) == {**reference.bits, "stdout": None}
    reused = result["provenance"]["tasks_reused"]
    assert reused == n_rows or any(str(path) in words for words in said), (reused, n_rows, said)
