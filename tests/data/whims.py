"""An engine of a user's own that depends on where it runs and on what it may use.

The folder in the environment variable WHIMS says how.  The file ``broken_rank`` there holds the number of
an MPI rank on which nothing works, ``needs`` the bytes that a task of three atoms needs, ``pace`` the
seconds that a task takes, and ``hangs`` the name of a task that hangs the first time.  ``log`` gets a line
for each task: name, bytes it may use, begin and end.
"""

import os
import time
from pathlib import Path

import numpy as np

from qcmb_mpi.engine.base import Answer
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.registry import register_engine

FOLDER = Path(os.environ["WHIMS"])


def setting(name):
    path = FOLDER / name
    return path.read_text() if path.exists() else None


def rank():
    """MPI rank that this runner works for: its parent's parent knows."""
    parent = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]
    variables = dict(
        entry.split(b"=", 1)
        for entry in Path(f"/proc/{parent}/environ").read_bytes().split(b"\0")
        if b"=" in entry
    )
    return (variables.get(b"PMI_RANK") or variables.get(b"OMPI_COMM_WORLD_RANK") or b"").decode()


class Whims:
    name = "whims"
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
        name = "-".join(str(round(x / 5.0)) for x in molecule.geometry[:, 0])
        if setting("broken_rank") == rank() != "":
            raise OSError("no space left in the scratch folder")
        needed = setting("needs")
        if needed and len(molecule.symbols) == 3 and resources.memory < int(needed):
            raise EngineFailure(Kind.MEMORY, f"{needed} bytes are needed")
        if setting("hangs") == name:
            (FOLDER / "hangs").unlink()
            time.sleep(3600)
        begin = time.time()
        time.sleep(float(setting("pace") or 0))
        with open(FOLDER / "log", "a") as log:
            log.write(f"{name} {resources.memory} {begin} {time.time()}\n")
        return Answer(energy=-float(np.sum(molecule.geometry[:, 0] ** 2)))


register_engine(Whims())
