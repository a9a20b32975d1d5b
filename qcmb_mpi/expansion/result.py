"""From exact sums to QCManyBody's ``ManyBodyResult`` and its text tables.

Values come from ``properties.py``; QCManyBody supplies models and text.  Nothing here knows how tasks
were run or where their answers are kept.  qcmanybody is imported when first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.exact import Exact, rounded
from qcmb_mpi.expansion.plan import Expansion
from qcmb_mpi.expansion.properties import Sums, properties, returned

__all__ = ["build", "headline", "nuclear_repulsion", "statistics", "summary"]


def build(
    model: Any,
    expansion: Expansion,
    level_names: Sequence[str],
    sums: Sums,
    *,
    order: NDArray[np.int64],
    n_tasks: int,
    version: str,
    embedding: bool = False,
    statistics: Mapping[str, Any] | None = None,
    component_properties: Mapping[str, Mapping[str, Any]] | None = None,
    component_results: Mapping[str, Any] | None = None,
) -> Any:
    """The result of a many-body expansion as QCManyBody gives it.

    Parameters
    ----------
    model
        QCManyBody's ``ManyBodyInput``, version 1 or 2; the result is of the same version.
    expansion, sums, order, embedding
        As for :func:`qcmb_mpi.expansion.properties.properties`.  ``sums`` holds "energy", the
        property of the model's driver, and for Hessians "gradient" where the engine gave it.
    level_names
        QCManyBody's name of each level.
    n_tasks
        Number of single-point calculations.
    version
        Of this package, for the provenance.
    statistics
        How the run went: further fields of the provenance, fit for JSON.
    component_properties
        Label of a task to its ``calcinfo_natom``, ``return_energy``, ``return_gradient`` and
        ``return_hessian``, as far as they exist.  As with QCManyBody they belong to the whole cluster:
        all its atoms count, and derivatives are padded with zeros to its size.
    component_results
        Label of a task to its full record; kept if the input's protocol says so.

    Returns
    -------
    ManyBodyResult
        A subclass that also answers ``ret_energy``, ``ret_gradient`` and ``ret_hessian``, and
        serialises as its parent does.
    """
    from qcmb_mpi.expansion.models import ManyBodyResultV1, ManyBodyResultV2

    second = model.schema_version == 2
    driver = model.specification.driver.value
    values = returned(expansion, sums, order=order)
    summed: dict[str, Any] = {
        "calcinfo_nmc": len(expansion.orders),
        "calcinfo_nfr": expansion.n_fragments,
        "calcinfo_natom": len(order),
        "calcinfo_nmbe": n_tasks,
        "nuclear_repulsion_energy": nuclear_repulsion(model.molecule),
        "return_energy": values["energy"],
    }
    if driver in ("gradient", "hessian"):
        summed["return_gradient"] = values.get("gradient")
    if driver == "hessian":
        summed["return_hessian"] = values["hessian"]
    fields: dict[str, Any] = {
        "input_data": model,
        "properties": {**properties(expansion, sums, order=order, embedding=embedding), **summed},
        "provenance": {
            "creator": "qcmb_mpi",
            "version": version,
            "routine": __name__,
            **(statistics or {}),
        },
        "return_result": values[driver],
        "stdout": summary(expansion, level_names, sums["energy"], embedding=embedding),
        "success": True,
    }
    prefix = "cluster" if second else "component"
    fields[f"{prefix}_properties"] = component_properties or {}
    fields[f"{prefix}_results"] = component_results or {}
    if second:
        return ManyBodyResultV2(molecule=model.molecule, **fields)
    return ManyBodyResultV1(**fields)


def summary(
    expansion: Expansion,
    level_names: Sequence[str],
    energies: Mapping[str, Mapping[int, Exact]],
    *,
    embedding: bool = False,
) -> str:
    """QCManyBody's text tables of the energies, one for each treatment.

    Parameters
    ----------
    expansion, embedding
        As for :func:`qcmb_mpi.expansion.properties.properties`.
    level_names
        QCManyBody's name of each level.
    energies
        ``energies[treatment][n]``: energy through n bodies [Eh], unrounded, shape (1,).
    """
    from qcmanybody.models.v2 import BsseEnum
    from qcmanybody.utils import modelchem_labels, print_nbody_energy

    # a level that serves body orders too is labelled by those
    orders: dict[str, list[Any]] = {
        name: list(of) or ["supersystem"] for name, of in zip(level_names, expansion.orders, strict=True)
    }
    labels = modelchem_labels(orders, presorted=True)
    text = ""
    for treatment in expansion.treatments:
        kind = BsseEnum(treatment)
        text += print_nbody_energy(
            {n: _Energy(exact[0]) for n, exact in energies[treatment].items()},
            f"{kind.formal()} ({kind.abbr()})",
            expansion.n_fragments,
            labels,
            embedding,
            expansion.supersystem_ie_only,
            expansion.max_nbody if expansion.supersystem is not None else None,
        )
    return text


def statistics(result: Any) -> dict[str, Any]:
    """The provenance of a ``ManyBodyResult`` of either version."""
    given = result.provenance
    return dict(given.model_dump() if hasattr(given, "model_dump") else given.dict())


def headline(result: Any) -> list[str]:
    """The number that a ``ManyBodyResult`` returns, in words and with its expected error."""
    if np.ndim(result.return_result) > 0:
        norm = float(np.linalg.norm(np.asarray(result.return_result)))
        kind = result.input_data.specification.driver.value
        return [f"{kind}: norm {norm:.10f} {'Eh/bohr' if kind == 'gradient' else 'Eh/bohr^2'}"]
    keywords = result.input_data.specification.keywords
    total = keywords.return_total_data
    if total is None:  # as for the inputs: interaction energies, where something interacts
        total = result.properties.calcinfo_nfr == 1
    kind = "total" if total else "interaction"
    treatment = keywords.bsse_type[0].value
    error = statistics(result).get("expected_error")
    bar = f" +/- {error:.1e}" if error else ""
    lines = [f"{treatment} {kind} energy: {float(result.return_result):.12f}{bar} Eh"]
    if error:
        lines.append("   (the error that the engine's convergence threshold lets expect)")
    return lines


class _Energy(float):
    """A rounded energy whose differences are exact before they are rounded.

    QCManyBody's table takes differences of total energies: for hundreds of fragments plain floats
    would lose digits that it prints.
    """

    exact: int

    def __new__(cls, exact: int) -> _Energy:
        self = super().__new__(cls, rounded(np.array([exact], dtype=object))[0])
        self.exact = exact
        return self

    def __sub__(self, other: float) -> float:
        if isinstance(other, _Energy):
            return _Energy(self.exact - other.exact)
        return float(self) - other


def nuclear_repulsion(molecule: Any) -> float:
    """Nuclear repulsion energy [Eh] of the real atoms of a QCElemental molecule.

    The same number as ``molecule.nuclear_repulsion_energy()``, which takes seconds for a thousand
    atoms.
    """
    charges = np.asarray(molecule.atomic_numbers, dtype=np.float64) * np.asarray(molecule.real)
    geometry = np.asarray(molecule.geometry, dtype=np.float64).reshape(-1, 3)
    return float(
        sum(
            charges[atom] * np.sum(charges[:atom] / np.linalg.norm(geometry[:atom] - geometry[atom], axis=1))
            for atom in range(1, len(charges))
        )
    )
