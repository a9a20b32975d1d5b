"""Every block of the parallel-execution guide works here: the scripts, commands and inputs users have.

``data/guide`` holds the blocks as the guide prints them.  What has to be changed before they run is in
this file, all of it: names of imports and programs, and what the guide itself leaves open.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from clusters import ATOMS, GFN2, HYDROGENS, many_body, waters
from program import PATIENCE, Program, environment

import qcmb_mpi
from qcmb_mpi import ExecutorConfig, ManyBodyInput, ParallelManyBodyComputer
from qcmb_mpi.cli import main

BLOCKS = Path(__file__).parent / "data" / "guide"

#: The only change that every block needs.
IMPORTS = {"from qcmanybody": "from qcmb_mpi"}
COMMANDS = {"qcmanybody run": "qcmb-mpi run"}

INPUT = many_body(HYDROGENS, level=GFN2, bsse_type=["nocp"])


@pytest.fixture(scope="module")
def serial() -> Any:
    """What one task after the other gives."""
    os.environ.pop("QCMB_MPI_N_WORKERS", None)
    return ParallelManyBodyComputer.from_manybodyinput(ManyBodyInput(**INPUT))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QCMB_MPI_THREADS_PER_WORKER", "1")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    monkeypatch.chdir(tmp_path)


def block(name: str, changes: Mapping[str, str] | None = None) -> str:
    """A block with the words changed that have to be; each of them must be there."""
    text = (BLOCKS / name).read_text()
    for old, new in (changes or {}).items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text


def execute(name: str, changes: Mapping[str, str] | None = None, **values: Any) -> dict[str, Any]:
    """Run a Python block; returns its variables.

    Blocks go on from those before them: the input and the imported names are there.
    """
    variables = {
        "mb_input": ManyBodyInput(**INPUT),
        **{name: getattr(qcmb_mpi, name) for name in qcmb_mpi.__all__},
        **values,
    }
    exec(compile(block(name, changes), name, "exec"), variables)
    return variables


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quick_start.py", {}),
        ("pattern_1_development.py", {}),
        ("pattern_2_production.py", {}),
        ("pattern_3_batch_system.py", {}),
        ("pattern_4_little_memory.py", {}),
        ("pattern_5_long_running.py", {}),
        ("profile.py", {"elapsed_1worker": 1.0}),
        ("out_of_memory.py", {}),
        ("failing_randomly.py", {}),
        ("example_2_custom_config.py", {}),
    ],
)
def test_a_script_gives_the_bits_of_a_serial_run(name: str, values: dict[str, Any], serial: Any) -> None:
    imports = {} if name == "pattern_4_little_memory.py" else IMPORTS
    result = execute(name, imports, **values)["result"]
    assert result.ret_energy.hex() == serial.ret_energy.hex()
    assert result.properties == serial.properties
    assert result.stdout == serial.stdout


def test_the_batch_system_says_how_many_workers(serial: Any) -> None:
    variables = execute("pattern_3_batch_system.py", IMPORTS)
    assert variables["n_workers"] == variables["result"].provenance.model_dump()["ranks"] == 2
    assert serial.provenance.model_dump()["ranks"] == 1


def test_every_setting_has_the_guides_name() -> None:
    config = execute("executor_config.py", IMPORTS)["config"]
    assert config == ExecutorConfig(checkpoint_file="checkpoint.json")
    assert repr(config).startswith("ExecutorConfig(n_workers=None, timeout_per_task=3600.0, max_retries=2, ")
    assert eval(repr(config)) == config


def test_the_settings_for_trouble_are_taken() -> None:
    assert execute("hanging.py")["config"] == ExecutorConfig(log_level="DEBUG")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("n_workers_rule.py", "n_workers"),
        ("n_workers_examples.py", "n_workers"),
        ("workers_and_tasks.py", "n_workers"),
        ("timeouts.py", "timeout_per_task"),
        ("retries.py", "max_retries"),
    ],
)
def test_the_numbers_are_settings(name: str, field: str) -> None:
    value = execute(name, cpu_count=os.cpu_count())[field]
    assert getattr(ExecutorConfig(**{field: value}), field) == value


def test_the_check_of_the_number_of_tasks_runs(capsys: pytest.CaptureFixture[str], serial: Any) -> None:
    # the guide leaves the body of its last loop open
    execute("no_speedup.py", {"# ... benchmark each": "pass"}, tasks=serial.cluster_properties)
    assert capsys.readouterr().out == "Total tasks: 7\n"


def test_the_count_of_tasks_is_the_plans(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path / "input.json", many_body(ATOMS, bsse_type=["nocp"], max_nbody=3))
    assert main(["plan", "input.json", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    lines = block("task_count.txt").splitlines()
    assert lines[0] == f"3-body calculation with {plan['n_fragments']} fragments:"
    for n, name in (("1", "monomers"), ("2", "dimers"), ("3", "trimers")):
        assert f"- {plan['tasks_by_nbody'][n]} {name} ({n}-body)" in lines
    assert lines[-1].startswith(f"= {plan['n_tasks']} independent tasks")


def test_the_water_trimer_runs_as_a_script(program: Program) -> None:
    """The guide leaves the coordinates open; method and basis are made small."""
    changes = {
        **IMPORTS,
        "geometry=...": f"geometry={waters(3)['geometry']}",
        '"psi4"': '"pyscf"',
        '"mp2"': '"hf"',
        '"cc-pvdz"': '"sto-3g"',
    }
    script = program.write("trimer.py", block("example_1_water_trimer.py", changes))
    text = program.succeed(script=script).out
    content = many_body(waters(3), bsse_type=["cp"], max_nbody=3)
    serial = ParallelManyBodyComputer.from_manybodyinput(content)
    assert text == f"Total energy: {serial.ret_energy}\n"


# --- the command line ---------------------------------------------------------------------------------


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a text with bash, with the program on the PATH as users have it."""
    import subprocess

    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "qcmb-mpi"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m qcmb_mpi "$@"\n')
    program.chmod(0o755)
    environ = {**environment(), "HOME": str(tmp_path), "SLURM_CPUS_PER_TASK": "2"}
    top = str(Path(qcmb_mpi.__file__).parent.parent)
    environ["PYTHONPATH"] = os.pathsep.join([top, environ.get("PYTHONPATH", "")])
    environ["PATH"] = os.pathsep.join([str(folder), environ["PATH"]])

    def run(text: str) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_the_commands_run_with_the_execution_section(
    shell: Callable[[str], None], tmp_path: Path, serial: Any
) -> None:
    write(tmp_path / "input.json", {**INPUT, **json.loads(block("execution.json"))})
    for line in block("quick_start.sh", COMMANDS).splitlines():
        if not line or line.startswith("#"):
            continue
        shell(line)
        result = json.loads((tmp_path / "input.result.json").read_text())
        assert result["return_result"].hex() == serial.return_result.hex()
        (tmp_path / "input.checkpoint.h5").unlink()


def test_the_batch_script_runs(shell: Callable[[str], None], tmp_path: Path, serial: Any) -> None:
    """The site's modules and the environment of the guide's user are made up."""
    write(tmp_path / "input.json", INPUT)
    activate = tmp_path / ".venvs" / "qcmanybody" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("")
    shell("module() { :; }\n" + block("example_3_batch_script.sh", COMMANDS))
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["return_result"].hex() == serial.return_result.hex()
    assert result["provenance"]["ranks"] == 2


def test_every_block_is_tested() -> None:
    text = Path(__file__).read_text()
    for path in BLOCKS.iterdir():
        assert f'"{path.name}"' in text, path.name
