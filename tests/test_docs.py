"""What README and docs say is so: code runs, links lead somewhere, generated parts are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
EXAMPLES = sorted(
    path
    for path in (TOP / "examples").iterdir()
    if path.suffix in (".json", ".yaml") and ".result" not in path.name  # those that somebody has run
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        arguments, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path):
    for block in blocks(page, "python"):
        (tmp_path / "block.py").write_text(block)
        out = run([sys.executable, "block.py"], tmp_path)
        if "print(" in block:
            assert re.search(r"-?\d+\.\d+", out)


def test_the_readme_begins_with_a_run_and_then_the_tests():
    first, second = blocks(TOP / "README.md", "bash")[:2]
    assert "mpiexec -n 2" in first
    assert "pytest" in second
    for block in (first, second):
        assert len(block.strip().splitlines()) == 1  # one command, by itself
        assert block.startswith("python3 -m venv")


def test_the_commands_that_the_pages_name_exist():
    known = set(re.findall(r"add_parser\(\s*\"(\w+)\"", (TOP / "qcmb_mpi" / "cli.py").read_text()))
    for page in PAGES:
        for word in re.findall(r"-m qcmb_mpi ([a-z]+)\b(?![./])", page.read_text()):
            assert word in known, f"{page.name}: {word}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_generated_parts_of_the_architecture_page_are_up_to_date():
    run([sys.executable, str(TOP / "docs" / "generate.py"), "--check"], TOP)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name)
def test_every_example_can_be_planned(example):
    assert "tasks" in run([sys.executable, "-m", "qcmb_mpi", "plan", str(example)], TOP)
