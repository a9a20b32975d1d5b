"""Small jobs of the toy engine: what each computes undisturbed, and what may never be seen afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program import Finished, Job, Program, bits_of
from toy import Toy

from qcmb_mpi.reading import planned
from qcmb_mpi.store.format import join_keys
from qcmb_mpi.store.snapshot import read

CHECKPOINT = "input.checkpoint.h5"
RESULT = "input.result.json"


@dataclass(frozen=True)
class Shape:
    """What a job computes: enough tasks for several ranks, few enough for a second."""

    n_atoms: int
    driver: str
    bsse_type: str
    max_nbody: int


SHAPES = (
    Shape(6, "energy", "nocp", 3),  # 41 tasks
    Shape(4, "gradient", "vmfc", 2),  # 22
    Shape(4, "hessian", "cp", 2),  # 14
)


@dataclass(frozen=True)
class Undisturbed:
    """A job in which nothing went wrong.

    Attributes
    ----------
    folder
        Where it ran.
    bits
        Of its result.
    names
        The toy's name of each task, by the task's key in a checkpoint.
    labels
        The task's label, by the toy's name.
    """

    shape: Shape
    folder: Path
    bits: Any
    names: dict[bytes, str]
    labels: dict[str, str]


class Place:
    """A folder in which a job runs, perhaps several times, and where nothing may be left behind."""

    def __init__(self, folder: Path, shape: Shape):
        folder.mkdir(parents=True)
        self.program = Program(folder)
        self.toy = Toy(self.program, shape.n_atoms, "toy_engine")
        self._shape = shape
        self._temporary = folder.parent / f"{folder.name}-tmp"
        self._temporary.mkdir()

    @property
    def checkpoint(self) -> Path:
        return self.program.folder / CHECKPOINT

    def write_input(self, **execution: Any) -> None:
        shape = self._shape
        self.toy.write_input(shape.max_nbody, driver=shape.driver, bsse_type=shape.bsse_type, **execution)

    def start(self, ranks: int | None) -> Job:
        """Start the job: without MPI, or on some ranks."""
        return self.program.start(
            "input.json", ranks=ranks, **self.toy.variables, TMPDIR=str(self._temporary)
        )

    def check_nothing_is_left(self, job: Job, *more: str) -> None:
        """After the end of a job: no process, and of files only those that are to be kept, and ``more``."""
        left = job.left_behind()
        assert not left, f"processes left behind: {left}"
        kept = {"input.json", CHECKPOINT, RESULT, "toy", "toy_engine.py", "mishaps.py", *more}
        there = set(self.program.files()) - {"__pycache__"}
        assert there == kept, f"files left behind {there - kept}, missing {kept - there}"
        # Open MPI's own folder stays if its launcher is killed
        files = [path.name for path in self._temporary.iterdir() if not path.name.startswith("ompi.")]
        assert not files, f"temporary files left behind: {files}"


def check_words(finished: Finished) -> None:
    """Whatever happened is told in words."""
    assert "Traceback" not in finished.err, finished
    assert "Traceback" not in finished.out, finished


def undisturbed(folder: Path, shape: Shape) -> Undisturbed:
    """Run a job without mishaps and without MPI."""
    place = Place(folder, shape)
    place.write_input()
    job = place.start(None)
    finished = job.wait()
    assert finished.code == 0, finished
    place.check_nothing_is_left(job)
    what = planned(place.checkpoint, read(place.checkpoint))
    names, labels = {}, {}
    for block in what.table.blocks:
        keys = join_keys(what.keys.of_block(block))
        for i, (real, basis) in enumerate(
            zip(block.real(slice(None)), block.basis(slice(None)), strict=True)
        ):
            name, ghosts = "-".join(map(str, real)), "-".join(map(str, basis))
            names[keys[i].tobytes()] = name = name if name == ghosts else f"{name}@{ghosts}"
            labels[name] = what.table.label(block.start + i, [level.name for level in what.problem.levels])
    assert place.toy.tries() == dict.fromkeys(labels, 1)
    return Undisturbed(shape, folder, bits_of(place.program.read(RESULT)), names, labels)
