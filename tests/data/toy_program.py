"""A program of a user's own, for QCEngine: atoms on a line, and mishaps on demand (``mishaps.py``).

An atom's number is its place on the x axis, one for every five bohr.
"""

from typing import ClassVar

import mishaps
import numpy as np
from qcelemental.models.v2 import AtomicResult
from qcengine.exceptions import ConvergenceError, InputError
from qcengine.programs import register_program
from qcengine.programs.model import ProgramHarness


class Toy(ProgramHarness):
    _defaults: ClassVar = {
        "name": "toy",
        "scratch": False,
        "thread_safe": True,
        "thread_parallel": False,
        "node_parallel": False,
        "managed_memory": False,
    }

    @staticmethod
    def found(raise_error=False):
        return True

    def get_version(self):
        return "1.0"

    def compute(self, input_data, config):
        molecule = input_data.molecule
        real = np.asarray(molecule.real)
        numbers = np.rint(np.asarray(molecule.geometry)[real, 0] / 5.0).astype(int)
        happens = mishaps.count_try("-".join(map(str, numbers.tolist())))
        if happens == "raise":
            raise OSError("the disk of the toy is full")
        if happens == "unconverged":
            raise ConvergenceError("SCF did not converge in 3 iterations")
        if happens == "input":
            raise InputError("the toy does not do this")
        mishaps.befall(happens)
        mishaps.take_time()
        energy = float("nan") if happens == "nan" else energy_of(molecule)
        return AtomicResult(
            input_data=input_data,
            molecule=molecule,
            success=True,
            properties={"return_energy": energy, "calcinfo_natom": len(real)},
            return_result=energy,
            provenance={"creator": "toy"},
        )


def energy_of(molecule):
    """Charges that attract each other, all of them together a little more."""
    charges = np.asarray(molecule.atomic_numbers, dtype=float)
    places = np.asarray(molecule.geometry)[:, 0]
    pairs = [
        charges[i] * charges[j] / abs(places[i] - places[j]) ** 3
        for i in range(len(charges))
        for j in range(i)
    ]
    return -float(np.sum(charges**1.3)) / 3 - sum(pairs) - sum(pairs) ** 2 / 7


register_program(Toy())
