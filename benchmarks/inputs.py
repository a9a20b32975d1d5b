"""Inputs for the benchmarks, made up of atoms on a grid or waters in a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WATER = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])  # bohr


def many_body_input(
    symbols: list[str], geometry: np.ndarray, size: int, max_nbody: int, specification: dict[str, Any]
) -> dict[str, Any]:
    """QCSchema input of equal fragments of ``size`` atoms, nocp, total energy."""
    fragments = [list(range(first, first + size)) for first in range(0, len(symbols), size)]
    return {
        "schema_name": "qcschema_many_body_input",
        "schema_version": 2,
        "molecule": {"symbols": symbols, "geometry": geometry.reshape(-1).tolist(), "fragments": fragments},
        "specification": {
            "driver": "energy",
            "keywords": {"bsse_type": ["nocp"], "max_nbody": max_nbody, "return_total_data": True},
            "specification": {"driver": "energy", **specification},
        },
    }


def grid(n: int, spacing: float) -> np.ndarray:
    """``n`` points of a cubic grid [bohr], shape (n, 3)."""
    edge = int(np.ceil(n ** (1 / 3)))
    points = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return spacing * points[:n].astype(float)


def atoms(n: int, max_nbody: int, milliseconds: float) -> dict[str, Any]:
    """``n`` helium atoms for the program ``spin``."""
    specification = {"program": "spin", "model": {"method": str(milliseconds), "basis": None}}
    return many_body_input(["He"] * n, grid(n, 6.0), 1, max_nbody, specification)


def waters(n: int, max_nbody: int) -> dict[str, Any]:
    """``n`` waters, each turned a little further, with GFN2-xTB."""
    molecules = []
    for number, origin in enumerate(grid(n, 5.7)):
        angle = 0.7 * number
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
        molecules.append(WATER @ turn.T + origin)
    specification = {"program": "tblite", "model": {"method": "GFN2-xTB", "basis": None}}
    return many_body_input(["O", "H", "H"] * n, np.concatenate(molecules), 3, max_nbody, specification)


def write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path
