"""A program of a user's own, for QCEngine: atoms on a line, and mishaps on demand.

The folder in the environment variable TOY_FOLDER says what goes wrong.  ``mishaps.json`` there maps the
name of a task, the numbers of its atoms joined by dashes, to what happens in its first, second, ... try;
a last entry ``always`` repeats the one before it.  ``tries/<name>`` grows by one byte with each try.
``seconds`` there, if it exists, is how long a task takes.  An atom's number is its place on the x axis,
one for every five bohr.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from qcelemental.models.v2 import AtomicResult
from qcengine.exceptions import ConvergenceError, InputError
from qcengine.programs import register_program
from qcengine.programs.model import ProgramHarness

FOLDER = Path(os.environ["TOY_FOLDER"])


def mishap(name):
    """What is to go wrong with this try of a task, if anything."""
    (FOLDER / "tries").mkdir(exist_ok=True)
    with open(FOLDER / "tries" / name, "ab") as file:
        file.write(b".")
        tries = file.tell()
    planned = FOLDER / "mishaps.json"
    words = json.loads(planned.read_text()).get(name, []) if planned.exists() else []
    if words and words[-1] == "always":
        words = words[:-1] + words[-2:-1] * tries
    return words[tries - 1] if tries <= len(words) else None


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
        happens = mishap("-".join(map(str, numbers.tolist())))
        if happens == "raise":
            raise OSError("the disk of the toy is full")
        if happens == "unconverged":
            raise ConvergenceError("SCF did not converge in 3 iterations")
        if happens == "input":
            raise InputError("the toy does not do this")
        if happens == "exit":
            os._exit(3)
        if happens == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if happens == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if happens == "hang":
            print("the toy sleeps", flush=True)
            time.sleep(3600)
        if happens == "hang with children":
            if os.fork() == 0:
                os.setsid()
                time.sleep(3600)
            time.sleep(3600)
        pace = FOLDER / "seconds"
        if pace.exists():
            time.sleep(float(pace.read_text()))
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
