"""Gathers from all ranks what ``check`` reports, and prints it on rank 0."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qcmb_mpi.errors import ExitCode
from qcmb_mpi.farm import resources
from qcmb_mpi.farm.launcher import clean_environment, detect
from qcmb_mpi.report.check import check, print_report

if TYPE_CHECKING:
    from qcmb_mpi.starting import Start

__all__ = ["gather"]


def gather(begin: Start, folder: Path, *, as_json: bool) -> int:
    """Report on this job; returns the exit code, the same on every rank."""
    from qcmb_mpi.farm.mpi import library

    world = begin.world
    runner_comes_up = begin.crew.answers()
    begin.crew.close()
    mask = resources.affinity()
    index, masks = world.neighbours(mask) if world is not None else (0, [mask])
    threads, memory = resources.allotment(
        masks, index, resources.granted_cores(os.environ), resources.usable_memory(os.environ)
    )
    mine = {
        "rank": 0 if world is None else world.rank,
        "host": socket.gethostname(),
        "cores": sorted(mask),
        "threads": threads,
        "memory": memory,
        "ok": runner_comes_up,
    }
    ranks = [mine] if world is None else world.collect(mine)
    code = int(ExitCode.FINISHED)
    if world is None or world.rank == 0:
        report = check(
            folder,
            ranks=ranks,
            mpi_library=library() if world is None else world.library,
            launcher=detect(os.environ).name,
            job=resources.job_id(os.environ),
            time_left=resources.walltime_left(os.environ),
            allotted=resources.allotted_cores(os.environ),
            environ=clean_environment(os.environ),
        )
        if as_json:
            print(json.dumps(report.as_dict(), indent=1))
        else:
            print_report(report, sys.stdout)
        sys.stdout.flush()
        code = int(report.exit_code)
    if world is not None:
        code = int(world.broadcast(str(code).encode() if world.rank == 0 else None))
        world.close()
    return code
