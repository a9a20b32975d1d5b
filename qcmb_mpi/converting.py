"""From a file with structures to input files: the place where frames, fragments and text are joined.

Prints nothing and writes nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import from_model, text
from qcmb_mpi.inputs.assign import assign
from qcmb_mpi.inputs.bonds import find_contacts
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.inputs.fragments import cut, ranges
from qcmb_mpi.inputs.frame import Frame
from qcmb_mpi.inputs.job_file import Calculation, job_content, job_text
from qcmb_mpi.inputs.structure import read_structure
from qcmb_mpi.inputs.suspicions import suspicions
from qcmb_mpi.report.fragments_text import Row, fragments_table

__all__ = [
    "Converted",
    "Cutting",
    "cache_folder",
    "check_targets",
    "convert",
    "gathered",
    "how_to_run",
    "left_over",
    "removed",
    "summaries",
    "targets",
]

#: Where the user wrote what the loader finds wrong in the new file.
FLAGS = {
    "manybody.max_nbody": "--max-nbody",
    "bsse.type": "--bsse",
    "calculation.single.driver": "--driver",
    "calculation.single.program": "--program",
    "calculation.single.method": "--method",
    "calculation.single.basis": "--basis",
    "program.keywords": "--keywords",
    "molecule.inline.fragment_charges": "--charges",
    "molecule.inline.fragment_multiplicities": "--multiplicities",
}

#: Tables shown where the frames of a file differ.
DIFFERENT = 5


@dataclass(frozen=True)
class Cutting:
    """How the user wants the structure cut, as written on the command line.

    Attributes
    ----------
    fragments, by, charges, multiplicities
        The flags of those names; None where not given.
    """

    fragments: str | None = None
    by: str | None = None
    charges: str | None = None
    multiplicities: str | None = None


@dataclass(frozen=True)
class Converted:
    """One frame as an input file.

    Attributes
    ----------
    text
        Content of the file, accepted by the loader.
    summary
        What was found, in a line and a table.
    warnings
        Kind and sentence of what may not be meant.
    """

    text: str
    summary: str
    warnings: tuple[tuple[str, str], ...]


def _frames(source: Path, number: int | None) -> list[Frame]:
    """All frames of a file, or the one with a (1-based) number."""
    try:
        frames = read_structure(source)
    except InputError as error:
        raise in_source(error, str(source)) from None
    if number is None:
        return frames
    if not 1 <= number <= len(frames):
        raise InputError(f"there is no frame {number}: {source} has {len(frames)}", "--frame")
    return [frames[number - 1]]


def convert(
    source: Path, number: int | None, cutting: Cutting, calculation: Calculation, cache_dir: Path
) -> list[Converted]:
    """Input files for all frames of a file, or for one.

    Parameters
    ----------
    number
        The 1-based frame wanted; None takes all.
    cache_dir
        Folder that the jobs of several frames share.

    Raises
    ------
    InputError
        Anything wrong in the file or the flags, with the frame where there are several.
    """
    frames = _frames(source, number)
    shared = str(cache_dir) if len(frames) > 1 else None
    converted = []
    for i, frame in enumerate(frames, 1):
        try:
            converted.append(_convert(frame, cutting, calculation, shared))
        except InputError as error:
            place = str(source) if len(frames) == 1 else f"{source}, frame {i}"
            raise in_source(error, place) from None
    return converted


def _convert(frame: Frame, cutting: Cutting, calculation: Calculation, cache_dir: str | None) -> Converted:
    from qcelemental import constants

    scale = 1.0 if frame.units == "angstrom" else float(constants.bohr2angstroms)
    contacts = find_contacts(frame.symbols, frame.geometry * scale)
    fragments = cut(frame, contacts, cutting.fragments, cutting.by)
    assigned = assign(frame, fragments, cutting.charges, cutting.multiplicities)
    content = job_text(job_content(frame, fragments, assigned, calculation, cache_dir))
    try:
        loaded = from_model(text.parse(content, ".json"))
    except InputError as error:
        raise _by_flag(error) from None
    rows = [
        Row(formula, ranges(atoms), len(atoms), charge, multiplicity)
        for formula, atoms, charge, multiplicity in zip(
            fragments.formulas, fragments.atoms, assigned.charges, assigned.multiplicities, strict=True
        )
    ]
    what = "1 fragment" if len(rows) == 1 else f"{len(rows)} fragments"
    head = f"{len(frame.symbols)} atoms, {what} ({fragments.origin}), charge {sum(assigned.charges)}"
    found = suspicions(frame, fragments, assigned, contacts)
    found += [(warning, warning) for warning in loaded.warnings]
    return Converted(content, f"{head}\n{fragments_table(rows)}", tuple(found))


def _by_flag(error: InputError) -> InputError:
    """The loader's error under the flag that the user wrote."""
    field = error.field or ""
    for start, flag in FLAGS.items():
        if field.startswith(start):
            return InputError(str(error).removeprefix(f"{field}: "), flag)
    return error


