"""Writes what comes from the code: parts of the pages, and the job scripts in jobscripts/.

python docs/generate.py            # writes
python docs/generate.py --check    # only says whether they are up to date
python docs/generate.py --picture  # makes docs/increments.png anew, with the program's own report
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import from_inputs
import from_parser
from fields import FORMS

TOP = Path(__file__).resolve().parent.parent
DOCS = TOP / "docs"
JOBSCRIPTS = TOP / "jobscripts"


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def schedule() -> str:
    """The theory of operation, from the schedule's own docstring."""
    text = docstring(TOP / "qcmb_mpi" / "farm" / "schedule.py")
    theory = text.split("Theory of operation\n-------------------\n")[1]
    # double backticks and literal blocks of the docstring as Markdown has them
    return theory.replace("::\n", ":\n").replace("``", "`").strip()


def files() -> str:
    """Every module with the first sentence of its docstring."""
    lines = ["| file | what it is for |", "|---|---|"]
    for path in sorted((TOP / "qcmb_mpi").rglob("*.py")):
        first = docstring(path).split("\n\n")[0].replace("\n", " ").replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{path.relative_to(TOP / 'qcmb_mpi')}` | {first} |")
    return "\n".join(lines)


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "architecture.md": {"schedule": schedule, "files": files},
    "commands.md": {"commands": from_parser.commands},
    "input.md": {
        "execution": from_inputs.execution,
        **{name: partial(from_inputs.form, name) for name in FORMS},
    },
}


def page(name: str) -> str:
    """A page with its generated parts as they should be."""
    text = (DOCS / name).read_text()
    for part, make in PARTS[name].items():
        begin = f"<!-- generated: {part} -->\n"
        before, after = text.split(begin)
        text = f"{before}{begin}\n{make()}\n\n<!-- end -->{after.split('<!-- end -->', 1)[1]}"
    return text


def jobscripts() -> dict[Path, str]:
    """What the commands in jobscripts/README.md that name an output write."""
    commands = re.findall(
        r"^    python (-m qcmb_mpi jobscript .* -o .*)$", (JOBSCRIPTS / "README.md").read_text(), re.MULTILINE
    )
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(TOP / "examples" / "water_hexamer_gfn2_screened.json", Path(folder, "input.json"))
        for command in commands:
            subprocess.run(
                [sys.executable, *shlex.split(command)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(TOP)},
                capture_output=True,
                check=True,
            )
        return {JOBSCRIPTS / script.name: script.read_text() for script in Path(folder).glob("*.sh")}


def picture() -> None:
    """The plot of a report that README and index show: ten waters, GFN2-xTB, through 3-body."""
    with tempfile.TemporaryDirectory() as folder:
        level = "--program tblite --method gfn2-xtb --max-nbody 3 --bsse nocp"
        structure = TOP / "examples" / "water_decamer.xyz"
        for words in (
            f"convert {structure} -o decamer.json {level}",
            "run decamer.json --quiet",
            "report decamer.checkpoint.h5 --png plots",
        ):
            subprocess.run([sys.executable, "-m", "qcmb_mpi", *words.split()], cwd=folder, check=True)
        shutil.copy(Path(folder, "plots", "distance.png"), DOCS / "increments.png")


def main() -> int:
    if "--picture" in sys.argv[1:]:
        picture()
        return 0
    written = {**{DOCS / name: page(name) for name in PARTS}, **jobscripts()}
    old = [path for path, text in written.items() if path.read_text() != text]
    if "--check" in sys.argv[1:]:
        if old:
            names = ", ".join(str(path.relative_to(TOP)) for path in old)
            print(f"out of date: {names}; run python docs/generate.py", file=sys.stderr)
        return 1 if old else 0
    for path in old:
        path.write_text(written[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
