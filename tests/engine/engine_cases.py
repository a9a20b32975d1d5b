"""Molecules and clusters that the engine tests share."""

import numpy as np

from qcmb_mpi.engine.base import Resources, TaskMolecule
from qcmb_mpi.engine.fragment import cut
from qcmb_mpi.problem import Cluster, Level

NUMBERS = {
    "H": 1,
    "He": 2,
    "Li": 3,
    "O": 8,
    "Ne": 10,
    "Na": 11,
    "Fe": 26,
    "I": 53,
    "Xe": 54,
    "Au": 79,
    "Fr": 87,
}
ONE = Resources(threads=1)

WATER = [("O", (0.0, 0.0, 0.1)), ("H", (0.1, 1.43, 1.1)), ("H", (0.0, -1.4, 1.0))]
HYDROXYL = [("O", (0.0, 0.0, 0.0)), ("H", (0.0, 0.0, 1.83))]


def cluster(*fragments, charges=None, multiplicities=None, embedding=None):
    """A cluster from lists of (symbol, position in bohr)."""
    atoms = [atom for fragment in fragments for atom in fragment]
    symbols = tuple(symbol for symbol, _ in atoms)
    return Cluster(
        symbols=symbols,
        numbers=np.array([NUMBERS[s] for s in symbols]),
        geometry=np.array([position for _, position in atoms], dtype=float),
        offsets=np.concatenate([[0], np.cumsum([len(f) for f in fragments])]),
        charges=np.array(charges if charges is not None else [0.0] * len(fragments), dtype=float),
        multiplicities=np.array(multiplicities if multiplicities is not None else [1] * len(fragments)),
        order=np.arange(len(atoms)),
        embedding=None if embedding is None else np.array(embedding, dtype=float),
    )


def moved(fragment, x=0.0, y=0.0, z=0.0):
    return [(s, tuple(np.add(p, (x, y, z)))) for s, p in fragment]


def waters(n, apart=5.5):
    return cluster(*[moved(WATER, x=apart * i, z=0.3 * i) for i in range(n)])


def piece(cluster_, real, basis=None) -> TaskMolecule:
    basis = real if basis is None else basis
    return cut(cluster_, np.array(real), np.array(basis))


def level(method="hf", basis="sto-3g", program="pyscf", **keywords):
    return Level("(auto)", program, method, basis, keywords)


def displaced(molecule, atom, axis, step):
    """The molecule with one atom moved by ``step`` bohr."""
    from dataclasses import replace

    geometry = molecule.geometry.copy()
    geometry[atom, axis] += step
    return replace(molecule, geometry=geometry)


def slope(engine, level_, molecule, atom, axis, step=2e-3):
    """dE/dx by central finite differences in Eh/bohr."""
    up, down = (
        engine.compute(level_, "energy", displaced(molecule, atom, axis, s), ONE).energy
        for s in (step, -step)
    )
    return (up - down) / (2 * step)
