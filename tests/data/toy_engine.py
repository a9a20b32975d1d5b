"""An engine of a user's own: atoms on a line, and mishaps on demand (``mishaps.py``).

The same as ``toy_program.py`` without QCEngine, so that a whole job takes a second; and with derivatives,
which are numbers that tell one task from another and no derivatives of anything.  An atom's number is its
place on the x axis, one for every five bohr; the name of a task with ghosts goes on with ``@`` and the
numbers of all its atoms.
"""

import mishaps
import numpy as np

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.registry import register_engine


class Toy:
    name = "toy"
    ghosts = True
    point_charges = False

    def version(self):
        return "1.0"

    def check(self, level, driver, cluster):
        pass

    def sizes(self, level, cluster):
        return np.diff(cluster.offsets).astype(float)

    def energy_error(self, level):
        return 1e-9

    def compute(self, level, driver, molecule, resources, *, attempt=0, keep_record=False):
        happens = mishaps.count_try(name_of(molecule))
        if happens == "raise":
            raise OSError("the disk of the toy is full")
        if happens == "unconverged":
            raise EngineFailure(Kind.CONVERGENCE, "SCF did not converge in 3 iterations")
        if happens == "memory":
            raise MemoryError
        if happens == "input":
            raise EngineFailure(Kind.INPUT, "the toy does not do this")
        mishaps.befall(happens)
        mishaps.take_time()
        return answer(molecule, driver, happens)


def name_of(molecule):
    numbers = np.rint(molecule.geometry[:, 0] / 5.0).astype(int)
    real = "-".join(map(str, numbers[molecule.real].tolist()))
    return real if molecule.real.all() else real + "@" + "-".join(map(str, numbers.tolist()))


def answer(molecule, driver, happens=None):
    """Charges that attract each other, all of them together a little more; ghosts help."""
    charges = np.where(molecule.real, molecule.numbers, 0.1).astype(float)
    places = molecule.geometry[:, 0]
    apart = np.abs(places[:, None] - places[None, :]) + np.eye(len(places))
    pairs = charges[:, None] * charges[None, :] / apart**3
    energy = -float(np.sum(charges**1.3)) / 3 - float(pairs.sum()) - float(pairs.sum()) ** 2 / 7
    n = 3 * len(charges)
    some = np.add.outer(np.arange(n), 1 / (charges.repeat(3) + 3)) * energy
    gradient = some[0].reshape(-1, 3).copy()
    if happens == "too many values":
        gradient = np.zeros((len(charges) + 1, 3))
    return Answer(
        energy=float("nan") if happens == "nan" else energy,
        gradient=gradient if driver != "energy" or happens in ("too many values", "unasked") else None,
        hessian=some + some.T if driver == "hessian" else None,
    )


register_engine(Toy())
