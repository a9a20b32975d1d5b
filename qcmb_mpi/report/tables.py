"""The report as CSV files, written as they are read: a million rows need no more memory than a thousand.

Fragments of an n-mer are joined by ``+``, since a spreadsheet takes ``1-2`` for a date.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qcmb_mpi.outcome import components
from qcmb_mpi.report.body_orders import body_orders
from qcmb_mpi.report.gathered import Units, series_of
from qcmb_mpi.report.material import Material, labels

__all__ = ["write_clusters", "write_tables"]

ROWS = 1 << 14  # rows formatted at once


def _in_all_units(stem: str) -> list[str]:
    return [f"{stem}_{unit}" for unit in ("hartree", "kj_mol", "kcal_mol")]


INCREMENTS = ["n", "fragments", "treatment", "level", "distance_angstrom", "com_distance_angstrom"]
INCREMENTS += _in_all_units("delta_e")
TASKS = [
    "label",
    "level",
    "n_real",
    "n_basis",
    "state",
    "energy_hartree",
    "wall_s",
    "cpu_s",
    "rank",
    "host",
    "attempt",
    "finished_utc",
    "note",
]
ORDERS = ["treatment", "n", "level", "tasks_missing"]
ORDERS += [name for stem in ("contribution", "interaction", "total") for name in _in_all_units(stem)]
FAILURES = ["label", "kind", "attempt", "recovered", "rank", "host", "finished_utc", "message"]


def write_tables(material: Material, folder: Path) -> list[Path]:
    """Write ``increments.csv``, ``tasks.csv``, ``body_orders.csv`` and ``failures.csv``.

    Missing numbers are empty cells.  Energies have all their digits.

    Returns
    -------
    list of Path
        The files.
    """
    units = Units.known()
    files = {
        "increments.csv": (INCREMENTS, _increments(material, units)),
        "tasks.csv": (TASKS, _tasks(material)),
        "body_orders.csv": (ORDERS, _orders(material, units)),
        "failures.csv": (FAILURES, _failures(material)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (header, rows) in files.items():
        _write(folder / name, header, rows)
    return [folder / name for name in files]


def write_clusters(material: Material, path: Path) -> int:
    """Write the properties of every task that is done, as ``cluster_properties`` of a result has them.

    One JSON object, one label per line, so that it can be read whole or line by line.

    Returns
    -------
    int
        How many there are.
    """
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write("{")
        for label, properties in components(material.problem, material.table, material.archive):
            plain = {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in properties.items()
            }
            file.write(f"{',' if count else ''}\n{json.dumps(label)}: {json.dumps(plain)}")
            count += 1
        file.write("\n}\n")
    return count


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _energies(value: float | None, units: Units) -> list[Any]:
    return [""] * 3 if value is None else [value, value * units.kj_mol, value * units.kcal_mol]


def _cells(values: Any) -> list[Any]:
    """Floats as cells, empty where there is no number."""
    return ["" if value != value else value for value in values.tolist()]


def _increments(material: Material, units: Units) -> Iterator[Sequence[Any]]:
    for one in material.increments():
        series = series_of(material, one, units)
        for begin in range(0, len(one.values), ROWS):
            part = slice(begin, begin + ROWS)
            count = len(one.values[part])
            nmers = (one.nmers[part].astype(np.int64) + 1).tolist()
            yield from zip(
                [one.n] * count,
                ["+".join(map(str, nmer)) for nmer in nmers],
                [one.treatment] * count,
                [series.level] * count,
                _cells(series.distance[part].round(6)),
                _cells(series.between_centres[part].round(6)),
                _cells(one.values[part]),
                _cells(one.values[part] * units.kj_mol),
                _cells(one.values[part] * units.kcal_mol),
                strict=True,
            )


def _tasks(material: Material) -> Iterator[Sequence[Any]]:
    gone = {failure.label for failure in material.failures if not failure.recovered}
    for block in material.table.blocks:
        common = [material.level_names[block.level], block.n_real, block.n_basis]
        for tasks, names in labels(block, material.level_names):
            for label, place in zip(names, material.row_of[tasks].tolist(), strict=True):
                if place < 0:
                    yield [label, *common, "failed" if label in gone else "missing", *[""] * 8]
                    continue
                row = material.snapshot.rows[place]
                yield [
                    label,
                    *common,
                    "done",
                    float(row["energy"]),
                    round(float(row["wall"]), 6),
                    round(float(row["cpu"]), 6),
                    int(row["rank"]),
                    row["host"].decode(errors="replace"),
                    int(row["attempt"]),
                    _moment(float(row["finished"])),
                    row["note"].decode(errors="replace"),
                ]


def _orders(material: Material, units: Units) -> Iterator[Sequence[Any]]:
    archive = material.archive
    for order in body_orders(material.problem, material.table, archive.done, archive.energies):
        yield [
            order.treatment,
            order.nbody,
            material.level_of(order.nbody),
            order.missing,
            *_energies(order.contribution, units),
            *_energies(order.interaction, units),
            *_energies(order.total, units),
        ]


def _failures(material: Material) -> Iterator[Sequence[Any]]:
    for failure in material.failures:
        yield [
            failure.label,
            failure.kind,
            failure.attempt,
            "yes" if failure.recovered else "no",
            failure.rank,
            failure.host,
            _moment(failure.finished),
            failure.message,
        ]


def _moment(seconds: float) -> str:
    """Date and time as spreadsheets and pandas read it."""
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03}"
