"""Folders for tasks that failed for good: input, output and the command that repeats each by hand.

They lie in ``<stem>.failed`` beside the checkpoint, one for each task.  Nothing that goes wrong here
ends a job: a full disk costs a warning.  Only what was written here is ever removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import Resources
from qcmb_mpi.engine.failures import Attempt
from qcmb_mpi.engine.fragment import Cutter
from qcmb_mpi.engine.record import CHARGES, task_input
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.logs import log
from qcmb_mpi.problem import Problem

__all__ = ["MOST_FOLDERS", "Circumstances", "Failure", "beside", "folder_name", "remove_computed", "write"]

MOST_FOLDERS = 100  # tasks that get a folder
LONGEST = 100  # characters of a folder's name
INPUT, OUTPUT, COMMAND = FILES = ("input.json", "output.txt", "repeat.sh")


@dataclass(frozen=True)
class Failure:
    """A task that failed for good.

    Attributes
    ----------
    task
        Its number.
    label
        QCManyBody's.
    attempts
        The failed attempts, the last one at the end.
    losses
        How often its rank was lost.
    kind, message
        Of what ended it.
    """

    task: int
    label: str
    attempts: Sequence[Attempt]
    losses: int
    kind: str
    message: str


@dataclass(frozen=True)
class Circumstances:
    """How the job computed its tasks, as far as repeating one needs to know.

    Attributes
    ----------
    plugins
        Modules that were imported first.
    resources
        What an engine on rank 0 might use.
    hosts
        Of each rank.
    """

    plugins: Sequence[str]
    resources: Resources
    hosts: dict[int, str]


def beside(path: Path) -> Path:
    """The folder that belongs to a checkpoint or a result: ``water.failed`` for ``water.checkpoint.h5``."""
    for ending in (".checkpoint.h5", ".result.json"):
        if path.name.endswith(ending) and path.name != ending:
            return path.with_name(f"{path.name.removesuffix(ending)}.failed")
    return path.with_name(f"{path.stem}.failed")


def folder_name(level: int, real: Sequence[int], basis: Sequence[int], level_names: Sequence[str]) -> str:
    """Name of a task's folder, such as ``mp2_1-3_in_1-2-3``: safe in every file system.

    Parameters
    ----------
    level
        Number of the task's level.
    real, basis
        0-based fragments.
    level_names
        Of all levels: those that look alike once made safe get a part of their hash.
    """
    safe = [_safe(name) for name in level_names]
    title = safe[level]
    if [name.lower() for name in safe].count(title.lower()) > 1:
        title = f"{title}-{_digest(level_names[level])[:8]}"
    numbers = ("-".join(str(i + 1) for i in fragments) for fragments in (real, basis))
    name = f"{title}_{'_in_'.join(numbers)}"
    if len(name) <= LONGEST:
        return name
    digest = _digest(name)
    return f"{name[: LONGEST - len(digest) - 1]}_{digest}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_.-") or "level"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write(
    folder: Path, problem: Problem, table: TaskTable, failures: Sequence[Failure], how: Circumstances
) -> dict[int, Path]:
    """Write the folders of the first failures.

    Returns
    -------
    dict
        Folder of each task that has one now; a warning tells why if the disk does not take them all.
    """
    names = [level.name for level in problem.levels]
    cutter = Cutter(problem.cluster)
    written: dict[int, Path] = {}
    for failure in failures[:MOST_FOLDERS]:
        level, real, basis = table.members(failure.task)
        place = folder / folder_name(level, real, basis, names)
        molecule = cutter.cut(np.array(real), np.array(basis))
        asked = task_input(problem.levels[level], problem.driver, molecule, failure.label)
        embedded = molecule.point_charges is not None
        texts = {
            INPUT: json.dumps(asked, indent=1, default=repr),
            OUTPUT: _output(failure, how),
            COMMAND: _command(failure, how, embedded),
        }
        try:
            _write(place, texts)
        except OSError as error:
            log.warning(
                "%s: cannot be written (%s), so %d of %d failed tasks have no folder to repeat them from; "
                "nothing else is lost",
                place,
                error.strerror,
                len(failures) - len(written),
                len(failures),
            )
            with contextlib.suppress(OSError):
                _remove(place)
                folder.rmdir()  # unless something is in it
            break
        written[failure.task] = place
    return written


def remove_computed(folder: Path, problem: Problem, table: TaskTable, done: NDArray[np.bool_]) -> None:
    """Remove the folders of tasks that are computed by now, and the folder of all if none is left.

    Parameters
    ----------
    folder
        Where they lie.
    done : (n_tasks,) bool
        Which tasks are computed.
    """
    if not folder.is_dir():
        return
    numbers = {level.name: number for number, level in enumerate(problem.levels)}
    try:
        for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
            task = _task_of(place, table, numbers)
            if task is not None and done[task]:
                _remove(place)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        log.warning("%s: what belongs to computed tasks cannot be removed (%s)", folder, error.strerror)


def _task_of(place: Path, table: TaskTable, levels: dict[str, int]) -> int | None:
    """Number of the task whose input lies in a folder; None if there is no input of this job."""
    try:
        level, real, basis = json.loads(json.loads((place / INPUT).read_text())["id"])
        return table.find(levels[level], [i - 1 for i in real], [i - 1 for i in basis])
    except (OSError, ValueError, TypeError, KeyError):
        return None  # not ours


def _write(place: Path, texts: dict[str, str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text + "\n", encoding="utf-8", errors="replace")


def _remove(place: Path) -> None:
    """Remove what :func:`write` has put into a folder, and the folder if nothing else is in it."""
    for name in FILES:
        (place / name).unlink(missing_ok=True)
    if not any(place.iterdir()):
        place.rmdir()


def _output(failure: Failure, how: Circumstances) -> str:
    lines = [f"Task {failure.label} failed for good: {failure.kind}", ""]
    if failure.losses:
        lines.append(f"It was out on {failure.losses} ranks when they were lost.")
    lines.append(f"{'attempt':>7}  {'kind':<11} {'rank':>6}  {'host':<20} {'seconds':>9}  failed at (UTC)")
    for number, attempt in enumerate(failure.attempts, 1):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(attempt.finished))
        host = how.hosts.get(attempt.rank, "?")
        where = f"{attempt.rank:>6}  {host:<20}"
        lines.append(f"{number:>7}  {attempt.kind.word:<11} {where} {attempt.seconds:>9.2f}  {when}")
        lines.append(f"{'':>9}{attempt.message.partition(chr(10))[0]}")
    return "\n".join([*lines, "", "--- what was said last ---", failure.message])


def _command(failure: Failure, how: Circumstances, embedded: bool) -> str:
    words = [sys.executable, "-m", "qcmb_mpi.engine.repeat"]
    for module in how.plugins:
        words += ["--plugin", module]
    sturdiness = failure.attempts[-1].sturdiness if failure.attempts else 0
    if sturdiness:
        words += ["--attempt", str(sturdiness)]
    words += ["--threads", str(how.resources.threads), "--memory", str(how.resources.memory / 2**30)]
    path = os.environ.get("PYTHONPATH")
    variables = f"PYTHONPATH={shlex.quote(path)} " if path else ""
    notes = ["#!/bin/sh", f"# Repeats the last attempt at task {failure.label} by hand: sh {COMMAND}"]
    if sturdiness:
        notes.append("# Without --attempt the plain algorithm is used, as in the first attempt.")
    if embedded:
        notes.append(
            f"# The embedding point charges (x, y, z in bohr, charge) are specification.extras.{CHARGES}"
        )
        notes.append(
            "# in the input: this command hands them to the program, qcengine.compute to pyscf only."
        )
    return "\n".join(
        [
            *notes,
            'here=$(cd "$(dirname "$0")" && pwd) || exit',
            f"cd {shlex.quote(os.getcwd())} || exit  # where the job ran: plugins are looked for there",
            f'{variables}exec {shlex.join(words)} "$here/{INPUT}"',
        ]
    )
