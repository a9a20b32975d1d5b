"""The process in which the engine's code runs.

It reads work from a pipe, computes task after task, and writes each answer as soon as it is
there.  It holds no state that its rank could not give to another runner: it may be killed at any
instant.  What the engine prints goes to an unlinked file that its crew has opened, the end of which
comes along with a failure, also where the runner did not live to tell it.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qcmb_mpi.engine.base import Engine, Resources
from qcmb_mpi.engine.failures import checked, explain
from qcmb_mpi.engine.fragment import Cutter
from qcmb_mpi.engine.registry import get_engine, load_plugins, probe_ghosts
from qcmb_mpi.errors import InputError
from qcmb_mpi.farm.messages import Frames, Work, failure, frame, pack_answer
from qcmb_mpi.problem import Cluster, Driver, Level

__all__ = [
    "DESCRIBE",
    "USAGE",
    "Description",
    "Setup",
    "Usage",
    "open_output",
    "prepare",
    "serve",
    "with_tail",
]

#: The message, instead of work, that asks what the engines say of the problem.
DESCRIBE = b"describe"
#: The same for what the runner has used so far.
USAGE = b"usage"
CLEAR_EVERY = 0.25  # s after which what the engine has printed is dropped, between two tasks
TAIL = 4000  # bytes of the engine's output that come along with a failure


@dataclass(frozen=True)
class Setup:
    """All that a runner has to know.

    Attributes
    ----------
    cluster, levels, driver
        As in :class:`qcmb_mpi.problem.Problem`.
    plugins
        Modules to import first.
    resources
        What one runner may use.
    keep_records
        Whether answers carry the full QCSchema record.
    ghosts
        Whether any task has ghost atoms.
    """

    cluster: Cluster
    levels: tuple[Level, ...]
    driver: Driver
    plugins: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    keep_records: bool = False
    ghosts: bool = False


@dataclass(frozen=True)
class Description:
    """What the engines say of a problem.

    Attributes
    ----------
    error, field
        Why it cannot be computed, and the input field at fault; None if it can.
    sizes : (n_levels, n_fragments) float64
        Basis functions of each fragment.
    energy_errors
        Expected error of one energy, in Eh, at each level.
    versions
        Version of each program.
    ghosts
        Whether each level's engine honours ghost atoms; None where only a try would tell.
    """

    error: str | None = None
    field: str | None = None
    sizes: Any = None
    energy_errors: tuple[float, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    ghosts: tuple[bool | None, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What a runner has used since it was started.

    Attributes
    ----------
    peak
        The most memory of itself or of a program that it has started [bytes].
    waited
        Seconds in which it had tasks and could have computed, but had no core.
    """

    peak: int = 0
    waited: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """A setup with its engines imported."""

    setup: Setup
    engines: tuple[Engine, ...]
    cutter: Cutter

    def in_folder(self, folder: str) -> Prepared:
        """The same for a runner whose temporary files, and its programs', are in ``folder``."""
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        resources = self.setup.resources
        if resources.scratch is None:  # programs may have been told elsewhere where to put theirs
            return self
        return replace(self, setup=replace(self.setup, resources=replace(resources, scratch=folder)))


def prepare(setup: Setup) -> Prepared:
    """Import plugins and engines; raises InputError naming what is missing."""
    load_plugins(setup.plugins)
    engines = tuple(get_engine(level.program) for level in setup.levels)
    for engine in engines:
        engine.version()
    return Prepared(setup, engines, Cutter(setup.cluster))


def describe(prepared: Prepared) -> Description:
    """Ask the engines whether they can compute the problem, and what it will weigh."""
    setup = prepared.setup
    pairs = list(zip(prepared.engines, setup.levels, strict=True))
    for engine, level in pairs:
        try:
            _check(engine, level, setup)
        except InputError as error:
            words = str(error).removeprefix(f"{error.field}: ")
            several = f'level "{level.name}": ' if len(pairs) > 1 else ""
            return Description(error=words, field=f"{several}{error.field or level.program}")
    return Description(
        sizes=np.array([engine.sizes(level, setup.cluster) for engine, level in pairs]),
        energy_errors=tuple(engine.energy_error(level) for engine, level in pairs),
        versions=tuple((level.program, engine.version()) for engine, level in pairs),
        ghosts=tuple(engine.ghosts for engine in prepared.engines),
    )


def _check(engine: Engine, level: Level, setup: Setup) -> None:
    engine.check(level, setup.driver, setup.cluster)
    if setup.cluster.embedding is not None and not engine.point_charges:
        raise InputError(
            f"program {level.program!r} does not take point charges; "
            "leave embedding_charges out or choose a program that does (pyscf)",
            "embedding_charges",
        )
    if setup.ghosts and not probe_ghosts(engine, level, setup.cluster, setup.resources):
        raise InputError(
            f"program {level.program!r} does not honour ghost atoms, so that cp and vmfc would be "
            "nocp under another name, or worse; choose nocp, or a program with ghost atoms (pyscf)",
            "bsse_type",
        )


