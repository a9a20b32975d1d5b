"""An input file in the other notation: JSON to YAML and back, everything else as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import text
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.inputs.load import load

__all__ = ["is_input", "moved"]


def is_input(path: Path) -> bool:
    """Whether a file is an input of some form rather than a structure: it says what to compute."""
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        return False
    try:
        content = text.read(path)
    except InputError as error:
        raise in_source(error, str(path)) from None
    return "specification" in content or "calculation" in content


def moved(path: Path, target: Path) -> dict[str, Any]:
    """The content of a right input, for a file in another place.

    Parameters
    ----------
    path, target
        Where it is and where it will be: the geometry file that it names is still found.

    Raises
    ------
    InputError
        It is no right input.
    """
    load(path)
    content = text.read(path)
    molecule = content.get("molecule")
    for section in (molecule, molecule.get("file") if isinstance(molecule, Mapping) else None):
        if isinstance(section, dict) and isinstance(section.get("file"), str):
            there = path.resolve().parent / section["file"]
            if not Path(section["file"]).is_absolute():
                section["file"] = os.path.relpath(there, target.resolve().parent)
    return content
