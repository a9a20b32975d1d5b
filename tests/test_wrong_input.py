"""Wrong input ends with exit code 2, soon, with one message that says what to change, and no trace."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clusters import GFN2, HF, many_body, waters
from program import Finished, Mpi, Program

SOON = 15.0  # seconds; five on a quiet machine

WATERS = waters(3)
RIGHT = many_body(WATERS, bsse_type=["nocp"], max_nbody=2)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The right input with the field at a dotted path set."""
    content = copy.deepcopy(RIGHT)
    *groups, last = path.split(".")
    inner = content
    for group in groups:
        inner = inner.setdefault(group, {})
    inner[last] = value
    return content


LEVEL = "specification.specification"
KEYWORDS = "specification.keywords"
FRAGMENTS = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@dataclass(frozen=True)
class Case:
    """What is wrong, how the program is called, and words that its message must have."""

    content: Mapping[str, Any] | str | None
    words: tuple[str, ...]
    flags: tuple[str, ...] = ()
    input: str = "input.json"


CASES = {
    # the input
    "unknown field": Case(changed("specification.keyword", {}), ("keyword", "keywords")),
    "unknown keyword": Case(changed(f"{KEYWORDS}.max_body", 2), ("max_body", "max_nbody")),
    "unknown section": Case(changed("exekution", {}), ("exekution", "execution")),
    "method": Case(changed(f"{LEVEL}.model.method", "b3lpy"), ("method", "b3lpy")),
    "basis": Case(changed(f"{LEVEL}.model.basis", "cc-pvdzz"), ("basis", "cc-pvdzz")),
    "program": Case(changed(f"{LEVEL}.program", "pyscff"), ("program", "pyscff", "pyscf")),
    "BSSE word": Case(changed(f"{KEYWORDS}.bsse_type", ["counterpoise"]), ("bsse_type", "cp", "vmfc")),
    "driver": Case(changed("specification.driver", "gradients"), ("driver", "gradient")),
    "element": Case(changed("molecule.symbols", ["O", "H", "Hx", *"OHHOHH"]), ("symbols", "Hx")),
    "geometry length": Case(changed("molecule.geometry", [0.0] * 26), ("geometry", "26", "27")),
    "overlapping fragments": Case(
        changed("molecule.fragments", [[0, 1, 2], [2, 3, 4, 5], [6, 7, 8]]), ("fragments", "atom 2")
    ),
    "atoms in no fragment": Case(changed("molecule.fragments", FRAGMENTS[:2]), ("fragments", "6, 7, 8")),
    "atom that does not exist": Case(
        changed("molecule.fragments", [[1, 2, 3], [4, 5, 6], [7, 8, 9]]), ("fragments", "9")
    ),
    "multiplicity": Case(
        changed("molecule", {**WATERS, "fragment_multiplicities": [2, 1, 1], "molecular_multiplicity": 2}),
        ("fragment", "multiplicit", "electrons"),
    ),
    "charge": Case(
        changed("molecule", {**WATERS, "fragment_charges": [12.0, 0.0, 0.0], "molecular_charge": 12.0}),
        ("fragment", "charge"),
    ),
    "charges that do not add up": Case(
        changed("molecule", {**WATERS, "molecular_charge": 1.0}), ("molecular_charge", "fragment_charges")
    ),
    "max_nbody": Case(changed(f"{KEYWORDS}.max_nbody", 9), ("max_nbody", "9", "3 fragments")),
    "max_nbody against levels": Case(
        many_body(WATERS, named={"a": HF}, levels={2: "a"}, max_nbody=3), ("max_nbody", "levels")
    ),
    "supersystem_ie_only with levels": Case(
        many_body(WATERS, named={"a": HF, "b": GFN2}, levels={2: "a", 3: "b"}, supersystem_ie_only=True),
        ("supersystem_ie_only", "level"),
    ),
    "keyword of the engine": Case(changed(f"{LEVEL}.keywords", {"conv_tl": 1e-9}), ("conv_tl", "conv_tol")),
    "keyword of another engine": Case(
        many_body(WATERS, level={**GFN2, "keywords": {"acuracy": 1.0}}, bsse_type=["nocp"]), ("accuracy",)
    ),
    "ghosts with tblite": Case(many_body(WATERS, level=GFN2, bsse_type=["cp"]), ("tblite", "ghost")),
    "Hessian with tblite": Case(
        many_body(WATERS, level=GFN2, bsse_type=["nocp"], driver="hessian"), ("driver", "tblite", "Hessian")
    ),
    "negative time-out": Case(
        changed("execution", {"timeout_per_task": -5}), ("execution.timeout_per_task", "-5", "above 0")
    ),
    "plugin": Case(changed("execution", {"plugins": ["no_such_plugin"]}), ("plugin", "no_such_plugin")),
    # the file
    "broken JSON": Case(json.dumps(RIGHT)[:-20], ("input.json", "JSON")),
    "empty file": Case("", ("input.json", "empty")),
    "not an input": Case("[1, 2, 3]", ("input.json",)),
    "missing file": Case(None, ("nowhere.json",), input="nowhere.json"),
    "folder": Case(None, ("folder",), input="."),
    # the command line
    "output in no folder": Case(
        RIGHT, ("--output", "no_such_folder", "does not exist"), ("-o", "no_such_folder/x.json")
    ),
    "output not writable": Case(RIGHT, ("--output", "cannot write", "/proc"), ("-o", "/proc/x.json")),
    "output is a folder": Case(RIGHT, ("--output", "folder"), ("-o", ".")),
    "checkpoint in no folder": Case(
        RIGHT, ("--checkpoint", "no_such_folder", "does not exist"), ("--checkpoint", "no_such_folder/x.h5")
    ),
    "negative time-out flag": Case(RIGHT, ("--timeout-per-task", "above 0"), ("--timeout-per-task", "-1")),
    "no workers": Case(RIGHT, ("--n-workers", "at least 1"), ("--n-workers", "0")),
    "unknown flag": Case(RIGHT, ("--chekpoint",), ("--chekpoint", "x.h5")),
}

