"""A process as a launcher or a user has started it: runners-to-be first, then MPI where there is any.

Imports little, since engines are imported meanwhile in the parent of the runners.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcmb_mpi.farm.launcher import check_world, clean_environment, detect
from qcmb_mpi.farm.local import Crew
from qcmb_mpi.logs import log

if TYPE_CHECKING:
    from qcmb_mpi.farm.mpi import World

__all__ = ["Start", "start"]


@dataclass(frozen=True)
class Start:
    """A process as it was started.

    Attributes
    ----------
    crew
        Its runners-to-be.
    world
        The ranks, if a launcher has started this process or the user gave a communicator.
    began
        Monotonic time of the start.
    """

    crew: Crew
    world: World | None
    began: float

    @property
    def n_ranks(self) -> int:
        """Ranks of the job, or runners of the only process; all of them compute."""
        return self.world.size if self.world is not None else len(self.crew.seats)

    @contextmanager
    def only_rank_0(self) -> Iterator[bool]:
        """For work without other ranks: tells whether this is rank 0, and ends runners and MPI afterwards."""
        try:
            yield self.world is None or self.world.rank == 0
        finally:
            self.crew.close()
            if self.world is not None:
                self.world.close()


def start(comm: Any = None) -> Start:
    """Start the parent of this process's runners, then MPI where a launcher announced it.

    Raises
    ------
    LauncherError
        The launcher started several processes that do not see each other.
    """
    began = time.monotonic()
    launch = detect(os.environ)
    crew = Crew(clean_environment(os.environ))
    try:
        if comm is None and launch.name is None:
            return Start(crew, None, began)
        world, library = _connect(comm)
        check_world(launch, world.launched if world else 1, library)
    except BaseException:
        crew.close()
        raise
    return Start(crew, world, began)


def _connect(comm: Any) -> tuple[World | None, str | None]:
    try:
        from qcmb_mpi.farm.mpi import connect

        world = connect(comm)
    except (ImportError, RuntimeError) as error:
        log.debug("no MPI library: %s", error)
        return None, None
    return world, world.library
