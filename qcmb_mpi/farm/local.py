"""The runners of this process: started, fed, watched, killed and replaced.

Both the master without MPI and every MPI rank have one crew.  A crew holds one runner for each of
its seats and makes every mishap of a runner the failure of the one task that it was computing: the
other tasks of that seat go to the next runner.  If their parent dies, the same happens to all of them.
It knows nothing of plans, queues or retries.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from qcmb_mpi.engine.failures import Kind
from qcmb_mpi.errors import InputError, QcmbError, RunnersLost
from qcmb_mpi.farm import nursery
from qcmb_mpi.farm.messages import Answers, Frames, Work, failure, frame
from qcmb_mpi.farm.runner import DESCRIBE, USAGE, Description, Setup, Usage, open_output, with_tail
from qcmb_mpi.logs import log

__all__ = ["Crew", "start_nursery"]


#: Threads of libraries that would otherwise start them at import; engines set their own later.
SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ, which not every build of Python has
PIPE_SIZE = 1 << 20  # a second's answers of half-millisecond tasks have room
DIED = EOFError, ConnectionError  # what is raised where a nursery has died
MOST_NURSERIES = 3  # that one process starts before it gives up


class _Pending(NamedTuple):
    """A task that a runner was sent and has not answered."""

    task: int
    limit: float  # s
    sturdiness: int
    work: Work
    position: int  # in that work


class _Runner:
    """One runner as its crew sees it."""

    def __init__(self, seat: int, work: int, answers: int, ebb: int, output: int, pid: int):
        self.seat = seat
        self.work = work  # pipe to it
        self.answers = answers  # pipe from it
        self.ebb = ebb  # the same: a byte when it takes up the last task of a message
        self.output = output  # file of what its engine prints
        self.pid = pid
        self.frames = Frames()
        self.unsent = bytearray()
        self.pending: deque[_Pending] = deque()
        self.since = 0.0  # when it began with the first pending task [monotonic s]
        self.verdict: Kind | None = None  # why we are killing it

    def close(self) -> None:
        for descriptor in (self.work, self.answers, self.ebb, self.output):
            os.close(descriptor)


class Crew:
    """The runners of one process.

    Parameters
    ----------
    environ
        Environment of the runners: the process's own less the launcher's variables.

    Attributes
    ----------
    seats
        Numbers of the seats that have a runner.
    """

    def __init__(self, environ: Mapping[str, str]):
        self.seats: tuple[int, ...] = ()
        self._mark = uuid.uuid4().hex
        self._environ = {**environ, nursery.MARK: self._mark}
        self._setup = b""
        self._nursery, self._channel = start_nursery(self._environ)
        self._nurseries = 1
        self._importing = False
        self._runners: dict[int, _Runner] = {}
        self._unread: deque[tuple[str, Any]] = deque()  # what the nursery said while we waited for a runner
        self._scratch: str | None = None
        self._closed = False

    def prepare(self, setup: Setup) -> None:
        """Hand the problem to the runners-to-be; engines are imported while this process goes on."""
        self._scratch = setup.resources.scratch
        self._setup = pickle.dumps(setup)
        self._hand_over()

    def _hand_over(self) -> None:
        self._importing = True
        with contextlib.suppress(ConnectionError):  # one that has died is found out when it has to be ready
            nursery.send(self._channel, ("setup", self._setup))

    def start(self, seats: Sequence[int]) -> None:
        """Start a runner for every seat; raises InputError if an engine is missing."""
        self.seats = tuple(seats)
        try:
            self._ready()
            for seat in self.seats:
                self._spawn(seat)
        except DIED:
            self._renew()

    def _ready(self) -> None:
        """Wait until the engines are imported."""
        word, argument = nursery.receive(self._channel)
        self._importing = False
        if word == "refused":
            message, field = argument
            raise InputError(message.removeprefix(f"{field}: "), field)

    def answers(self) -> bool:
        """Whether the parent of the runners has come up."""
        try:
            nursery.send(self._channel, ("ping", None))
            return bool(nursery.receive(self._channel)[0] == "pong")
        except (EOFError, OSError):
            return False

    def describe(self) -> Description:
        """What the engines say of the problem, asked of the first runner."""
        description = self._ask(self.seats[0], DESCRIBE)
        if description is None:  # it may have died of something else than the question
            description = self._ask(self.seats[0], DESCRIBE)
        if description is None:
            raise QcmbError(
                "the engine ended its process when it was asked about the input; "
                "try `validate`, and the program by itself"
            )
        assert isinstance(description, Description)
        return description

    def usage(self, seat: int) -> Usage:
        """What the runner of a seat has used so far, while all are idle; nothing if it has just ended."""
        usage = self._ask(seat, USAGE)
        return usage if isinstance(usage, Usage) else Usage()

    def _ask(self, seat: int, question: bytes) -> Any:
        """What a runner answers while all are idle; None if it ended instead."""
        runner = self._runners[seat]
        runner.unsent += frame(question)
        self._push(runner)
        while self._runners[seat] is runner:
            select.select([runner.answers, self._channel.fileno()], [], [])
            for message in self._read(runner):
                return pickle.loads(message)
            self._hear()
        return None

    def send(self, seat: int, work: Work) -> None:
        """Queue ``work`` at a seat."""
        runner = self._runners[seat]
        if not runner.pending:
            runner.since = time.monotonic()
        runner.pending.extend(
            _Pending(task, limit, sturdiness, work, position)
            for position, (task, limit, sturdiness) in enumerate(
                work.tasks[["task", "limit", "sturdiness"]].tolist()
            )
        )
        runner.unsent += frame(work.encode())
        self._push(runner)

    def waiting(self, seat: int) -> int:
        """Number of tasks at a seat that are not answered yet."""
        return len(self._runners[seat].pending)

    def running(self, seat: int, now: float) -> tuple[int, float] | None:
        """The task that a seat is computing and for how long [s], if it has one."""
        runner = self._runners[seat]
        return (runner.pending[0].task, now - runner.since) if runner.pending else None

    def poll(self) -> list[tuple[int, Answers]]:
        """Answers that have arrived since the last call, by seat, failures among them."""
        now = time.monotonic()
        found = []
        for runner in list(self._runners.values()):
            self._push(runner)
            if answers := self._pull(runner):
                found.append((runner.seat, answers))
            pending = runner.pending
            if pending and now - runner.since > pending[0].limit and runner.verdict is None:
                self._kill(runner, Kind.TIMEOUT)
        found += self._hear()
        return found

    def wait(self, seconds: float, also: Sequence[int] = ()) -> bool:
        """Sleep for a while, but wake when a runner is about to run out of work or has ended.

        ``also`` are further file descriptors that wake it when they can be read.  Returns whether anything
        has woken it.
        """
        watched = [self._channel.fileno(), *also]
        for runner in self._runners.values():
            # not for every answer, but before the last one
            watched.append(runner.answers if len(runner.pending) <= 1 else runner.ebb)
        return bool(select.select(watched, [], [], max(0.0, seconds))[0])

    def cancel(self) -> None:
        """Kill whatever is running; nothing more will be answered."""
        for runner in self._runners.values():
            runner.pending.clear()
            self._kill(runner, Kind.LOST)

    def close(self) -> None:
        """End runners and nursery, and all that they have started."""
        if self._closed:
            return
        self._closed = True
        for runner in self._runners.values():
            runner.close()
        self._end_nursery()

    def _end_nursery(self) -> None:
        """End the nursery and all that was started there, by whatever it takes."""
        self._channel.close()
        try:
            # an import looks at nothing else until it is through
            killed = self._nursery.wait(timeout=0 if self._importing else 10) != 0
        except subprocess.TimeoutExpired:
            killed = True
        if killed:  # it could not clean up after itself
            self._nursery.kill()
            self._nursery.wait()
            nursery.sweep(self._mark, self._scratch)

    # ---- one runner ---------------------------------------------------------------------------

    def _spawn(self, seat: int) -> _Runner:
        work_out, work_in = os.pipe()
        answers_out, answers_in = os.pipe()
        ebb_out, ebb_in = os.pipe()
        with contextlib.suppress(OSError):  # beyond what an ordinary user may: then the usual size
            fcntl.fcntl(answers_in, F_SETPIPE_SZ, PIPE_SIZE)
        output = open_output(self._scratch)
        nursery.send(self._channel, ("spawn", seat), [work_out, answers_in, ebb_in, output])
        for pipe in (work_out, answers_in, ebb_in):
            os.close(pipe)
        while True:
            word, argument = nursery.receive(self._channel)
            if word == "spawned":
                break
            self._unread.append((word, argument))  # another runner's end can wait, and must
        for pipe in (work_in, answers_out, ebb_out):
            os.set_blocking(pipe, False)
        runner = _Runner(seat, work_in, answers_out, ebb_out, output, argument[1])
        self._runners[seat] = runner
        return runner

    def _push(self, runner: _Runner) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while runner.unsent:
                sent = os.write(runner.work, runner.unsent)
                del runner.unsent[:sent]

    def _read(self, runner: _Runner) -> list[bytes]:
        messages = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(runner.answers, PIPE_SIZE):
                messages += runner.frames.feed(data)
        return messages

    def _pull(self, runner: _Runner) -> Answers | None:
        with contextlib.suppress(BlockingIOError):
            os.read(runner.ebb, PIPE_SIZE)
        messages = self._read(runner)
        if not messages:
            return None
        for _ in messages:
            runner.pending.popleft()
        runner.since = time.monotonic()
        return Answers.decode_all(messages)

    def _kill(self, runner: _Runner, verdict: Kind) -> None:
        runner.verdict = verdict
        with contextlib.suppress(ConnectionError):  # a nursery that has died has killed them all
            nursery.send(self._channel, ("kill", runner.seat))

    def _hear(self) -> list[tuple[int, Answers]]:
        """What the nursery has to tell: runners that ended, or by its end that all have."""
        found: list[tuple[int, Answers]] = []
        try:
            while self._unread or select.select([self._channel], [], [], 0)[0]:
                word, argument = self._unread.popleft() if self._unread else nursery.receive(self._channel)
                if word == "gone":
                    found += self._gone(*argument)
        except DIED:
            found += self._renew()
        return found

    def _renew(self) -> list[tuple[int, Answers]]:
        """The nursery was killed, and its runners with it: blame what they computed, go on in a new one."""
        host = socket.gethostname()
        if self._nurseries == MOST_NURSERIES:
            lost = RunnersLost if self._runners else QcmbError
            raise lost(
                f"the process on {host} that imports the engines and starts runners was killed or ended "
                f"{self._nurseries} times (out of memory?); try `validate`"
            )
        log.warning(
            "the parent of the runners on %s was killed, probably for want of memory; it is started anew%s",
            host,
            " and what they were computing is tried again" if self._runners else "",
        )
        self._end_nursery()
        self._unread.clear()
        self._nurseries += 1
        self._nursery, self._channel = start_nursery(self._environ)
        found: list[tuple[int, Answers]] = []
        try:
            self._hand_over()
            self._ready()
            for seat in self.seats:
                if seat in self._runners:
                    found += self._gone(seat, self._runners[seat].pid, signal.SIGKILL, 0)
                else:
                    self._spawn(seat)
        except DIED:
            found += self._renew()
        except InputError as error:
            if not self._runners:
                raise
            raise RunnersLost(f"the engines cannot be imported on {host} any more: {error}") from None
        return found

    def _gone(self, seat: int, pid: int, status: int, peak: int) -> list[tuple[int, Answers]]:
        """A runner has ended: blame its current task, give the others to a new one."""
        runner = self._runners[seat]
        if runner.pid != pid:
            return []
        heir = self._spawn(seat)  # first: if the nursery has died as well, everything is as it was
        found = []
        if answers := self._pull(runner):  # what it wrote before it died
            found.append((seat, answers))
        if runner.pending:
            task, _, sturdiness, _, _ = runner.pending.popleft()
            wall = time.monotonic() - runner.since
            kind, message = _verdict(runner.verdict, status, peak, wall)
            message = with_tail(message, runner.output)
            found.append((seat, failure(task, sturdiness, kind, message, wall, time.time())))
        runner.close()
        while runner.pending:
            head = runner.pending[0]
            rest = head.work.without(head.position)
            for _ in range(len(rest)):
                runner.pending.popleft()
            self.send(heir.seat, rest)
        return found


def _verdict(verdict: Kind | None, status: int, peak: int, wall: float) -> tuple[Kind, str]:
    """What kind of failure the end of a runner was."""
    used = f"after {wall:.1f} s" + (f", {peak / 2**30:.2f} GiB at most" if peak else "")
    if verdict is Kind.TIMEOUT:
        return Kind.TIMEOUT, f"took longer than its time limit and was killed {used}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        if number == signal.SIGKILL:  # nobody but the kernel's memory killer does that to a runner
            return Kind.MEMORY, f"the runner was killed by {name} {used}: probably out of memory"
        return Kind.CRASH, f"the engine died of {name} {used}"
    return Kind.CRASH, f"the engine ended its process with status {os.WEXITSTATUS(status)} {used}"


def start_nursery(environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the warm parent of runners; returns it with the socket to speak to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "qcmb_mpi.farm.nursery", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**environ, **SINGLE_THREADED},
            start_new_session=True,
        )
    return process, ours