UNDER_MPI = ("max_nbody", "method", "broken JSON", "output not writable")


@dataclass(frozen=True)
class Outcome:
    finished: Finished
    files: list[str]
    left: list[str]


def run(folder: Path, name: str, start: Callable[..., Finished] = Program.run, **options: Any) -> Outcome:
    """Run one case in a folder of its own."""
    case = CASES[name]
    folder.mkdir()
    program = Program(folder)
    if case.content is not None:
        program.write("input.json", case.content if isinstance(case.content, str) else dict(case.content))
    finished = start(program, case.input, *case.flags, **options)
    left = program.close()
    return Outcome(finished, [file for file in program.files() if file != "input.json"], left)


def assert_refused(case: Case, outcome: Outcome) -> None:
    finished = outcome.finished
    assert finished.code == 2, finished
    assert not outcome.left
    assert "Traceback" not in finished.err, finished
    for word in case.words:
        assert word.lower() in finished.err.lower(), finished
    assert not finished.out, finished
    assert not outcome.files
    assert finished.seconds < SOON, finished


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_refused_with_a_message(tmp_path: Path, name: str) -> None:
    outcome = run(tmp_path / "job", name, Program.call)
    assert_refused(CASES[name], outcome)
    messages = [line for line in outcome.finished.err.splitlines() if line.startswith("qcmb")]
    assert len(messages) == 1, outcome.finished


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_process_refuses_it_as_a_call_does(tmp_path: Path, name: str) -> None:
    assert_refused(CASES[name], run(tmp_path / "job", name))


@pytest.mark.mpi
@pytest.mark.parametrize("name", UNDER_MPI)
def test_under_mpi_the_message_comes_once(tmp_path: Path, mpi: Mpi, name: str) -> None:
    outcome = run(tmp_path / "job", name, ranks=2, mpi=mpi)
    assert_refused(CASES[name], outcome)
    assert outcome.finished.err.count("qcmb_mpi: ") == 1, outcome.finished


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(program: Program) -> None:
    program.write("input.json", RIGHT)
    closed = program.folder / "closed"
    closed.mkdir(mode=0o500)
    finished = program.run("input.json", "-o", "closed/x.json")
    assert finished.code == 2, finished
    assert "cannot write" in finished.err
    assert "closed" in finished.err


def test_validate_says_the_same_as_run(program: Program) -> None:
    program.write("input.json", CASES["method"].content)
    finished = program.call("validate", "input.json")
    assert finished.code == 2, finished
    assert "b3lpy" in finished.err
    assert "Traceback" not in finished.err
    finished = program.call("validate", "input.json", "--json")
    assert finished.code == 2, finished
    assert json.loads(finished.out)["valid"] is False