def serve(pipes: Sequence[int], prepared: Prepared) -> None:
    """Compute what comes through the first pipe until it is closed; answer through the second.

    A byte through the third says that the last task of a message has been taken up: time for more.
    The fourth is the file for what the engine prints.
    """
    work, answers, ebb, output = pipes
    _redirect(output)
    whole = np.arange(prepared.setup.cluster.n_fragments)
    clock = _CpuClock()
    waits = _WaitClock()
    frames = Frames()
    cleared = time.monotonic()
    while data := os.read(work, 1 << 20):
        for message in frames.feed(data):
            if message == DESCRIBE:
                _write(answers, frame(pickle.dumps(describe(prepared))))
                continue
            if message == USAGE:
                _write(answers, frame(pickle.dumps(Usage(_peak(), waits.seconds))))
                continue
            tasks = Work.decode(message)
            last = int(tasks.tasks["task"][-1])
            waits.begin()
            for task, sturdiness, width, level, real, basis in tasks:
                if task == last:
                    os.write(ebb, b"\0")
                members = real, whole if basis is None else basis
                _write(answers, _compute(prepared, task, sturdiness, width, level, *members, output, clock))
                if time.monotonic() - cleared > CLEAR_EVERY:
                    cleared = time.monotonic()
                    if os.fstat(output).st_size:  # or the disk may make us wait for nothing
                        os.ftruncate(output, 0)
            waits.end()


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _compute(
    prepared: Prepared,
    task: int,
    sturdiness: int,
    width: int,
    level: int,
    real: Any,
    basis: Any,
    output: int,
    clock: _CpuClock,
) -> bytes:
    """One task; returns the frame of its answer."""
    setup = prepared.setup
    resources = setup.resources if width == 1 else setup.resources.widened(width)
    begin = time.monotonic()
    try:
        molecule = prepared.cutter.cut(real, basis)
        answer = prepared.engines[level].compute(
            setup.levels[level],
            setup.driver,
            molecule,
            resources,
            attempt=sturdiness,
            keep_record=setup.keep_records,
        )
        answer = checked(answer, len(molecule.symbols), setup.driver)
    except Exception as error:
        kind, message = explain(error)
        message = with_tail(message, output)
        wall = time.monotonic() - begin
        return frame(failure(task, sturdiness, kind, message, wall, time.time()).encode())
    wall = time.monotonic() - begin
    return pack_answer(task, sturdiness, answer, wall, clock.lap(wall), time.time())


class _CpuClock:
    """Seconds of processor time from one task to the next, other programs included."""

    def __init__(self) -> None:
        self._own = time.process_time()
        self._others = 0.0

    def lap(self, wall: float) -> float:
        """Seconds since the last lap, which took ``wall`` seconds."""
        own = time.process_time()
        spent, self._own = own - self._own, own
        if wall > 0.05:  # no other program starts and ends within less
            _, _, user, system, _ = os.times()
            spent, self._others = spent + user + system - self._others, user + system
        return spent


class _WaitClock:
    """Seconds without a core, from the kernel's statistics; looked at once a message, it costs nothing."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0
        try:
            self._file = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # a kernel without these statistics
            self._file = -1

    def begin(self) -> None:
        self._since = self._now()

    def end(self) -> None:
        self.seconds += (self._now() - self._since) / 1e9

    def _now(self) -> int:
        """Nanoseconds since the process was started."""
        return 0 if self._file < 0 else int(os.pread(self._file, 64, 0).split()[1])


def _peak() -> int:
    """The most memory of this process or of one that it has started [bytes]."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(user).ru_maxrss for user in users) * 1024


def open_output(scratch: str | None) -> int:
    """Descriptor of a new unlinked file for what an engine prints; the null device if there is no room."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="qcmb_mpi-output-", dir=scratch)
        os.unlink(path)
    except OSError:
        return os.open(os.devnull, os.O_RDWR)
    # appending, so that truncation between tasks also resets the position of what still writes
    with contextlib.suppress(OSError):
        reopened = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_APPEND)
        os.close(descriptor)
        descriptor = reopened
    return descriptor


def _redirect(output: int) -> None:
    """Send standard output and error of this process to a file; nothing comes from standard input."""
    with open(os.devnull) as null:
        os.dup2(null.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a runner that is killed cannot flush


def with_tail(message: str, output: int) -> str:
    """A message with the end of what the engine has printed, if there is any."""
    size = os.fstat(output).st_size
    tail = os.pread(output, TAIL, max(0, size - TAIL)).decode(errors="replace").strip()
    return f"{message}\n--- end of the engine's output ---\n{tail}" if tail else message
