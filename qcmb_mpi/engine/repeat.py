"""Computes one task again by hand, from the QCSchema file that a failure for good leaves behind.

`python -m qcmb_mpi.engine.repeat INPUT`

It calls the same engine in the same way as a runner does, plugins included, but in this process and
without a time limit: what the engine prints is seen, and a debugger can be attached.  QCEngine's own
command line cannot do this, since it knows neither our programs nor those of plugins.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qcmb_mpi.engine.base import Resources, TaskMolecule
from qcmb_mpi.engine.failures import checked, explain
from qcmb_mpi.engine.record import CHARGES
from qcmb_mpi.engine.registry import get_engine, load_plugins
from qcmb_mpi.errors import ExitCode, InputError
from qcmb_mpi.problem import Driver, Level

__all__ = ["main", "read_task"]

GIB = 2**30


def read_task(path: Path) -> tuple[Level, Driver, TaskMolecule]:
    """Read a QCSchema ``AtomicInput`` (version 2) as a task.

    Raises
    ------
    InputError
        Naming the file and what is wrong with it.
    """
    from qcelemental.models.v2 import AtomicInput

    from qcmb_mpi.engine.harness import task_molecule

    try:
        content = json.loads(path.read_text())
        asked = AtomicInput(**content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a QCSchema AtomicInput of version 2: {error}") from None
    given = content["specification"]
    extras = dict(given.get("extras") or {})
    molecule = task_molecule(asked.molecule, extras.pop(CHARGES, None))
    level = Level(
        name="(auto)",
        program=given["program"].lower(),
        method=given["model"]["method"],
        basis=given["model"].get("basis"),
        keywords=given.get("keywords") or {},
        protocols=given.get("protocols") or {},
        extras=extras,
    )
    return level, asked.specification.driver.value, molecule


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the task and print its energy, or how it failed; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m qcmb_mpi.engine.repeat", description="Compute one task again."
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="QCSchema AtomicInput, version 2")
    parser.add_argument(
        "--plugin", action="append", default=[], dest="plugins", metavar="MODULE", help="import MODULE first"
    )
    parser.add_argument(
        "--attempt",
        type=int,
        default=0,
        metavar="N",
        help="tries before that did not converge: from 1 on a sturdier algorithm is used (default: 0)",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for the engine (default: 1)")
    parser.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB", help="for the engine (default: 2)"
    )
    options = parser.parse_args(arguments)
    try:
        load_plugins(options.plugins)
        level, driver, molecule = read_task(options.input)
        engine = get_engine(level.program)
        engine.version()
    except InputError as error:
        print(f"qcmb_mpi: {error}", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    resources = Resources(threads=options.threads, memory=int(options.memory * GIB))
    begin = time.monotonic()
    try:
        answer = engine.compute(level, driver, molecule, resources, attempt=options.attempt)
        answer = checked(answer, len(molecule.symbols), driver)
    except Exception as error:
        kind, message = explain(error)
        sys.stdout.flush()
        print(f"{kind.word}: {message}", file=sys.stderr)
        return ExitCode.TASKS_FAILED
    print(f"computed in {time.monotonic() - begin:.2f} s; energy: {answer.energy:.12f} Eh")
    for name, array in (("gradient", answer.gradient), ("Hessian", answer.hessian)):
        if array is not None:
            print(f"norm of the {name}: {float(np.linalg.norm(array)):.10f}")
    if answer.note:
        print(answer.note)
    return ExitCode.FINISHED


if __name__ == "__main__":
    sys.exit(main())
