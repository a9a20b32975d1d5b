"""Writes what comes from the code: parts of docs/architecture.md, and the job scripts in jobscripts/.

python docs/generate.py            # writes
python docs/generate.py --check    # only says whether it is up to date
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
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "architecture.md"
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


def page() -> str:
    text = PAGE.read_text()
    for name, content in (("schedule", schedule()), ("files", files())):
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, c=content: f"{m[1]}\n{c}\n\n{m[2]}", text, flags=re.DOTALL)
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


def main() -> int:
    written = {PAGE: page(), **jobscripts()}
    if "--check" in sys.argv[1:]:
        old = [str(path.relative_to(TOP)) for path, text in written.items() if path.read_text() != text]
        if old:
            print(f"out of date: {', '.join(old)}; run python docs/generate.py", file=sys.stderr)
        return 1 if old else 0
    for path, text in written.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