def gathered(warnings: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """The warnings of all frames, each kind once with the frames that have it."""
    first: dict[str, str] = {}
    having: dict[str, list[int]] = {}
    for i, of_frame in enumerate(warnings, 1):
        for kind, sentence in of_frame:
            first.setdefault(kind, sentence)
            having.setdefault(kind, []).append(i)
    if len(warnings) == 1:
        return list(first.values())
    return [f"{_which(having[kind], len(warnings))}: {sentence}" for kind, sentence in first.items()]


def _which(frames: Sequence[int], total: int) -> str:
    if len(frames) == total:
        return f"all {total} frames (shown for the first)"
    more = f" (and {len(frames) - 1} others)" if len(frames) > 1 else ""
    return f"frame {frames[0]}{more}"


def summaries(source: str, texts: Sequence[str]) -> str:
    """What was found in the frames, those with the same fragments together."""
    having: dict[str, list[int]] = {}
    for i, summary in enumerate(texts, 1):
        having.setdefault(summary, []).append(i)
    if len(texts) == 1:
        return f"{source}: {texts[0]}"
    shown = list(having.items())[:DIFFERENT]
    parts = [f"{source}, {_frame_numbers(frames)}: {summary}" for summary, frames in shown]
    if len(having) > DIFFERENT:
        parts.append(f"... and {len(having) - DIFFERENT} other ways in which frames fall into fragments")
    return "\n".join(parts)


def _frame_numbers(frames: Sequence[int]) -> str:
    numbers = ranges([frame - 1 for frame in frames]).replace("+", ", ")
    return f"{'frame' if len(frames) == 1 else 'frames'} {numbers}"


def targets(output: Path, n_jobs: int) -> list[Path]:
    """The names of the input files: ``job.json``, or ``job-001.json`` and so on."""
    if n_jobs == 1:
        return [output]
    width = _width(n_jobs)
    return [output.with_name(f"{output.stem}-{i:0{width}}{output.suffix}") for i in range(1, n_jobs + 1)]


def how_to_run(output: Path, n_jobs: int) -> str:
    """The commands that follow."""
    program = "python -m qcmb_mpi"
    if n_jobs == 1:
        name = shlex.quote(str(output))
        return f"Wrote {output}. Ask the engine with `{program} validate {name}`, then `{program} {name}`."
    first, *_, last = targets(output, n_jobs)
    start = shlex.quote(str(output.with_name(f"{output.stem}-")))
    pattern = f"{start}{'[0-9]' * _width(n_jobs)}{shlex.quote(output.suffix)}"
    return (
        f"Wrote {n_jobs} jobs, {first} to {last}, which share the cache folder {cache_folder(output)}. "
        f"To run them here, one after the other:\n"
        f'  for job in {pattern}; do {program} "$job" </dev/null; done'
    )


def cache_folder(output: Path) -> Path:
    """The folder that the jobs of several frames share."""
    return output.with_name(f"{output.stem}.cache")


def _width(n_jobs: int) -> int:
    return max(3, len(str(n_jobs)))


def left_over(output: Path, paths: Sequence[Path]) -> list[Path]:
    """Jobs that an earlier conversion of more frames has left beside these.

    A numbered name alone does not make a file ours: it has to name the cache folder that the jobs share.

    Raises
    ------
    InputError
        Another file of such a name: the command that runs all jobs would run it, too.
    """
    if len(paths) == 1:
        return []
    numbered = re.compile(rf"{re.escape(output.stem)}-(\d{{3,}}){re.escape(output.suffix)}")
    new = {path.name for path in paths}
    found = []
    for path in sorted(output.parent.iterdir()):
        match = numbered.fullmatch(path.name)
        if match is None or path.name in new:
            continue
        if path.is_file() and _shared_cache(path) == cache_folder(output).name:
            found.append(path)
        elif len(match[1]) == _width(len(paths)):
            raise InputError(
                f"{path} is named like a job of this conversion but is none, and would be run with them; "
                "move it, or choose another name",
                "--output",
            )
    return found


def _shared_cache(path: Path) -> str | None:
    """Name of the cache folder that a job names; None for any other file."""
    try:
        return Path(json.loads(path.read_text())["execution"]["cache_dir"]).name
    except (OSError, ValueError, LookupError, TypeError):
        return None


def check_targets(
    paths: Sequence[Path], source: Path, stale: Sequence[Path] = (), *, overwrite: bool
) -> None:
    """See that nothing is lost by writing these files, and that ``stale`` ones may go.

    Raises
    ------
    InputError
        If one of them is the structure itself, or exists and ``overwrite`` is False.
    """
    there = [path for path in paths if path.exists()]
    for path in there:
        if path.samefile(source):
            raise InputError(f"{path} is the structure itself; choose another name", "--output")
    if overwrite:
        return
    if there:
        others = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise InputError(
            f"{there[0]}{others} exists already; choose another name or add --overwrite", "--output"
        )
    if stale:
        raise InputError(
            f"{_named(stale)} of an earlier conversion would be run with the new ones; "
            "remove them, choose another name, or add --overwrite, which removes them",
            "--output",
        )


def removed(stale: Sequence[Path]) -> str:
    """What is said of jobs that had to go."""
    return f"Removed {_named(stale)} of an earlier conversion; checkpoints and results stay."


def _named(paths: Sequence[Path]) -> str:
    if len(paths) <= 3:
        return ", ".join(map(str, paths))
    return f"{paths[0]} to {paths[-1]} ({len(paths)} jobs)"
