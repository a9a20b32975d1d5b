"""Which single-point tasks an expansion needs, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Expansion"]


@dataclass(frozen=True, eq=False)
class Expansion:
    """What is wanted: which n-mers, at which level, with which BSSE treatments.

    Attributes
    ----------
    n_fragments
        Number of fragments N.
    treatments
        ``nocp``, ``cp``, ``vmfc``: those the user named in order (the first is the one returned),
        then those that come with them at no cost.
    orders
        For each level the body orders it supplies, ascending; empty for a level that serves the
        supersystem only.
    supersystem
        Index of the level that computes all higher orders in one task on the whole cluster.
    return_total_data
        Total rather than interaction data wanted: monomers in their own basis are needed.
    supersystem_ie_only
        Only 1-body and N-body.
    families
        For each order k >= 2 the kept k-mers, shape (m, k), rows ascending and in lexical order;
        closed under subsets.  None keeps all.
    """

    n_fragments: int
    treatments: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    supersystem: int | None = None
    return_total_data: bool = False
    supersystem_ie_only: bool = False
    families: Mapping[int, NDArray[np.integer]] | None = None

    @property
    def max_nbody(self) -> int:
        return max(order for orders in self.orders for order in orders)
