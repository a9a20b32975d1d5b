"""QCElemental's Molecule to the arrays that the rest of the program works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qcmb_mpi.problem import Cluster

__all__ = ["to_cluster"]


def to_cluster(molecule: Any, embedding: Mapping[int, Sequence[float]] | None = None) -> Cluster:
    """The cluster of a molecule.

    Parameters
    ----------
    molecule
        QCElemental's ``Molecule`` (v1 or v2) with checked fragments, charges and multiplicities.
        Fragments need not be contiguous, nor their atoms ascending.
    embedding
        Charges of the atoms of each fragment, by 1-based fragment, in the order in which the
        fragment lists its atoms.

    Returns
    -------
    Cluster
        Atoms fragment by fragment, each fragment's in the order it lists them.
    """
    fragments = [np.asarray(fragment, dtype=np.int64) for fragment in molecule.fragments]
    order = np.concatenate(fragments)
    charges = None
    if embedding is not None:
        charges = np.concatenate([np.asarray(embedding[i + 1], dtype=float) for i in range(len(fragments))])
    return Cluster(
        symbols=tuple(str(symbol) for symbol in np.asarray(molecule.symbols)[order]),
        numbers=np.asarray(molecule.atomic_numbers, dtype=np.int64)[order],
        geometry=np.ascontiguousarray(np.asarray(molecule.geometry, dtype=float)[order]),
        offsets=np.concatenate([[0], np.cumsum([len(fragment) for fragment in fragments])]).astype(np.int64),
        charges=np.array(molecule.fragment_charges, dtype=np.float64),
        multiplicities=np.array(molecule.fragment_multiplicities, dtype=np.int64),
        order=order,
        embedding=charges,
    )
