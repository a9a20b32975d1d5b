"""Many-body expansions of molecular clusters as a dynamic MPI work queue.

The public names are imported when first used, so that ranks and runners start fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ExecutorConfig": "qcmb_mpi.config",
    "InputError": "qcmb_mpi.errors",
    "MPIExecutor": "qcmb_mpi.parallel",
    "ManyBodyComputer": "qcmb_mpi.computer",
    "ManyBodyInput": "qcmb_mpi.inputs",
    "MultiprocessingExecutor": "qcmb_mpi.parallel",
    "ParallelManyBodyComputer": "qcmb_mpi.computer",
    "QcmbError": "qcmb_mpi.errors",
    "SequentialExecutor": "qcmb_mpi.parallel",
    "Stopped": "qcmb_mpi.errors",
    "TasksFailed": "qcmb_mpi.errors",
    "plot_increments": "qcmb_mpi.plotting",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
