"""Jobs of the sleeping engine: short imports, tasks that take as long as a test wants, no computing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import h5py
from clusters import many_body
from program import Job, Program, bits_of

PLUGIN = Path(__file__).parent / "data" / "sleeper_engine.py"


class Sleeper:
    """The sleeping engine in a job's folder.

    Parameters
    ----------
    program
        Starts the jobs.
    n_atoms
        Of the cluster, a line; each is a fragment.
    max_nbody
        Up to which n-mers are computed.
    folder
        Where the input is written; the program's folder by default.
    """

    def __init__(self, program: Program, n_atoms: int = 6, max_nbody: int = 3, folder: Path | None = None):
        self._program = program
        self._n_atoms = n_atoms
        self._max_nbody = max_nbody
        self._input = (folder or program.folder) / "input.json"
        self.n_tasks = sum(comb(n_atoms, n) for n in range(1, max_nbody + 1))
        self.checkpoint = self._input.with_name("input.checkpoint.h5")
        self.result = self._input.with_name("input.result.json")
        self.folder = program.folder / "sleeper"
        self.folder.mkdir()
        shutil.copy(PLUGIN, program.folder / "sleeper_engine.py")
        self.variables = {"SLEEPER_FOLDER": str(self.folder)}

    def write_input(self, seconds: float, **execution: Any) -> None:
        """The input file; a task takes some seconds, further arguments are the execution section."""
        molecule = {
            "symbols": ["He"] * self._n_atoms,
            "geometry": [x for i in range(self._n_atoms) for x in (5.0 * i, 0.0, 0.0)],
            "fragments": [[i] for i in range(self._n_atoms)],
        }
        content = many_body(
            molecule,
            level={"program": "sleeper", "method": "sleep"},
            bsse_type=["nocp"],
            max_nbody=self._max_nbody,
            return_total_data=True,
            execution={"plugins": ["sleeper_engine"], "checkpoint_interval": 1, **execution},
        )
        self._program.write(str(self._input), content)
        self.takes(seconds)
        self.seconds = seconds

    def takes(self, seconds: float) -> None:
        """Say how long each task takes from now on."""
        self.say("seconds", str(seconds))

    def say(self, name: str, text: str = "") -> None:
        """Write one of the files that tell the engine what to do."""
        (self.folder / name).write_text(text)

    def start(self, *flags: str, **options: Any) -> Job:
        """Start the job."""
        return self._program.start(str(self._input), *flags, **options, **self.variables)

    def start_and_wait_for(self, n: int, condition: Callable[[], bool] = lambda: True, **options: Any) -> Job:
        """Start the job, its tries counted afresh, and wait until ``n`` tasks have been begun."""
        self.forget()
        job = self.start(**options)
        job.wait_until(lambda: len(self.tries()) >= n and condition())
        return job

    def forget(self) -> None:
        """Count tries from none again."""
        shutil.rmtree(self.folder / "tries", ignore_errors=True)

    def release(self) -> None:
        """Let tasks end again after ``say("hold")``."""
        (self.folder / "hold").unlink()

    def finish(self, **way: Any) -> Any:
        """Run to the end what its checkpoint lacks, and nothing else; returns the result."""
        before = self.saved()
        self.forget()
        self.takes(0)
        finished = self.start(**way).wait()
        assert finished.code == 0, finished
        assert sum(self.tries().values()) == self.n_tasks - len(before)
        after = self.saved()
        assert after[: len(before)] == before
        assert len(set(after)) == len(after) == self.n_tasks
        result = self._program.read(str(self.result))
        assert result["provenance"]["tasks_reused"] == len(before)
        return result

    def tries(self) -> dict[str, int]:
        """How often each task was begun."""
        folder = self.folder / "tries"
        return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.is_dir() else {}

    def saved(self) -> list[bytes]:
        """Keys of the finished tasks in the checkpoint, also while it is being written or left by a kill."""
        with h5py.File(self.checkpoint, "r", locking=False, swmr=True) as file:
            keys = [key.tobytes() for key in file["results"]["key"]]
        return [key for key in keys if any(key)]  # a row without a key, as a full disk leaves them, is none


def bits_undisturbed(program: Program) -> Any:
    """The bits of the result of a job of the usual size that nothing and nobody disturbs."""
    job = Sleeper(program)
    job.write_input(0)
    finished = job.start("--no-checkpoint").wait()
    assert finished.code == 0, finished
    assert not program.close()
    return bits_of(program.read(str(job.result)))
