"""Which engine computes a program's tasks, and programs that users bring.

Nothing of the engines is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from functools import cache

import numpy as np

from qcmb_mpi.engine.base import Engine, Resources
from qcmb_mpi.engine.failures import EngineFailure, Kind
from qcmb_mpi.engine.fragment import cut
from qcmb_mpi.errors import InputError
from qcmb_mpi.problem import Cluster, Level

__all__ = ["get_engine", "load_plugins", "probe_ghosts", "register_engine", "register_with_qcengine"]

#: Energies in Eh closer than this are the same.  A ghost that counts as real shifts a dimer's energy
#: by hartrees; what a ghost's functions change is seldom below 1e-6.
SAME = 1e-8
#: Distance in bohr within which a ghost's functions must show.
NEAR = 8.0


#: Engines that plugins have brought, by the lower-case name of their program.
_brought: dict[str, Engine] = {}


def register_engine(engine: Engine) -> None:
    """Make an engine of the user's own known under its name; it comes before all others."""
    _brought[engine.name.lower()] = engine
    get_engine.cache_clear()


@cache
def get_engine(program: str) -> Engine:
    """The engine for a program: a plugin's, our own for ``pyscf`` and ``tblite``, else QCEngine's.

    Whether the program exists is found out by the engine's ``check``.
    """
    name = program.lower()
    if name in _brought:
        return _brought[name]
    if name == "pyscf":
        from qcmb_mpi.engine.pyscf import PySCFEngine

        return PySCFEngine()
    if name == "tblite":
        from qcmb_mpi.engine.tblite import TbliteEngine

        return TbliteEngine()
    from qcmb_mpi.engine.qcengine import QCEngineEngine

    return QCEngineEngine(name)


def register_with_qcengine() -> None:
    """Make ``pyscf`` and ``tblite`` known to QCEngine, unless it has programs of these names."""
    from qcengine.programs import list_all_programs, register_program

    from qcmb_mpi.engine.harness import PySCFHarness, TbliteHarness

    known = list_all_programs()
    for harness in (PySCFHarness, TbliteHarness):
        if harness._defaults["name"] not in known:
            register_program(harness())


def load_plugins(modules: Iterable[str]) -> None:
    """Import the modules in which users register programs of their own with QCEngine.

    Parameters
    ----------
    modules
        Importable names, searched for in the current folder too, or paths of ``.py`` files.

    Raises
    ------
    InputError
        Naming the module that could not be imported, and why.
    """
    for module in modules:
        try:
            if module.endswith(".py"):
                _import_file(module)
            else:
                here = os.getcwd()
                if here not in sys.path:
                    sys.path.insert(0, here)
                importlib.import_module(module)
        except Exception as error:
            raise InputError(
                f"cannot import the plugin {module!r}: {type(error).__name__}: {error}", "execution.plugins"
            ) from error


def _import_file(path: str) -> None:
    full = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(full))[0]
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == full:
        return
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None or not os.path.isfile(full):
        raise ImportError(f"no such file: {full}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def probe_ghosts(engine: Engine, level: Level, cluster: Cluster, resources: Resources | None = None) -> bool:
    """Find out whether a program honours ghost atoms, by trying.

    A fragment is computed in the basis of itself and its nearest neighbour.  Where ghosts are taken
    for real the energy is that of the pair; where they are dropped it is, for a method with a basis,
    that of the fragment alone.

    Returns
    -------
    bool
        True if ghosts are honoured; also for a cluster of a single fragment, which has none.

    Raises
    ------
    EngineFailure
        If the program fails for another reason than that it refuses the input.
    """
    if engine.ghosts is not None:
        return engine.ghosts
    if cluster.n_fragments < 2:
        return True
    first, second, distance = _close_pair(cluster)
    use = resources or Resources()
    pair = np.array(sorted((first, second)))
    one = np.array([first])
    dimer = engine.compute(level, "energy", cut(cluster, pair, pair), use).energy
    try:
        ghosted = engine.compute(level, "energy", cut(cluster, one, pair), use).energy
    except EngineFailure as error:
        if error.kind is Kind.INPUT:
            return False
        raise
    if abs(ghosted - dimer) < SAME:
        return False
    if level.basis and distance < NEAR:
        alone = engine.compute(level, "energy", cut(cluster, one, one), use).energy
        return abs(ghosted - alone) >= SAME
    return True


def _close_pair(cluster: Cluster) -> tuple[int, int, float]:
    """The first fragment, the one nearest to it, and their distance in bohr."""
    begin, end = cluster.offsets[:2].tolist()
    own = cluster.geometry[begin:end]
    others = cluster.geometry[end:]
    apart = np.linalg.norm(others[:, None, :] - own[None, :, :], axis=2).min(axis=1)
    nearest = int(apart.argmin())
    fragment = int(np.searchsorted(cluster.offsets, end + nearest, side="right")) - 1
    return 0, fragment, float(apart[nearest])
