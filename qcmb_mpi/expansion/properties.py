"""From exact sums to the many-body properties, under QCManyBody's names.

The names and when each is there follow ``qcmanybody.utils.collect_vars``.  Every value is one sum or
the difference of two, taken exactly and rounded once.  This module knows no models, no files and no
tasks; it needs numpy only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.expansion.exact import Exact, rounded
from qcmb_mpi.expansion.plan import Expansion

__all__ = ["Sums", "Value", "partial", "properties", "returned", "user_order"]

#: ``sums[property][treatment][n]``: the property through n bodies, unrounded and in internal atom
#: order, with shape (1,) for "energy" [Eh], (3 n_atoms,) for "gradient" [Eh/bohr] and
#: ((3 n_atoms)**2,) for "hessian" [Eh/bohr²].
Sums = Mapping[str, Mapping[str, Mapping[int, Exact]]]

#: A number, or an array of shape (n_atoms, 3) or (3 n_atoms, 3 n_atoms).
Value = float | NDArray[np.float64]


def properties(
    expansion: Expansion, sums: Sums, *, order: NDArray[np.int64], embedding: bool = False
) -> dict[str, Value]:
    """All many-body properties.

    Parameters
    ----------
    expansion
        What was wanted.
    sums
        From :meth:`qcmb_mpi.expansion.assemble.Assembly.exact`, one entry for each property.
    order : (n_atoms,) int64
        Position in the user's molecule of each atom in internal order.
    embedding
        Whether fragments were embedded in point charges: monomers then depend on their
        surroundings, and there are no interaction data.

    Returns
    -------
    dict
        For example ``"cp_corrected_interaction_energy_through_2_body"``; energies in Eh, gradients in
        Eh/bohr with shape (n_atoms, 3), Hessians in Eh/bohr² with shape (3 n_atoms, 3 n_atoms), in
        the user's order of atoms.

    Notes
    -----
    With a supersystem level on top of an expansion that goes up to all N fragments anyway,
    QCManyBody 0.8 overwrites the N-body contribution with zero, and so the properties through N
    bodies with those through N - 1 (its returned value is right).  Here they are what they say.
    """
    known = {name: {treatment: set(of) for treatment, of in each.items()} for name, each in sums.items()}
    return _evaluate(expansion, sums, known, order, embedding)


def partial(
    expansion: Expansion,
    sums: Sums,
    complete: Mapping[str, Collection[int]],
    *,
    order: NDArray[np.int64],
    embedding: bool = False,
) -> dict[str, Any]:
    """The properties that are complete although some tasks have failed.

    Parameters
    ----------
    expansion, sums, order, embedding
        As for :func:`properties`; sums that are not complete are never looked at.
    complete
        For each treatment the body orders through which all tasks are done.

    Returns
    -------
    dict
        As from :func:`properties` but with lists for arrays, fit for JSON.  A property is there only
        if every sum it is made of is complete.
    """
    known = {
        name: {treatment: set(complete.get(treatment, ())) for treatment in each}
        for name, each in sums.items()
    }
    values = _evaluate(expansion, sums, known, order, embedding)
    return {key: value if isinstance(value, float) else value.tolist() for key, value in values.items()}


def returned(expansion: Expansion, sums: Sums, *, order: NDArray[np.int64]) -> dict[str, Value]:
    """What the user asked for: total or interaction data of the first treatment.

    Parameters
    ----------
    expansion, sums, order
        As for :func:`properties`.

    Returns
    -------
    dict
        By property: ``{"energy": ..., "gradient": ...}``.
    """
    result = {}
    for name, each in sums.items():
        through = each[expansion.treatments[0]]
        value = through[max(through)]
        if not expansion.return_total_data:
            value = value - through[1]
        result[name] = user_order(name, rounded(value), order)
    return result


def user_order(name: str, values: NDArray[np.float64], order: NDArray[np.int64]) -> Value:
    """A property of the whole cluster in the shape and the order of atoms the user knows.

    Parameters
    ----------
    name
        ``"energy"``, ``"gradient"`` or ``"hessian"``.
    values
        Flat, in internal order: shape (1,), (3 n_atoms,) or ((3 n_atoms)**2,).
    order : (n_atoms,) int64
        Position in the user's molecule of each atom in internal order.

    Returns
    -------
    float or ndarray
        A number, or an array of shape (n_atoms, 3) or (3 n_atoms, 3 n_atoms).
    """
    if name == "energy":
        return float(values[0])
    n_atoms = len(order)
    if name == "gradient":
        gradient = np.empty((n_atoms, 3))
        gradient[order] = values.reshape(n_atoms, 3)
        return gradient
    coordinates = (3 * order[:, None] + np.arange(3)).reshape(-1)
    hessian = np.empty((3 * n_atoms, 3 * n_atoms))
    hessian[np.ix_(coordinates, coordinates)] = values.reshape(3 * n_atoms, 3 * n_atoms)
    return hessian


def _evaluate(
    expansion: Expansion,
    sums: Sums,
    known: Mapping[str, Mapping[str, set[int]]],
    order: NDArray[np.int64],
    embedding: bool,
) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for name, each in sums.items():
        for treatment in expansion.treatments:
            through, complete = each[treatment], known[name][treatment]
            total = _has_total(expansion, treatment)
            if 1 in complete:
                # QCManyBody's sign of interaction data; it holds for the gradients of single atoms too
                total = total and bool(np.any(through[1] != 0))
            values: dict[tuple[int, int | None], Value] = {}
            for key, upper, lower in _keys(expansion, treatment, name, sorted(through), total, embedding):
                if not {upper, lower} - {None} <= complete:
                    continue
                if (upper, lower) not in values:
                    exact = through[upper] if lower is None else through[upper] - through[lower]
                    values[upper, lower] = user_order(name, rounded(exact), order)
                result[key] = values[upper, lower]
    return result


def _has_total(expansion: Expansion, treatment: str) -> bool:
    """Whether the sums of a treatment are total rather than interaction data."""
    if treatment != "cp":
        return True
    return any(expansion.has_monomers(level) for level in range(len(expansion.orders)))


def _keys(
    expansion: Expansion, treatment: str, name: str, orders: list[int], total: bool, embedding: bool
) -> Iterator[tuple[str, int, int | None]]:
    """Every property of one treatment as (key, n, m): data through n bodies less those through m."""
    stem, top = f"{treatment}_corrected", orders[-1]
    if total:
        yield f"{stem}_total_{name}", top, None
    if not embedding:
        yield f"{stem}_interaction_{name}", top, 1
        yield f"{stem}_interaction_{name}_through_1_body", 1, 1
    for lower, n in pairwise(orders):
        if not embedding:
            yield f"{stem}_interaction_{name}_through_{n}_body", n, 1
        # with all intermediate orders left out, only in a dimer is the difference of one body order
        if not expansion.supersystem_ie_only or n == 2:
            yield f"{stem}_{n}_body_contribution_to_{name}", n, lower
    if total:
        for n in orders:
            yield f"{stem}_total_{name}_through_{n}_body", n, None
