"""Executors: names for where a job computes, under the import path of QCManyBody's guide.

They hold settings only; the same farm does the work behind each of them.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar

from qcmb_mpi.config import ExecutorConfig

__all__ = ["Executor", "ExecutorConfig", "MPIExecutor", "MultiprocessingExecutor", "SequentialExecutor"]


class Executor:
    """Where and how to compute.

    Parameters
    ----------
    config
        Settings; the defaults if none are given.
    """

    executor_type: ClassVar[str] = "auto"

    def __init__(self, config: ExecutorConfig | None = None):
        self.config = replace(config or ExecutorConfig(), executor_type=self.executor_type)

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: processes live only as long as a job."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"


class SequentialExecutor(Executor):
    """One task after the other."""

    executor_type = "sequential"


class MultiprocessingExecutor(Executor):
    """Several tasks at once on this machine."""

    executor_type = "multiprocessing"


class MPIExecutor(Executor):
    """On all ranks of an MPI job.

    Parameters
    ----------
    config
        Settings; the defaults if none are given.
    comm
        An mpi4py communicator whose ranks all call; those that were started together by default.
        Ranks outside of it need not call, and where they do with ``MPI.COMM_NULL`` they get None at
        once.  It stays the caller's: messages travel in a copy.

    Notes
    -----
    Each rank has the cores that it is bound to; ranks of a node that are not bound divide its cores among
    those of the communicator.  Where several communicators of one node compute at the same time, say
    ``threads_per_worker``.
    """

    executor_type = "mpi"

    def __init__(self, config: ExecutorConfig | None = None, comm: Any = None):
        super().__init__(config)
        self.comm = comm
