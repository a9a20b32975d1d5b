"""Jobs of the toy program: what may go wrong is in files, and how often each task was tried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters import many_body
from program import Program

DATA = Path(__file__).parent / "data"


class Toy:
    """The toy program in a job's folder.

    Parameters
    ----------
    program
        Starts the jobs.
    n_atoms
        Of the cluster, a line; each is a fragment.
    plugin
        ``toy_program``, which QCEngine runs, or ``toy_engine``, which is quick and has derivatives.
    """

    def __init__(self, program: Program, n_atoms: int = 5, plugin: str = "toy_engine"):
        self._program = program
        self._n_atoms = n_atoms
        self._plugin = plugin
        self.folder = program.folder / "toy"
        self.folder.mkdir()
        for name in (plugin, "mishaps"):
            shutil.copy(DATA / f"{name}.py", program.folder)
        self.variables = {"TOY_FOLDER": str(self.folder)}

    def write_input(
        self,
        max_nbody: int = 3,
        name: str = "input.json",
        driver: str = "energy",
        bsse_type: str = "nocp",
        **execution: Any,
    ) -> None:
        """The input file; further arguments are its execution section."""
        symbols = ["He", "Ne", "Ar"]
        molecule = {
            "symbols": [symbols[i % 3] for i in range(self._n_atoms)],
            "geometry": [x for i in range(self._n_atoms) for x in (5.0 * i, 0.0, 0.0)],
            "fragments": [[i] for i in range(self._n_atoms)],
        }
        content = many_body(
            molecule,
            level={"program": "toy", "method": "toy"},
            driver=driver,
            bsse_type=[bsse_type],
            max_nbody=max_nbody,
            return_total_data=True,
            execution={"plugins": [self._plugin], **execution},
        )
        self._program.write(name, content)

    def goes_wrong(self, mishaps: dict[str, Sequence[str]]) -> None:
        """Say what happens in the tries of each task from now on, and forget those there were."""
        (self.folder / "mishaps.json").write_text(json.dumps(mishaps))
        shutil.rmtree(self.folder / "tries", ignore_errors=True)

    def takes(self, seconds: float) -> None:
        """Say how long each task takes."""
        new = self.folder / "seconds.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "seconds")  # a task that looks meanwhile finds the one or the other

    def tries(self) -> dict[str, int]:
        """How often each task was tried."""
        folder = self.folder / "tries"
        return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.is_dir() else {}
