"""``ParallelManyBodyComputer``: the whole program behind QCManyBody's call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qcmb_mpi.config import ExecutorConfig, merge
from qcmb_mpi.inputs import Loaded, from_model
from qcmb_mpi.job import Options, run
from qcmb_mpi.logs import log
from qcmb_mpi.parallel import Executor
from qcmb_mpi.report.failed import beside
from qcmb_mpi.report.progress import is_notebook
from qcmb_mpi.starting import start

__all__ = ["ManyBodyComputer", "ParallelManyBodyComputer"]


class ParallelManyBodyComputer:
    """Runs many-body expansions on all cores, or all MPI ranks, that there are."""

    @classmethod
    def from_manybodyinput(
        cls,
        mb_input: Any,
        parallel: bool = False,
        n_workers: int | None = None,
        executor: Executor | None = None,
    ) -> Any:
        """Compute a many-body expansion.

        Under ``mpirun`` every rank calls this, whatever the executor; the ranks share the work.

        Parameters
        ----------
        mb_input
            QCManyBody's ``ManyBodyInput`` (version 1 or 2), or a dictionary with the same fields or in
            the flat form ``{molecule, driver, specification: {program, method, basis}, keywords}``.
        parallel
            Use several processes.
        n_workers
            How many; all cores that this process may use by default.
        executor
            Where and how to compute; overrides ``parallel`` and ``n_workers``.

        Returns
        -------
        ManyBodyResult or None
            Of the same version as the input, a subclass of QCManyBody's.  None on ranks of the
            communicator other than its rank 0, and where that is ``MPI.COMM_NULL``.

        Raises
        ------
        InputError
            The input cannot be computed; nothing was run.
        TasksFailed, Stopped
            Not all tasks were computed; the exception carries what is complete.
        """

        comm = getattr(executor, "comm", None)
        if comm is not None and not comm:  # MPI.COMM_NULL, what Split gives those it leaves out
            return None
        begin = start(comm)

        def load() -> tuple[Loaded, ExecutorConfig, Options]:
            loaded = from_model(mb_input)
            if begin.world is not None and executor is not None and executor.executor_type != "mpi":
                log.warning(
                    "%s is not used: mpirun has started this script, so its %d ranks share the work",
                    type(executor).__name__,
                    begin.world.size,
                )
            flags: dict[str, Any] = {"parallel": parallel or n_workers is not None, "n_workers": n_workers}
            if executor is not None:
                flags = executor.config.chosen()
            config = merge(flags, loaded.execution, os.environ)
            file = Path(config.checkpoint_file) if config.checkpoint_file else None
            return (
                loaded,
                config,
                Options(
                    checkpoint=file,
                    progress=config.progress or ("auto" if is_notebook() else "none"),
                    failed=beside(file) if file else None,
                ),
            )

        return run(begin, load)


#: QCManyBody's name for the serial computer, which ours is until it is told otherwise.
ManyBodyComputer = ParallelManyBodyComputer
