"""What README and docs say is so: blocks run, links lead somewhere, generated parts are up to date.

A block of commands (``bash``) is run as it stands, in a folder with ``examples/`` and a finished job,
``input.json`` with ``input.checkpoint.h5``; what follows as ``text`` has to be in its output.  A block that
cannot be run here says why, in a comment before it, ``<!-- not run: ... -->``; its commands have to be ones
that the program's parser takes.  Python blocks of a page are one script.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clusters import GFN2, many_body, waters
from program import PATIENCE, environment

import qcmb_mpi
from qcmb_mpi.cli import _parser, main

TOP = Path(__file__).resolve().parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
EXAMPLES = sorted(
    path
    for path in (TOP / "examples").iterdir()
    if path.suffix in (".json", ".yaml") and ".result" not in path.name  # those that somebody has run
)
CALL = "python -m qcmb_mpi "
COMMANDS = re.compile(
    r"^ *(\$ )?(python|pip|mpirun|mpiexec|srun|sbatch|qsub|qcmb-mpi) +[-\w.'/]", re.MULTILINE
)
BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str
    note: str

    @property
    def runs(self) -> bool:
        return not self.note.startswith("not run: ")

    @property
    def commands(self) -> list[str]:
        """Its commands, those over several lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: Path, *languages: str) -> list[Block]:
    found = [Block(m["language"], m["text"], m["note"] or "") for m in BLOCK.finditer(page.read_text())]
    return [block for block in found if block.language in languages]


def having(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(block.runs for block in blocks(page, *languages))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as readers have it before them: the examples, and a job that is done."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(
        TOP / "examples", folder / "examples", ignore=shutil.ignore_patterns("*.h5*", "*.result*")
    )
    (folder / "input.json").write_text(
        json.dumps(many_body(waters(3), level=GFN2, bsse_type=["nocp"], max_nbody=2))
    )
    with inside(folder):
        assert main(["run", "input.json", "--quiet"]) == 0
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "reader"))


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def execute(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Run a command: ours in this process, since that is quicker, any other in a shell."""
    if command.startswith(CALL) and not re.search(r"[<>|&;$~*]", command):
        with inside(folder):
            try:
                code = main(shlex.split(command, comments=True)[3:])
            except SystemExit as end:  # of argparse
                code = int(end.code or 0)
        out, err = capfd.readouterr()
    else:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**environment(), "PATH": path, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    assert code == 0, f"{command}\n{out}\n{err}"
    return out


@pytest.mark.parametrize("page", having("bash"), ids=lambda p: p.name)
def test_commands_run_and_print_what_the_page_shows(
    page: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ""
    for block in blocks(page, "bash", "text"):
        if block.language == "bash":
            out = ""
            for command in block.commands if block.runs else ():
                out += execute(command, folder, capfd)
        elif out:
            assert block.text in out
            out = ""
    script = "\n".join(block.text for block in blocks(page, "python"))
    if script:
        run_script(script, folder, capfd)


@pytest.mark.parametrize(
    "page", [p for p in having("python") if p not in having("bash")], ids=lambda p: p.name
)
def test_python_blocks_run(page: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_script("\n".join(block.text for block in blocks(page, "python")), folder, capfd)


def run_script(script: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with inside(folder):
        exec(compile(script, "page", "exec"), {"__name__": "__main__"})
    if "print(" in script:
        assert re.search(r"-?\d+\.\d+", capfd.readouterr().out)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_is_not_run_is_at_least_understood(page: Path) -> None:
    for block in blocks(page, "bash"):
        for command in block.commands if not block.runs else ():
            for call in re.findall(r"-m qcmb_mpi (.*?)(?=$|<|>|\||&|;)", command):
                words = [re.sub(r"^\$.*", "1", word) for word in shlex.split(call, comments=True)]
                if words[0] not in known_commands():
                    words.insert(0, "run")
                _parser().parse_args(words)  # ends the test if it does not
    for block in blocks(page, "python"):
        ast.parse(block.text)
    for block in blocks(page, "json"):
        json.loads(block.text)


def known_commands() -> set[str]:
    return set(re.findall(r"add_parser\(\s*\"(\w+)\"", (TOP / "qcmb_mpi" / "cli.py").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_stands_in_a_block_that_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    for block in blocks(page, "", "text", "console", "sh"):
        quoted = block.note.startswith("printed: ")  # what tests/test_recovering.py compares
        assert quoted or not COMMANDS.search(block.text), f"make this a bash block: {block.text}"
    for line in BLOCK.sub("", text).splitlines():
        assert not (line.startswith("    ") and COMMANDS.search(line)), f"put this into a bash block: {line}"


def test_the_commands_that_the_pages_name_exist() -> None:
    for page in PAGES:
        for word in re.findall(r"-m qcmb_mpi ([a-z]+)\b(?![./])", page.read_text()):
            assert word in known_commands(), f"{page.name}: {word}"


def test_the_readme_begins_with_a_run_and_then_the_tests() -> None:
    first, second = blocks(TOP / "README.md", "bash")[:2]
    assert "mpiexec -n 2" in first.text
    assert "pytest" in second.text
    for block in (first, second):
        assert len(block.text.strip().splitlines()) == 1  # one command, by itself
        assert block.text.startswith("python3 -m venv")


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as sites and GitHub make them."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if not target.startswith("http"):
                name, _, anchor = target.partition("#")
                there = page.parent / name if name else page
                assert there.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in headings(there), f"{page.name}: {target}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^ +- (?:\w+: )?(\w+\.md)$", (TOP / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES[1:])


def test_every_public_name_is_on_the_page_of_the_python_interface() -> None:
    text = (TOP / "docs" / "api.md").read_text()
    shown = re.findall(r"^(?:::: [\w.]+\.|`(?:qcmb_mpi\.)?)(\w+)", text, re.MULTILINE)
    assert set(qcmb_mpi.__all__) <= set(shown)


def test_the_generated_parts_of_the_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(TOP / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_every_example_can_be_planned(example: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(example)]) == 0
    assert "tasks" in capfd.readouterr().out
