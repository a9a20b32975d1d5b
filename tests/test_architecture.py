"""The arrows of the design: who may import whom, and that only who needs a library pays for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import PATIENCE, environment

import qcmb_mpi

ROOT = Path(qcmb_mpi.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

#: Package or module to the modules of ours that it must not import, on top or in a function.
FORBIDDEN = {
    "expansion": ("inputs", "engine", "farm", "store", "report", "config", "problem", "job", "cli", "errors"),
    "engine": ("farm", "store", "inputs", "report", "job", "computer", "commands", "cli", "config"),
    "inputs": ("engine", "farm", "store", "report", "job", "computer", "commands", "cli", "converting"),
    "converting": ("engine", "farm", "store", "job", "computer", "commands", "cli", "watching"),
    "preparing": ("engine", "farm", "store", "job", "computer", "commands", "cli", "watching"),
    "store": ("farm", "engine", "inputs", "report", "job", "computer", "commands", "cli", "problem"),
    "report": ("job", "computer", "commands", "cli", "inputs"),
    "farm": ("inputs", "store", "report", "job", "computer", "commands", "cli"),
    "job": ("computer", "commands", "cli", "watching", "probing"),
    "starting": ("inputs", "store", "report", "job", "computer", "commands", "cli", "equipment", "probing"),
    "equipment": ("store", "report", "job", "computer", "commands", "cli", "watching", "probing"),
    "equivalent": ("inputs", "engine", "farm", "store", "report", "job", "computer", "commands", "cli"),
    "provenance": ("inputs", "report", "job", "computer", "commands", "cli", "watching", "probing"),
    "probing": ("computer", "commands", "cli", "watching", "engine"),
    "pulse": ("inputs", "engine", "report", "job", "computer", "commands", "cli", "watching"),
    "unfinished": ("inputs", "job", "computer", "commands", "cli", "watching"),
    "watching": ("engine", "farm", "job", "computer", "commands", "cli"),
    "reading": ("engine", "farm", "job", "computer", "commands", "cli", "watching"),
    "plotting": ("engine", "farm", "job", "computer", "commands", "cli", "watching"),
    "problem": ("inputs", "engine", "farm", "store", "report", "job", "cli"),
    "config": ("inputs", "engine", "farm", "store", "report", "expansion", "problem", "job", "cli"),
    "errors": ("inputs", "engine", "farm", "store", "report", "expansion", "problem", "config", "job", "cli"),
}

#: Module to all that it may import of ours.
ONLY = {
    "farm.schedule": (
        "qcmb_mpi.engine.failures",
        *(f"qcmb_mpi.farm.{name}" for name in ("cost", "events", "policy", "queue", "seats", "trust")),
    ),
    "farm.kinds": ("qcmb_mpi.expansion.plan", "qcmb_mpi.farm.cost"),
    "farm.prediction": ("qcmb_mpi.farm.cost", "qcmb_mpi.farm.kinds"),
    "farm.queue": ("qcmb_mpi.farm.cost", "qcmb_mpi.farm.policy"),
    "farm.seats": (),
    "farm.trust": (),
    "inputs.bonds": ("qcmb_mpi.inputs.elements",),
    "farm.launcher": ("qcmb_mpi.errors",),
    "files": ("qcmb_mpi.errors",),
    "jobscript": ("qcmb_mpi.errors",),
    "jobscript_text": ("qcmb_mpi.jobscript",),
    "expansion.rigid": (),
    "expansion.ordering": (),
    "farm.messages": ("qcmb_mpi.engine.base", "qcmb_mpi.engine.failures", "qcmb_mpi.expansion.plan"),
}

#: Library to the only places that may import it.
LIBRARIES = {
    "mpi4py": ("farm.mpi",),
    "h5py": ("store", "report.probes"),  # the latter tries whether HDF5 works in a folder
    "pyscf": ("engine",),
    "tblite": ("engine",),
    "yaml": ("inputs", "report.result_file"),
    "matplotlib": ("report.plots", "report.run_plots", "report.drawing"),
}


def name_of(file: Path) -> str:
    """``farm.schedule`` of ``qcmb_mpi/farm/schedule.py``."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module, and whether it is imported for type checking alone."""
    tree = ast.parse(file.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            whole = node.module
            if (ROOT.parent / whole.replace(".", "/")).is_dir():
                for alias in node.names:
                    inner = f"{whole}.{alias.name}"
                    path = ROOT.parent / inner.replace(".", "/")
                    yield (
                        inner if path.is_dir() or path.with_suffix(".py").is_file() else whole,
                        id(node) in for_types,
                    )
            else:
                yield whole, id(node) in for_types


def inside(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_point_downward(place: str) -> None:
    wrong = [
        f"{name_of(file)} imports {imported}"
        for file in FILES
        if inside(name_of(file), place)
        for imported, for_types in imports(file)
        if not for_types
        for forbidden in FORBIDDEN[place]
        if inside(imported, f"qcmb_mpi.{forbidden}")
    ]
    assert not wrong


@pytest.mark.parametrize("module", ONLY)
def test_the_pure_modules_import_nothing_else_of_ours(module: str) -> None:
    file = ROOT / (module.replace(".", "/") + ".py")
    ours = {name for name, _ in imports(file) if inside(name, "qcmb_mpi")}
    assert ours <= set(ONLY[module])


def test_the_state_machine_knows_no_clock_no_file_and_no_socket() -> None:
    outside = {name.split(".")[0] for name, _ in imports(ROOT / "farm" / "schedule.py")}
    assert outside <= {"__future__", "collections", "functools", "numpy", "qcmb_mpi"}


def test_the_arithmetic_imports_numpy_and_in_functions_qcmanybody() -> None:
    outside = {
        name.split(".")[0]
        for file in FILES
        if inside(name_of(file), "expansion")
        for name, _ in imports(file)
        if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert outside <= {"numpy", "qcmb_mpi", "qcmanybody"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_its_place_only(library: str) -> None:
    wrong = [
        name_of(file)
        for file in FILES
        if not any(inside(name_of(file), place) for place in LIBRARIES[library])
        for imported, for_types in imports(file)
        if inside(imported, library) and not for_types
    ]
    assert not wrong


def loaded_by(statement: str, *modules: str) -> list[str]:
    """Which of ``modules`` a fresh python has loaded after a statement."""
    finished = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=True,
    )
    return [module for module in modules if module in finished.stdout.split()]


HEAVY = ("numpy", "pydantic", "qcelemental", "qcmanybody", "qcengine", "mpi4py", "h5py", "pyscf", "tblite")


@pytest.mark.parametrize("module", ["qcmb_mpi", "qcmb_mpi.cli"])
def test_the_package_and_its_command_line_import_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}", *HEAVY)


def test_a_rank_imports_no_engine_and_without_a_launcher_no_mpi() -> None:
    statement = "import qcmb_mpi.job, qcmb_mpi.commands, qcmb_mpi.preparing, qcmb_mpi.computer"
    assert not loaded_by(statement, "mpi4py", "pyscf", "tblite", "qcengine")


def test_looking_at_a_job_imports_no_engine_and_no_mpi() -> None:
    statement = "import qcmb_mpi.commands, qcmb_mpi.watching, qcmb_mpi.report.status_text"
    statement += ", qcmb_mpi.report.html, qcmb_mpi.report.tables, qcmb_mpi.plotting"
    assert not loaded_by(statement, "matplotlib", "mpi4py", "pyscf", "tblite", "qcengine")


def test_the_parent_of_runners_imports_engines_only_when_told() -> None:
    assert not loaded_by("import qcmb_mpi.farm.nursery", "mpi4py", "h5py", "pyscf", "tblite", "qcengine")
