"""Write an answer as a QCSchema version 2 ``AtomicResult`` dictionary.

A dictionary, not a model: building QCElemental's models takes longer than the smallest tasks, and the
record is stored as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from qcmb_mpi.engine.base import Answer, TaskMolecule
from qcmb_mpi.engine.fragment import to_qcschema
from qcmb_mpi.problem import Driver, Level

__all__ = ["CHARGES", "atomic_input", "atomic_result", "plain", "task_input"]

#: Where, in the extras of a specification, the point charges around a task's molecule are.
CHARGES = "point_charges"


def plain(value: Any) -> Any:
    """Turn arrays, numpy scalars and mappings into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def atomic_input(level: Level, driver: Driver, molecule: TaskMolecule) -> dict[str, Any]:
    """QCSchema version 2 ``AtomicInput`` of a task, with arrays as they are.

    ``molecule`` is a dictionary for ``Molecule(validate=False)``.
    """
    return {
        "schema_name": "qcschema_atomic_input",
        "schema_version": 2,
        "molecule": to_qcschema(molecule),
        "specification": {
            "program": level.program,
            "driver": driver,
            "model": {"method": level.method, "basis": level.basis},
            "keywords": dict(level.keywords),
            "protocols": dict(level.protocols),
            "extras": dict(level.extras),
        },
    }


def task_input(level: Level, driver: Driver, molecule: TaskMolecule, label: str) -> dict[str, Any]:
    """All of a task as a QCSchema version 2 ``AtomicInput``, ready for JSON.

    QCSchema has no place for point charges: they are in the extras, as rows of x, y, z [bohr] and charge.
    """
    asked = {"id": label, **atomic_input(level, driver, molecule)}
    if molecule.point_charges is not None:
        asked["specification"]["extras"][CHARGES] = molecule.point_charges
    written: dict[str, Any] = plain(asked)
    return written


def atomic_result(
    level: Level,
    driver: Driver,
    molecule: TaskMolecule,
    answer: Answer,
    properties: Mapping[str, Any],
    *,
    creator: str,
    version: str,
) -> dict[str, Any]:
    """QCSchema version 2 ``AtomicResult`` of a task, ready for JSON."""
    asked = atomic_input(level, driver, molecule)
    results = {"energy": answer.energy, "gradient": answer.gradient, "hessian": answer.hessian}
    found = {f"return_{name}": value for name, value in results.items() if value is not None}
    written: dict[str, Any] = plain(
        {
            "schema_name": "qcschema_atomic_result",
            "schema_version": 2,
            "input_data": asked,
            "molecule": asked["molecule"],
            "properties": {**properties, **found},
            "return_result": results[driver],
            "success": True,
            "provenance": {"creator": creator, "version": version, "routine": "qcmb_mpi"},
            "extras": {"note": answer.note} if answer.note else {},
        }
    )
    return written
