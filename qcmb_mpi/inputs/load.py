"""The entrance: a file, a model or a dictionary to a Problem with its settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.errors import InputError
from qcmb_mpi.inputs import text
from qcmb_mpi.inputs.cli_input import is_cli
from qcmb_mpi.inputs.fields import Names, in_source, optional_mapping, plain, shown
from qcmb_mpi.inputs.recognise import to_schema
from qcmb_mpi.problem import Problem

__all__ = ["Loaded", "from_model", "load"]


@dataclass(frozen=True)
class Loaded:
    """An input, read and checked.

    Attributes
    ----------
    problem
        What is to be computed; screening is in ``problem.expansion.families``.
    execution
        The ``execution`` section as the user wrote it, for :func:`qcmb_mpi.config.merge`.
    output
        The ``output`` section of QCManyBody's command-line format: ``format``, ``file``,
        ``pretty``, ``include_timings``, those that are given.
    normalised
        JSON text of the input in QCSchema's form with everything filled in, and ``screening``:
        itself an input.
    source
        Name of the file, or what was handed in.
    warnings
        What is allowed but may not be meant, one sentence each.
    """

    problem: Problem
    execution: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    normalised: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()


def load(path: str | os.PathLike[str]) -> Loaded:
    """Read an input file; its format is recognised by its content.

    Parameters
    ----------
    path
        QCSchema ManyBodyInput of version 1 or 2 or the flat form (JSON or YAML), or
        ``qcmanybody_cli_input`` (JSON or YAML).

    Raises
    ------
    InputError
        Anything that is wrong, with the file and the field in the user's spelling.
    """
    path = Path(path)
    try:
        return _loaded(text.read(path), path.parent, str(path))
    except InputError as error:
        raise in_source(error, str(path)) from None


def from_model(model: Any) -> Loaded:
    """The same for what a Python script hands in.

    Parameters
    ----------
    model
        QCManyBody's ``ManyBodyInput`` (v1 or v2), or a dictionary in any format :func:`load`
        reads; its ``molecule`` may be a QCElemental ``Molecule``.

    Raises
    ------
    InputError
        Anything that is wrong, by field.
    """
    if isinstance(model, Mapping):
        return _loaded(dict(model), Path.cwd(), "input")
    if not (hasattr(model, "specification") and hasattr(model, "molecule")):
        raise InputError(f"expected a ManyBodyInput of QCManyBody or a dictionary, not {shown(model)}")
    from qcmb_mpi.inputs.build import build

    version = model.schema_version
    spec = model.specification
    raw = {
        "specification": json.loads(spec.model_dump_json() if version == 2 else spec.json()),
        "molecule": plain(model.molecule),
    }
    built = build(raw, version, Names(), model=model)
    return Loaded(built.problem, {}, {}, built.normalised, "input", built.warnings)


def _loaded(raw: dict[str, Any], folder: Path, source: str) -> Loaded:
    raw = {str(key): value for key, value in raw.items()}
    execution = optional_mapping(raw.pop("execution", None), "execution", "settings")
    ExecutorConfig.from_mapping(execution, "execution")
    screening = raw.pop("screening", None)
    output = optional_mapping(raw.get("output"), "output") if is_cli(raw) else {}
    schema, version, names = to_schema(raw, folder)

    from qcmb_mpi.inputs.build import build

    built = build(schema, version, names, screening)
    return Loaded(built.problem, execution, output, built.normalised, source, built.warnings)
