"""Fills the parts of docs/architecture.md that come from the code.

python docs/generate.py            # writes
python docs/generate.py --check    # only says whether it is up to date
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "architecture.md"


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


def main() -> int:
    if "--check" in sys.argv[1:]:
        if page() != PAGE.read_text():
            print("docs/architecture.md is out of date: run python docs/generate.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
