"""Runs the program as its users do: real processes, real launchers, and a time limit on each.

Every process is marked in its environment, so that whatever it has started is found, wherever it went.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qcmb_mpi.cli import main
from qcmb_mpi.farm.launcher import clean_environment

PATIENCE = 120.0  # seconds that a process may take by default; machines may be busy
SETTLED = 15.0  # seconds in which what a job has started must be gone after it
MARK = "STARTED_BY_A_TEST"

#: As root, and with more ranks than cores, Open MPI wants to be told that this is meant.
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@dataclass(frozen=True)
class Mpi:
    """A python with the launcher of its MPI library."""

    python: str
    mpiexec: str
    open_mpi: bool

    def command(self, ranks: int, tolerant: bool = False) -> list[str]:
        """The launcher; a ``tolerant`` one lets a job go on that has lost a rank (Open MPI only)."""
        options = ["--oversubscribe"] if self.open_mpi else []
        options += ["--with-ft", "ulfm"] if tolerant else []
        return [self.mpiexec, *options, "-n", str(ranks)]

    @property
    def stop_signal(self) -> signal.Signals:
        """What the launcher passes on to its ranks and then waits for them."""
        return signal.SIGUSR1 if self.open_mpi else signal.SIGTERM


@cache
def find_mpi(python: str = sys.executable) -> Mpi | None:
    """The launcher beside a python, else on the PATH."""
    beside = Path(python).parent / "mpiexec"
    mpiexec = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if mpiexec is None:
        return None
    answer = subprocess.run(
        [mpiexec, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **AS_ROOT},
        check=False,
    )
    return Mpi(python, mpiexec, "Open MPI" in answer.stdout + answer.stderr)


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s\n{self.out}\n--- stderr ---\n{self.err}"


class Job:
    """A process that has been started."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str]):
        self._mark = uuid.uuid4().hex
        self._texts = [folder.parent / f"{folder.name}-{self._mark}.{name}" for name in ("out", "err")]
        self._began = time.monotonic()
        with open(self._texts[0], "wb") as out, open(self._texts[1], "wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environ, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self, seconds: float = PATIENCE) -> Finished:
        """Wait for the end; past the time limit kill all there is and fail."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not over after {seconds:.0f} s\n{self.texts()}") from None
        return Finished(code, *self.texts(), time.monotonic() - self._began)

    def wait_until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait for something to happen while the process runs."""
        end = time.monotonic() + seconds
        while not condition():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"it never happened\n{self.wait()}")
            time.sleep(0.01)

    @property
    def pid(self) -> int:
        """Of the process itself, which leads its group."""
        return self._process.pid

    def over(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal to the process itself and to nobody else."""
        os.kill(self._process.pid, number)

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: a signal to all processes of the foreground group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def processes(self) -> list[int]:
        """Numbers of the living processes of this job."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
        return found

    def running(self) -> bool:
        return self._process.poll() is None

    def ranks(self) -> list[int]:
        """Numbers of the processes that are its ranks, rank 0 first; without MPI the one there is."""
        found = {}
        for pid in self.processes():
            words = _words(pid, "cmdline")
            if Path(words[0]).name.startswith("python") and "qcmb_mpi.farm.nursery" not in words:
                variables = dict(word.partition("=")[::2] for word in _words(pid, "environ"))
                found[int(variables.get("PMI_RANK", variables.get("OMPI_COMM_WORLD_RANK", "0")))] = pid
        return [pid for _, pid in sorted(found.items())]

    def nursery(self, rank: int) -> int:
        """Number of the process that is the parent of a rank's runners."""
        (found,) = [
            pid for pid in children(self.ranks()[rank]) if "qcmb_mpi.farm.nursery" in _words(pid, "cmdline")
        ]
        return found

    def runners(self, rank: int) -> list[int]:
        """Numbers of the processes that are a rank's runners."""
        return children(self.nursery(rank))

    def left_behind(self) -> list[str]:
        """Command lines of processes that are still there some time after the end; they are killed."""
        end = time.monotonic() + SETTLED
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        lines = []
        for pid in left:
            with contextlib.suppress(OSError):
                lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
        self.kill()
        return lines

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def texts(self) -> list[str]:
        """What it has printed so far: standard output and error."""
        return [path.read_text(errors="replace") for path in self._texts]


class Program:
    """Starts the program, and other pythons, in one folder.

    Attributes
    ----------
    folder
        Where jobs run.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._jobs: list[Job] = []

    def start(
        self,
        *arguments: str,
        ranks: int | None = None,
        tolerant: bool = False,
        mpi: Mpi | None = None,
        script: Path | None = None,
        **variables: str,
    ) -> Job:
        """Start ``python -m qcmb_mpi`` with arguments, or a script, under mpiexec if ``ranks`` are given."""
        mpi = mpi or find_mpi()
        python = mpi.python if mpi else sys.executable
        command = [python, *(["-m", "qcmb_mpi"] if script is None else [str(script)]), *arguments]
        if ranks is not None:
            assert mpi is not None
            command = mpi.command(ranks, tolerant) + command
        job = Job(command, self.folder, {**environment(), **variables})
        self._jobs.append(job)
        return job

    def run(self, *arguments: str, seconds: float = PATIENCE, **options: Any) -> Finished:
        """Start it and wait for its end."""
        return self.start(*arguments, **options).wait(seconds)

    def call(self, *arguments: str) -> Finished:
        """Call it in this process: sooner over where it ends before it computes."""
        out, err = io.StringIO(), io.StringIO()
        before, began = Path.cwd(), time.monotonic()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(list(arguments))
        except SystemExit as end:  # of the parser
            code = int(end.code or 0)
        finally:
            os.chdir(before)
        return Finished(code, out.getvalue(), err.getvalue(), time.monotonic() - began)

    def succeed(self, *arguments: str, **options: Any) -> Finished:
        """Run it; it must finish."""
        finished = self.run(*arguments, **options)
        assert finished.code == 0, finished
        return finished

    def write(self, name: str, content: Any) -> Path:
        """Write a file: text as it is, anything else as JSON."""
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def read(self, name: str) -> Any:
        """Read a JSON file."""
        return json.loads((self.folder / name).read_text())

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def close(self) -> list[str]:
        """Command lines of what the jobs left behind."""
        return [line for job in self._jobs for line in job.left_behind()]


def children(pid: int) -> list[int]:
    """Numbers of the processes that a process with one thread has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    """Numbers of the processes that a process has started, and those have."""
    below = children(pid)
    return below + [further for child in below for further in descendants(child)]


def _words(pid: int, name: str) -> list[str]:
    """Command line or environment of a process; one empty word where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace").split("\0")
    except OSError:
        return [""]


def environment() -> dict[str, str]:
    """What jobs start with: no launcher's variables, no settings of ours, one thread."""
    clean = clean_environment(os.environ)
    mine = {name: value for name, value in clean.items() if not name.startswith("QCMB_MPI_")}
    return {**mine, **AS_ROOT, "OMP_NUM_THREADS": "1", "QCMB_MPI_THREADS_PER_WORKER": "1"}


def bits(value: Any) -> Any:
    """A nested structure with every float as the text of its bits."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return value


def bits_of(result: Mapping[str, Any]) -> Any:
    """All numbers of a result file; what tells of the run is left out."""
    return bits(
        {
            name: content
            for name, content in result.items()
            if name in ("return_result", "properties", "cluster_properties", "component_properties", "stdout")
        }
    )
