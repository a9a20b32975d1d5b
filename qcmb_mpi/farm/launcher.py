"""Which MPI launcher started this process, and what it left in the environment.

A job must never run n times over: where a launcher announces several processes but MPI sees one
rank, each of them would do the whole job.  And an engine that is an MPI program itself must not
take its rank's connection to the launcher for its own.

This module must not know MPI: it looks at a mapping of environment variables, so that whoever
imports mpi4py can ask first whether there is a reason to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from qcmb_mpi.errors import LauncherError

__all__ = ["Launch", "check_world", "clean_environment", "detect"]


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes
    ----------
    name
        ``openmpi``; ``mpich`` with its descendants (Intel MPI, MVAPICH, Cray); ``mvapich`` for
        ``mpirun_rsh``; ``slurm`` for ``srun``; ``flux``; ``pmix`` for any other that speaks PMIx.
        None where no launcher is to be seen.
    size
        Number of processes that the launcher announced, if it did.
    rank
        Number of this process, if announced.
    """

    name: str | None = None
    size: int | None = None
    rank: int | None = None

    @property
    def found(self) -> bool:
        """Whether an MPI launcher started this process, so that there is a reason to import MPI."""
        return self.name is not None


#: Launcher, variables with the number of processes, variables with the number of this one; the
#: first line of which either is set counts.  MPICH's ``mpiexec`` announces only the processes of
#: this node where it serves PMI over a port.
_ANNOUNCEMENTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("openmpi", ("OMPI_COMM_WORLD_SIZE",), ("OMPI_COMM_WORLD_RANK",)),
    ("mvapich", ("MV2_COMM_WORLD_SIZE",), ("MV2_COMM_WORLD_RANK",)),
    ("mpich", ("PMI_SIZE", "MPI_LOCALNRANKS"), ("PMI_RANK", "PMI_ID")),
    ("flux", ("FLUX_JOB_SIZE",), ("FLUX_TASK_RANK",)),
    ("pmix", (), ("PMIX_RANK",)),
)

#: Set by MPICH's process manager for its ranks and not by ``srun --mpi=pmi2``, which sets PMI_SIZE
#: too.  The ranks of the former may have a Slurm step as well, that of their node's proxy.
_HYDRA = ("HYDI_CONTROL_FD", "MPI_LOCALNRANKS", "PMI_HOSTNAME")

_COMMANDS = {
    "openmpi": "Open MPI's mpirun",
    "mpich": "the mpiexec of MPICH or a descendant",
    "mvapich": "mpirun_rsh",
    "slurm": "srun",
    "flux": "flux run",
    "pmix": "a PMIx launcher",
}

#: What launchers set for the ranks that they start.
_LAUNCHER_VARIABLES = re.compile(
    r"""PMI\d?_ | PMIX_ | PALS_ | PRTE_ | HYDI_ | MPI_LOCAL | MPIEXEC_ | MPISPAWN_ | MV2_COMM_WORLD_
      | OMPI_ | OPAL_ | ORTE_ | FLUX_(?:TASK_|JOB_SIZE$|KVS_NAMESPACE$)
      | I_MPI_(?:INFO_|MPIRUN$|PIN_INFO$|PIN_MAPPING$|HYDRA_UUID$)
      | SLURM_(?:STEP|PROCID$|LOCALID$|GTIDS$|SRUN_COMM_|PMI|MPI_TYPE$)
      | GFORTRAN_UNBUFFERED_PRECONNECTED$""",
    re.VERBOSE,
)

#: What looks alike and is the user's: permissions and tuning that a shell would hand on as well.
_USER_SETTINGS = re.compile(
    r"""OMPI_ALLOW_RUN_AS_ROOT | (?:PRTE|PMIX)_MCA_ | OMPI_(?:CC|CXX|FC)$
      | OMPI_MCA_(?!PREFIXES$|cpu_type$|initial_wdir$|num_procs$|ess|orte_|pmix|plm|shmem_RUNTIME)""",
    re.VERBOSE,
)


