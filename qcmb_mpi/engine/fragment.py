"""Cut the molecule of one task out of the cluster.

Array slices only: the time depends on the size of the piece, never on that of the cluster (except
for embedding point charges, which are those of all the rest).  Nothing here knows about engines,
levels or expansions.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.engine.base import TaskMolecule
from qcmb_mpi.problem import Cluster

__all__ = ["Cutter", "cut", "to_qcschema"]


class Cutter:
    """Cuts molecules out of one cluster.

    Parameters
    ----------
    cluster
        Its charges must be whole numbers.
    """

    def __init__(self, cluster: Cluster):
        bounds = cluster.offsets.tolist()
        spans = [slice(begin, end) for begin, end in pairwise(bounds)]
        # Python lists and ready-made views: indexing numpy scalars one by one costs ten times more.
        self._symbols = [tuple(cluster.symbols[span]) for span in spans]
        self._numbers = [cluster.numbers[span] for span in spans]
        self._geometry = [cluster.geometry[span] for span in spans]
        self._spans = spans
        self._sizes = [span.stop - span.start for span in spans]
        self._charges: list[float] = np.asarray(cluster.charges, dtype=float).tolist()
        self._multiplicities: list[int] = cluster.multiplicities.tolist()
        self._field: NDArray[np.float64] | None = None
        if cluster.embedding is not None:
            self._field = np.column_stack([cluster.geometry, cluster.embedding])
            self._charged = cluster.embedding != 0.0

    def cut(self, real: NDArray[np.integer[Any]], basis: NDArray[np.integer[Any]]) -> TaskMolecule:
        """Cut out one task's molecule.

        Parameters
        ----------
        real, basis
            0-based fragments in ascending order; ``real`` is a subset of ``basis``.  The fragments
            of ``basis`` that are not in ``real`` become ghosts.

        Returns
        -------
        TaskMolecule
            Atoms in the order of ``basis``.  The spins of the real fragments add up to the highest
            one, as in ``qcelemental.models.Molecule.get_fragment``.
        """
        pieces: list[int] = basis.tolist()
        reals: list[int] = real.tolist()
        sizes = tuple([self._sizes[i] for i in pieces])
        charges = [self._charges[i] for i in pieces]
        multiplicities = [self._multiplicities[i] for i in pieces]
        n_atoms = sum(sizes)
        if len(reals) == len(pieces):
            is_real = np.ones(n_atoms, dtype=bool)
        else:
            chosen = set(reals)
            here = [i in chosen for i in pieces]
            charges = [q if r else 0.0 for q, r in zip(charges, here, strict=True)]
            multiplicities = [m if r else 1 for m, r in zip(multiplicities, here, strict=True)]
            is_real = np.repeat(np.array(here, dtype=bool), sizes)
        return TaskMolecule(
            symbols=tuple(chain.from_iterable([self._symbols[i] for i in pieces])),
            numbers=np.concatenate([self._numbers[i] for i in pieces]),
            geometry=np.concatenate([self._geometry[i] for i in pieces]),
            real=is_real,
            charge=round(sum(charges)),
            multiplicity=sum(multiplicities) - len(pieces) + 1,
            fragments=sizes,
            fragment_charges=tuple(charges),
            fragment_multiplicities=tuple(multiplicities),
            point_charges=None if self._field is None else self._surroundings(pieces),
        )

    def _surroundings(self, pieces: list[int]) -> NDArray[np.float64]:
        assert self._field is not None
        outside = self._charged.copy()
        for i in pieces:
            outside[self._spans[i]] = False
        field: NDArray[np.float64] = self._field[outside]
        return field


_cutters: WeakKeyDictionary[Cluster, Cutter] = WeakKeyDictionary()


def cut(cluster: Cluster, real: NDArray[np.integer[Any]], basis: NDArray[np.integer[Any]]) -> TaskMolecule:
    """Cut one task's molecule out of ``cluster``; see :meth:`Cutter.cut`."""
    cutter = _cutters.get(cluster)
    if cutter is None:
        cutter = _cutters[cluster] = Cutter(cluster)
    return cutter.cut(real, basis)


def to_qcschema(molecule: TaskMolecule) -> dict[str, Any]:
    """Write a task's molecule as a QCSchema molecule.

    All charges and multiplicities are given, since QCElemental would otherwise search for them in a
    time exponential in the number of fragments; and the atoms stay where they are.

    Returns
    -------
    dict
        Arguments of ``qcelemental.models.v2.Molecule`` (or v1's).  They are complete and consistent,
        so ``validate=False`` is safe and keeps QCElemental from rounding the geometry.
    """
    bounds = np.concatenate([[0], np.cumsum(molecule.fragments)]).tolist()
    return {
        "symbols": np.array(molecule.symbols),
        "geometry": molecule.geometry,
        "real": molecule.real,
        "fragments": [np.arange(a, b) for a, b in pairwise(bounds)],
        "fragment_charges": list(molecule.fragment_charges),
        "fragment_multiplicities": list(molecule.fragment_multiplicities),
        "molecular_charge": float(molecule.charge),
        "molecular_multiplicity": molecule.multiplicity,
        "fix_com": True,
        "fix_orientation": True,
        "fix_symmetry": "c1",
        "validated": True,
    }
