"""Every form of input that users of QCManyBody have, and every spelling of their commands, works here.

``data/formats`` holds one cluster in all of them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from qcmb_mpi import ParallelManyBodyComputer
from qcmb_mpi.cli import main
from qcmb_mpi.inputs import load

FORMATS = Path(__file__).parent / "data" / "formats"
PARTS = ("cluster.xyz", "cluster.pdb", "molecule.json")  # named by others
INPUTS = sorted(path.name for path in FORMATS.iterdir() if path.name not in PARTS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(FORMATS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("QCMB_MPI_THREADS_PER_WORKER", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def energies() -> dict[str, float]:
    """Of one level, and of two, computed from the first input of each."""
    computer = ParallelManyBodyComputer
    return {
        name: computer.from_manybodyinput(json.loads((FORMATS / name).read_text())).return_result
        for name in ("schema_v2.json", "schema_v2_levels.json")
    }


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_runs(name: str, folder: Path, energies: dict[str, float]) -> None:
    assert main(["run", name, "-q", "--no-checkpoint", "-o", "result.json"]) == 0
    result = json.loads((folder / "result.json").read_text())
    several = "levels" in name or "multi" in name
    expected = energies["schema_v2_levels.json" if several else "schema_v2.json"]
    assert result["schema_version"] == (1 if "v1" in name else 2)
    # in angstrom, with three decimals, the geometry is the same only so far
    assert result["return_result"] == pytest.approx(expected, abs=1e-9)


def run(*arguments: str) -> None:
    assert main(["run", "schema_v2.json", "--no-checkpoint", "-q", *arguments]) == 0


def test_the_result_may_be_yaml_or_text(folder: Path, energies: dict[str, float]) -> None:
    energy = energies["schema_v2.json"]
    run("--format", "yaml")
    assert yaml.safe_load((folder / "schema_v2.result.yaml").read_text())["return_result"] == energy
    run("-o", "named.yml")
    assert yaml.safe_load((folder / "named.yml").read_text())["return_result"] == energy
    run("--format", "text")
    text = (folder / "schema_v2.result.txt").read_text()
    assert f"nocp interaction energy: {energy:.12f}" in text
    assert "tasks computed" in text


def test_the_output_section_says_how_and_where(folder: Path) -> None:
    content = json.loads((folder / "cli_inline.json").read_text())
    content["output"] = {"format": "json", "file": "mine.json", "pretty": False, "include_timings": False}
    inner = folder / "inner"
    inner.mkdir()
    (inner / "input.json").write_text(json.dumps(content))
    assert main(["inner/input.json", "--no-checkpoint", "-q"]) == 0
    text = (inner / "mine.json").read_text()  # beside the input, like all that it names
    assert text.count("\n") == 1
    assert not [name for name in json.loads(text)["provenance"] if name.endswith("seconds")]
    assert main(["inner/input.json", "--no-checkpoint", "-q", "-o", "flag.txt", "--format", "text"]) == 0
    assert "tasks computed" not in (folder / "flag.txt").read_text()


def test_a_failure_is_written_in_the_form_of_the_result(folder: Path) -> None:
    content: Any = json.loads((folder / "cli_inline.json").read_text())
    content["program"] = {"keywords": {"max_iter": 1}}
    (folder / "input.json").write_text(json.dumps(content))
    assert main(["input.json", "--no-checkpoint", "-q", "--max-retries", "0", "--format", "yaml"]) == 1
    failure = yaml.safe_load((folder / "input.result.yaml").read_text())
    assert failure["success"] is False
    assert len(failure["failed_tasks"]) == 7


def test_the_other_spellings_of_run(folder: Path) -> None:
    arguments = ["--parallel", "--n-workers", "2", "--checkpoint-file", "c.h5", "--log", "run.log"]
    assert main(["-q", "run", "schema_v2.json", *arguments]) == 0
    assert (
        main(["run", "schema_v2.json", "--no-parallel", "--checkpoint-file", "c.h5", "--resume", "-q"]) == 0
    )
    result = json.loads((folder / "schema_v2.result.json").read_text())
    assert (result["provenance"]["tasks_computed"], result["provenance"]["tasks_reused"]) == (0, 7)
    log = (folder / "run.log").read_text()
    assert "rank 0 on " in log
    assert "7 tasks on 2 ranks of " in log


def test_validate_is_strict_and_shows_the_schema(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["validate", "cli_xyz.yaml", "--strict"]) == 0
    capsys.readouterr()
    assert main(["validate", "cli_xyz.yaml", "--show-schema"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema_name"] == "qcschema_many_body_input"
    assert shown["molecule"]["fragment_charges"] == [0.0, 0.0, 0.0]
    content = json.loads((folder / "schema_v2.json").read_text())
    content["specification"]["specification"]["spare"] = content["specification"]["specification"]["(auto)"]
    content["specification"]["keywords"]["levels"] = {"3": "(auto)"}
    (folder / "spare.json").write_text(json.dumps(content))
    assert main(["validate", "spare.json"]) == 0
    assert main(["validate", "spare.json", "--strict"]) == 2
    assert "spare serves no body order" in capsys.readouterr().err


def test_plan_shows_its_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "schema_v2.json", "--show-tasks"]) == 0
    assert '["(auto)", [1, 2, 3], [1, 2, 3]]' in capsys.readouterr().out


def test_convert_brings_an_input_into_the_other_notation(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "there").mkdir()
    assert main(["convert", "cli_xyz.yaml", "there/input.json"]) == 0
    content = json.loads((folder / "there" / "input.json").read_text())
    assert content["molecule"]["file"] == "../cluster.xyz"
    before, after = load("cli_xyz.yaml").problem, load("there/input.json").problem
    assert (before.cluster.geometry == after.cluster.geometry).all()
    assert before.levels == after.levels
    assert main(["convert", "there/input.json", "back.yaml"]) == 0
    assert yaml.safe_load((folder / "back.yaml").read_text())["molecule"]["file"] == "cluster.xyz"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cli_xyz.yaml"], "is an input; name the file to convert it to"),
        (["cli_xyz.yaml", "input.txt"], "expected a name that ends with .json, .yaml or .yml"),
        (["cli_xyz.yaml", "cli_inline.json"], "exists; --overwrite replaces it"),
        (["nowhere.yaml", "input.json"], "nowhere.yaml: there is no such file"),
        (["cluster.xyz", "input.json"], "is missing: --program, --method, --max-nbody, --bsse"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *arguments]) == 2
    assert words in capsys.readouterr().err