def detect(environ: Mapping[str, str]) -> Launch:
    """Tell from the environment whether, and as which of how many, a launcher started this process.

    Slurm counts only with a step of several tasks: ``SLURM_NTASKS`` alone stands in every batch
    shell, and one task is an ordinary program that happens to be run by ``srun``.
    """
    step = _number(environ, "SLURM_STEP_NUM_TASKS") if "SLURM_STEP_ID" in environ else None
    for name, sizes, ranks in _ANNOUNCEMENTS:
        size = _first_number(environ, sizes)
        rank = _first_number(environ, ranks)
        if size is None and rank is None:
            continue
        by_srun = step is not None and (
            name == "pmix" or (name == "mpich" and not any(mark in environ for mark in _HYDRA))
        )
        if by_srun:
            break
        return Launch(name, size, rank)
    if step is not None and step > 1:
        return Launch("slurm", step, _number(environ, "SLURM_PROCID"))
    return Launch()


def check_world(launch: Launch, mpi_size: int, library: str | None) -> None:
    """Refuse to run a job once per process.

    Parameters
    ----------
    launch
        What :func:`detect` found.
    mpi_size
        Number of ranks that MPI sees; 1 where there is no MPI.
    library
        Version string of the MPI library; None where none could be loaded.

    Raises
    ------
    LauncherError
        If several processes were announced and MPI sees one rank; names launcher, library and the
        command that brings them together.  On processes other than the first it is empty.
    """
    if mpi_size > 1 or launch.name is None or launch.size is None or launch.size <= 1:
        return
    if launch.rank:
        raise LauncherError("")  # all of them find the same, and the first one says it
    command = _COMMANDS[launch.name]
    started = f"{command} started {launch.size} processes"
    if library is None:
        raise LauncherError(
            f"{started}, but no MPI library could be loaded, so that each of them would compute the whole "
            "job. Load the site's MPI module, or install one with: pip install 'qcmb-mpi[mpich]'"
        )
    known = " ".join(library.split())
    family = _family(known)
    if launch.name == "slurm":
        kind = {"openmpi": "pmix", "mpich": "pmi2"}.get(family or "")
        start = f"srun --mpi={kind}" if kind else "srun --mpi=pmix or srun --mpi=pmi2"
        remedy = (
            f"Start it with {start}, if srun --mpi=list shows that this Slurm has it, else with the "
            "mpiexec that belongs to this library; in a job script that is the line with launch="
        )
    elif family == launch.name:
        remedy = "Use the mpiexec of the installation that this library comes from"
    else:
        own = _COMMANDS.get(family or "", "the mpiexec that belongs to this library")
        remedy = f"Start it with {own}, or load the library that belongs to {command}"
    raise LauncherError(
        f"{started}, but the MPI library in use ({known}) sees one rank in each, so that each would compute "
        f"the whole job. {remedy}."
    )


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what an MPI launcher put there for its rank.

    A program started with it, and that includes another ``mpiexec``, starts as from the shell in
    which the job was started.  Settings of the user's own stay: permissions such as
    ``OMPI_ALLOW_RUN_AS_ROOT``, tuning such as ``OMPI_MCA_*``, ``PRTE_MCA_*`` and ``HYDRA_*``.
    """
    clean = {
        name: value
        for name, value in environ.items()
        if _USER_SETTINGS.match(name) or not _LAUNCHER_VARIABLES.match(name)
    }
    # An Open MPI that can be moved about (the wheel, an installation under OPAL_PREFIX) names its
    # folder of libraries here and puts it in front, once per layer of programs.  An engine built
    # with another Open MPI would load the wrong library from it.
    own = environ.get("OMPI_LIBDIR_LOC")
    if own and "LD_LIBRARY_PATH" in clean:
        folders = clean.pop("LD_LIBRARY_PATH").split(":")
        while folders and folders[0] == own:
            del folders[0]
        if folders:
            clean["LD_LIBRARY_PATH"] = ":".join(folders)
    return clean


def _family(library: str) -> str | None:
    """Whose launchers the library understands."""
    if "Open MPI" in library:
        return "openmpi"
    return "mpich" if re.search(r"MPICH|Intel|MVAPICH|CRAY", library, re.IGNORECASE) else None


def _first_number(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    return next((value for name in names if (value := _number(environ, name)) is not None), None)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdigit() else None
