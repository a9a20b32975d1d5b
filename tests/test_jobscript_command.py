"""``jobscript``: what it writes for which flags, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clusters import ATOMS, many_body
from program import Program

from qcmb_mpi.cli import main
from qcmb_mpi.errors import InputError
from qcmb_mpi.jobscript import Request, parse_launcher, parse_memory, parse_time
from qcmb_mpi.jobscript_text import jobscript_text

FLAGS = ("--nodes", "2", "--ntasks-per-node", "3", "--time", "12:00:00")
N_TASKS = 4 + 6


@pytest.fixture
def water(program: Program) -> Program:
    program.write("water.json", many_body(ATOMS, bsse_type=["nocp"], max_nbody=2, return_total_data=True))
    return program


def request(system: str = "slurm", **changes: object) -> Request:
    fixed = {"script": "a.sh", "input": "a.json", "checkpoint": "a.checkpoint.h5"}
    return Request(system, **{**fixed, "nodes": 2, "ntasks_per_node": 3, "time": 3600, **changes})  # type: ignore[arg-type]


def directives(text: str, word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in text.splitlines() if line.startswith(f"{word} ")]


def shellcheck(text: str, severity: str = "style") -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        ["shellcheck", "--severity", severity, "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_slurm_is_asked_for() -> None:
    text = jobscript_text(
        request(cpus_per_task=4, memory="64G", queue="long", account="chem", time=90061, input="a b.json")
    )
    assert directives(text, "#SBATCH") == [
        "--job-name=a_b",
        "--nodes=2",
        "--ntasks-per-node=3",
        "--cpus-per-task=4",
        "--time=25:01:01",
        "--mem=64G",
        "--partition=long",
        "--account=chem",
        "--output=%x-%j.log",
        "--open-mode=append",
        "--signal=B:USR1@120",
        "--requeue",
    ]


def test_what_pbs_is_asked_for() -> None:
    text = jobscript_text(
        request("pbs", cpus_per_task=4, memory="64G", queue="long", account="chem", input="2_" + "x" * 20)
    )
    assert directives(text, "#PBS") == [
        "-N j2_xxxxxxxxxxxx",
        "-l select=2:ncpus=12:mpiprocs=3:mem=64gb",
        "-l walltime=01:00:00",
        "-q long",
        "-A chem",
        "-j oe",
    ]


def test_the_site_decides_what_is_not_asked_for() -> None:
    slurm, pbs = jobscript_text(request()), jobscript_text(request("pbs"))
    assert not any(word in slurm for word in ("--mem", "--partition", "--account"))
    assert not any(line.startswith(("#PBS -q", "#PBS -A")) or "mem=" in line for line in pbs.splitlines())


def test_a_short_limit_leaves_time_to_compute() -> None:
    assert "#SBATCH --signal=B:USR1@15" in jobscript_text(request(time=60))


@pytest.mark.parametrize("system", ["slurm", "pbs"])
@pytest.mark.parametrize(
    "name", ["it's $HOME.json", 'a "quoted" `name`', "-n.json", "two\nlines.json", "{braces}.json"]
)
def test_any_name_of_a_file_is_taken_as_it_is(system: str, name: str) -> None:
    text = jobscript_text(request(system, input=name, script=f"{name}.sh", plugins=(name,)))
    shellcheck(text, "warning")  # it remarks on dollars in quotes
    settings = "\n".join(line for line in text.split("max_rounds=")[0].splitlines() if line[:1] != "#")
    printed = subprocess.run(
        ["bash", "-c", f'{settings}\nprintf "%s|" "$input" "${{flags[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    given = f"./{name}" if name.startswith("-") else name
    assert printed == f"{given}|--plugin|{name}|"


def test_srun_gets_what_it_does_not_inherit() -> None:
    text = jobscript_text(request(launcher=parse_launcher("srun --mpi=pmix")))
    assert 'launch=(srun --mpi=pmix --ntasks="$ranks" --cpus-per-task="$threads" --wait=60)' in text
    shellcheck(text)


def test_lines_of_the_site_stand_as_they_are_given() -> None:
    text = jobscript_text(request(setup=("module load openmpi", 'source "$HOME/venv/bin/activate"')))
    assert '\nmodule load openmpi\nsource "$HOME/venv/bin/activate"\n' in text
    shellcheck(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("24:00:00", 86400), ("1-00:00:01", 86401), ("0:01:00", 60), ("100:00:00", 360000)]
)
def test_times(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["30", "10:00", "1:60:00", "00:00:59", "1-2", "-1:00:00", "soon", ""])
def test_times_that_could_mean_two_things_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--time: expected HH:MM:SS"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "memory"), [("64GB", "64G"), ("64g", "64G"), ("500 MiB", "500M"), ("2T", "2T")]
)
def test_memory(text: str, memory: str) -> None:
    assert parse_memory(text) == memory


@pytest.mark.parametrize("text", ["64", "0GB", "1.5GB", "GB", "64 apples", "-1G"])
def test_memory_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--memory: expected"):
        parse_memory(text)


def test_the_command_writes_a_script_beside_the_input(water: Program) -> None:
    out = water.succeed("jobscript", "slurm", "water.json", *FLAGS).out
    assert "6 ranks of 1 core on 2 nodes" in out
    assert "sbatch water.slurm.sh" in out
    text = (water.folder / "water.slurm.sh").read_text()
    assert "\ninput=water.json\n" in text
    assert "status water.checkpoint.h5" in text
    assert f'export PATH={Path(sys.executable).parent}:"$PATH"' in text
    shellcheck(text)


def test_names_are_those_seen_from_the_folder_of_the_script(water: Program) -> None:
    (water.folder / "jobs").mkdir()
    water.write("my.py", "")
    out = water.succeed(
        *("jobscript", "pbs", "water.json", *FLAGS, "-o", "jobs/a.sh"),
        *("--plugin", "my.py", "--plugin", "my.module"),
    ).out
    assert "cd jobs && qsub a.sh" in out
    text = (water.folder / "jobs" / "a.sh").read_text()
    assert "\ninput=../water.json\n" in text
    assert "flags=(--plugin ../my.py --plugin my.module)" in text
    assert "\nscript=a.sh " in text


@pytest.mark.parametrize(("nodes", "said"), [("5", False), ("6", True)])
def test_more_ranks_than_tasks_are_noticed(water: Program, nodes: str, said: bool) -> None:
    finished = water.succeed(
        *("jobscript", "slurm", "water.json", "--nodes", nodes, "--ntasks-per-node", "2"),
        *("--time", "1:00:00"),
    )
    assert (f"12 ranks for {N_TASKS} tasks" in finished.err) == said


@pytest.mark.parametrize(
    ("system", "flags", "said"),
    [
        ("slurm", ["--nodes", "0"], "--nodes: expected a whole number of at least 1"),
        ("slurm", ["--ntasks-per-node", "-3"], "--ntasks-per-node: expected a whole number"),
        ("slurm", ["--cpus-per-task", "0"], "--cpus-per-task: expected a whole number"),
        ("slurm", ["--nodes", "two"], "argument --nodes: invalid int value: 'two'"),
        ("slurm", ["--time", "30"], "--time: expected HH:MM:SS"),
        ("slurm", ["--memory", "64"], "--memory: expected the memory of a node"),
        ("slurm", ["--memory", ""], "--memory: expected the memory of a node"),
        ("slurm", ["--partition", "a b"], "--partition: 'a b' is no name"),
        ("pbs", ["--queue", "a\n#PBS -l x"], "--queue: 'a\\n#PBS -l x' is no name"),
        ("slurm", ["--account", ""], "--account: '' is no name"),
        ("slurm", ["--launcher", "run"], "--launcher: expected mpiexec, mpirun or srun"),
        ("slurm", ["--launcher", "srun '"], '--launcher: "srun \'" cannot be read'),
        ("pbs", ["--launcher", "srun"], "--launcher: srun belongs to Slurm"),
        ("slurm", ["--plugin", "not a module"], "--plugin: ['not a module'] is not allowed"),
        ("slurm", ["-o", "water.json", "--overwrite"], "--output: water.json is the input itself"),
        ("slurm", ["-o", "there.sh"], "--output: there.sh exists already"),
        ("slurm", ["-o", "nowhere/a.sh"], "--output: the folder nowhere does not exist"),
    ],
)
def test_what_is_refused_names_the_flag_and_writes_nothing(
    water: Program,
    system: str,
    flags: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    water.write("there.sh", "mine")
    before = {name: (water.folder / name).read_text() for name in water.files()}
    monkeypatch.chdir(water.folder)
    try:
        code = main(["jobscript", system, "water.json", *FLAGS, *flags])
    except SystemExit as stopped:  # argparse's way
        code = int(stopped.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err
    assert {name: (water.folder / name).read_text() for name in water.files()} == before


def test_an_input_that_is_not_there_or_wrong_is_refused(water: Program) -> None:
    water.write("wrong.json", {"molecule": 1})
    for name in ("nothing.json", "wrong.json"):
        finished = water.run("jobscript", "slurm", name, *FLAGS)
        assert finished.code == 2
        assert name in finished.err
    assert water.files() == ["water.json", "wrong.json"]


def test_an_existing_script_is_replaced_when_asked(water: Program) -> None:
    water.write("there.sh", "old")
    water.succeed("jobscript", "slurm", "water.json", *FLAGS, "-o", "there.sh", "--overwrite")
    assert "#SBATCH" in (water.folder / "there.sh").read_text()
