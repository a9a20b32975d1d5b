"""The archive of a job: its keys, its checkpoint and what that belongs to, and the answers there already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qcmb_mpi
from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.equivalent import different, symmetry_of
from qcmb_mpi.errors import Stopped
from qcmb_mpi.expansion.plan import TaskTable
from qcmb_mpi.expansion.symmetry import Symmetry
from qcmb_mpi.farm.runner import Description
from qcmb_mpi.inputs import Loaded
from qcmb_mpi.logs import log
from qcmb_mpi.problem import Problem
from qcmb_mpi.store.archive import Archive, Store
from qcmb_mpi.store.cache import Cache
from qcmb_mpi.store.memory import Memory
from qcmb_mpi.store.task_keys import Keys, make_keys

__all__ = ["Known", "job_keys", "open_archive", "take_over"]


@dataclass(frozen=True)
class Known:
    """What there is before anything is computed.

    Attributes
    ----------
    reused, cached, derived
        Tasks whose answers the checkpoint had, the cache had, or that follow from these by symmetry.
    symmetry
        The classes of equivalent tasks, if they are to be computed once.
    """

    reused: int
    cached: int
    derived: int
    symmetry: Symmetry | None

    def lines(self, n_tasks: int) -> list[str]:
        """The same for the user, who has ``n_tasks``."""
        lines = []
        if self.reused:
            lines.append(f"{self.reused} of {n_tasks} tasks are in the checkpoint already")
        if self.cached:
            lines.append(f"{self.cached} of {n_tasks} tasks are reused from the cache")
        if self.symmetry is not None:
            lines.append(different(n_tasks, self.symmetry.n_classes, self.derived))
        return lines


@contextlib.contextmanager
def open_archive(
    loaded: Loaded,
    table: TaskTable,
    checkpoint: Path | None,
    overwrite: bool,
    config: ExecutorConfig,
    description: Description,
    threads: int,
) -> Iterator[Archive]:
    """The job's archive on its checkpoint, or in memory if that is None; closed in the end.

    What ``config.cache_dir`` has for it is taken over, and what it computes contributed there.

    Raises
    ------
    StoreError
        The checkpoint or the cache cannot be used.
    Stopped
        It could not be written any more while the archive was open.
    """
    problem, cluster = loaded.problem, loaded.problem.cluster
    keys, canonical = job_keys(problem, table)
    from qcmb_mpi.store.checkpoint import Checkpoint, WriteFailed

    versions = dict(description.versions)
    cache = None
    if config.cache_dir is not None:
        of_levels = keys.with_versions([versions[level.program] for level in problem.levels])
        if problem.keep_records:
            log.warning(
                "cache_dir: the cache does not hold the full records that this input asks for, so every task "
                "is computed; its answers are contributed all the same"
            )
        cache = Cache(Path(config.cache_dir), of_levels, repeats=threads == 1)
    store: Store
    same_versions = True
    if checkpoint is None:
        store = Memory()
    else:
        store = Checkpoint.open(
            checkpoint,
            fingerprint=_fingerprint(problem),
            input_text=loaded.normalised,
            n_tasks=table.n_tasks,
            versions={**_versions(), **versions},
            overwrite=overwrite,
            scratch_dir=config.scratch_dir,
        )
        same_versions = versions.items() <= store.versions.items()
    archive = Archive(table, keys, cluster.offsets, canonical, store, cache, share_earlier=same_versions)
    over = False
    try:
        yield archive
        store.close()
        over = True
    except WriteFailed as error:
        raise Stopped(f"stopped early: {error}", int(archive.done.sum()), table.n_tasks, {}) from None
    finally:
        with contextlib.suppress(WriteFailed):
            store.close()
        if cache is not None:
            cache.close(tidy=over)  # who stops early has no time for it


def take_over(
    archive: Archive, problem: Problem, table: TaskTable, symmetric: bool, check: Callable[[], None]
) -> Known:
    """Take over what checkpoint and cache have, and what follows from it if the job is ``symmetric``.

    ``check`` is called now and then, and may raise to end it.
    """
    reused = archive.load()
    for warning in archive.store.warnings:
        log.warning("%s", warning)
    cached = 0 if problem.keep_records else archive.reuse()  # a cache has no records

    def pause() -> None:
        check()
        archive.store.save()  # renews the lock, too

    symmetry = symmetry_of(problem, table, pause) if symmetric else None
    derived = 0 if symmetry is None else archive.follow(symmetry)
    return Known(reused, cached, derived, symmetry)


def job_keys(problem: Problem, table: TaskTable) -> tuple[Keys, NDArray[np.int64]]:
    """Keys of a problem's tasks, and the place of each fragment in canonical order."""
    cluster = problem.cluster
    return make_keys(
        table,
        symbols=cluster.symbols,
        geometry=cluster.geometry,
        offsets=cluster.offsets,
        charges=cluster.charges,
        multiplicities=cluster.multiplicities,
        embedding=cluster.embedding,
        levels=[(level.program, level.method, level.basis, level.keywords) for level in problem.levels],
        driver=problem.driver,
    )


def _fingerprint(problem: Problem) -> dict[str, str]:
    """Digest of each part of the problem that a checkpoint belongs to."""
    cluster = problem.cluster
    parts: dict[str, Any] = {
        "molecule": [cluster.symbols, cluster.geometry.tolist()],
        "fragments": [cluster.offsets.tolist(), cluster.order.tolist()],
        "charges": [cluster.charges.tolist(), cluster.multiplicities.tolist()],
        "embedding": None if cluster.embedding is None else cluster.embedding.tolist(),
        "driver": problem.driver,
    }
    for level in problem.levels:
        parts[f"level {level.name}"] = [level.program, level.method, level.basis, dict(level.keywords)]
    return {
        name: hashlib.blake2b(
            json.dumps(part, sort_keys=True, default=repr).encode(), digest_size=8
        ).hexdigest()
        for name, part in parts.items()
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("qcmanybody", "qcengine", "qcelemental", "numpy", "h5py")
    return {"qcmb_mpi": qcmb_mpi.__version__, "python": platform.python_version()} | {
        name: version(name) for name in packages
    }
