"""An engine that sleeps: imported in no time, it computes nothing, and it litters like a real program.

The folder in the environment variable SLEEPER_FOLDER says what it does.  ``seconds`` there is how long a
task takes, ``import`` how long the import does.  ``tries/<name>`` grows by one byte when a task is begun;
its name is made of the numbers of its atoms, one for every five bohr on the x axis.  If ``litter``
exists, every task leaves temporary folders and a program in a session of its own behind; if ``failing``
exists, it fails; while ``hold`` exists, it does not end.  ``importing`` appears when the import begins.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.registry import register_engine

FOLDER = Path(os.environ["SLEEPER_FOLDER"])


def seconds(name):
    path = FOLDER / name
    return float(path.read_text()) if path.exists() else 0.0


class Sleeper:
    name = "sleeper"
    ghosts = True
    point_charges = False

    def version(self):
        return "1"

    def check(self, level, driver, cluster):
        pass

    def sizes(self, level, cluster):
        return np.ones(cluster.n_fragments)

    def energy_error(self, level):
        return 0.0

    def compute(self, level, driver, molecule, resources, **_):
        places = molecule.geometry[:, 0] / 5.0
        (FOLDER / "tries").mkdir(exist_ok=True)
        with open(FOLDER / "tries" / "-".join(map(str, np.rint(places).astype(int).tolist())), "ab") as file:
            file.write(b".")
        if (FOLDER / "litter").exists():
            tempfile.mkdtemp(dir=resources.scratch)
            tempfile.mkdtemp()
            subprocess.Popen(["sleep", "3600"], start_new_session=True)
        time.sleep(seconds("seconds"))
        while (FOLDER / "hold").exists():
            time.sleep(0.02)
        if (FOLDER / "failing").exists():
            raise RuntimeError("the sleeper fails")
        return Answer(energy=-float(np.sqrt(1.0 + places).sum()))


(FOLDER / "importing").touch()
time.sleep(seconds("import"))
register_engine(Sleeper())
