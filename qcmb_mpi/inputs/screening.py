"""The ``screening`` section: which n-mers to leave out because they are far apart.

    {"distance": {"2": 12.0, "3": 8.0}, "unit": "angstrom"}

An n-mer is kept if for every pair in it the shortest distance between atoms is within the cutoff
for n.  Cutoffs must not grow with n.  An order without a cutoff keeps the n-mers whose subsets are
all kept; so lower orders than the first one named are complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from qcmb_mpi.errors import InputError
from qcmb_mpi.expansion.plan import Expansion
from qcmb_mpi.expansion.screen import families, shortest_distances
from qcmb_mpi.inputs.fields import Names, choice, mapping, number, refuse_unknown, whole_number
from qcmb_mpi.problem import Cluster

__all__ = ["screened"]

UNITS = ("angstrom", "bohr")

#: Bohr. Geometries are rounded to 8 decimals: a pair right at the cutoff is within it.
ROUNDING = 1e-6


def screened(expansion: Expansion, cluster: Cluster, section: Any) -> Expansion:
    """The expansion without the n-mers that a screening section leaves out.

    Raises
    ------
    InputError
        A wrong section, or one beside ``supersystem_ie_only``.
    """
    names = Names()
    values = mapping(section, "screening")
    refuse_unknown(values, ("distance", "unit"), names, ("screening",))
    unit = choice(values.get("unit", "angstrom"), UNITS, "screening.unit")
    if values.get("distance") is None:
        raise InputError(
            "is missing: cutoffs by body order, such as {'2': 12.0, '3': 8.0}", "screening.distance"
        )
    cutoffs = _cutoffs(mapping(values["distance"], "screening.distance", "cutoffs by body order"))
    if expansion.supersystem_ie_only:
        raise InputError(
            "leaves n-mers out, but supersystem_ie_only computes none of them; leave one of them out",
            "screening",
        )
    scale = 1.0
    if unit == "angstrom":
        from qcelemental import constants

        scale = 1.0 / constants.bohr2angstroms
    cutoffs = {order: cutoff * scale + ROUNDING for order, cutoff in cutoffs.items()}
    distances = shortest_distances(cluster.geometry, cluster.offsets)
    kept = families(distances, cutoffs, expansion.max_nbody)
    return replace(expansion, families=kept) if kept else expansion


def _cutoffs(values: Mapping[str, Any]) -> dict[int, float]:
    if not values:
        raise InputError("names no body order", "screening.distance")
    cutoffs: dict[int, float] = {}
    for key, value in values.items():
        field = f"screening.distance.{key}"
        order = whole_number(key, field)
        if order < 2:
            raise InputError("expected a body order of 2 or more", field)
        if order in cutoffs:
            raise InputError(f"body order {order} is given twice", field)
        cutoffs[order] = number(value, field, "a distance")
        if cutoffs[order] <= 0:
            raise InputError(f"expected a distance above 0, not {value}", field)
    ordered = sorted(cutoffs)
    for lower, order in pairwise(ordered):
        if cutoffs[order] > cutoffs[lower]:
            raise InputError(
                f"{cutoffs[order]:g} is more than the {cutoffs[lower]:g} of order {lower}; "
                "cutoffs must not grow with the body order",
                f"screening.distance.{order}",
            )
    return cutoffs
