"""What a job asks a queueing system for, read from flags and checked.

This module must not know what a job script looks like, what the input says, or anything of the
machine it runs on.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from qcmb_mpi.errors import InputError

__all__ = ["LAUNCHERS", "Request", "parse_launcher", "parse_memory", "parse_time"]

LAUNCHERS = ("mpiexec", "mpirun", "srun")
#: PBS waits for a job's shell to come up, and Slurm counts in minutes: less is no time limit.
_SHORTEST = 60


@dataclass(frozen=True)
class Request:
    """What a job needs.

    Attributes
    ----------
    system
        ``slurm`` or ``pbs``.
    script, input, checkpoint
        Names of the three files, as seen from the script's own folder.
    nodes, ntasks_per_node, cpus_per_task
        At least 1; an MPI rank is a task of the queueing system.
    time
        The time limit [s].
    memory
        Of each node, a number and one of ``KMGT``; None leaves it to the site.
    queue, account
        Partition or queue, and who pays; None leaves them to the site.
    launcher
        Words of the command that starts ranks, without their number.
    plugins
        Modules for ``run --plugin``.
    setup
        Lines of shell that make Python and MPI available.

    Raises
    ------
    InputError
        A number or word that cannot be meant, under the flag it was given by.
    """

    system: str
    script: str
    input: str
    checkpoint: str
    nodes: int
    ntasks_per_node: int
    time: int
    cpus_per_task: int = 1
    memory: str | None = None
    queue: str | None = None
    account: str | None = None
    launcher: tuple[str, ...] = ("mpiexec",)
    plugins: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("nodes", "ntasks_per_node", "cpus_per_task"):
            value = getattr(self, name)
            if value < 1:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"expected a whole number of at least 1, not {value}", flag)
        queue_flag = "--partition" if self.system == "slurm" else "--queue"
        for flag, word in ((queue_flag, self.queue), ("--account", self.account)):
            if word is not None and not re.fullmatch(r"\w[\w.,:@+-]*", word):
                raise InputError(f"{word!r} is no name that a queueing system could know", flag)
        if self.system == "pbs" and self.by_srun:
            raise InputError("srun belongs to Slurm; under PBS use mpiexec or mpirun", "--launcher")

    @property
    def ranks(self) -> int:
        """Number of MPI ranks."""
        return self.nodes * self.ntasks_per_node

    @property
    def by_srun(self) -> bool:
        """Whether Slurm's own launcher starts the ranks."""
        return _basename(self.launcher[0]) == "srun"

    @property
    def submit(self) -> str:
        """The command that submits the script, in its folder."""
        return f"{'sbatch' if self.system == 'slurm' else 'qsub'} {shlex.quote(self.script)}"

    @property
    def name(self) -> str:
        """The job's name: that of the input, as far as the queueing system allows it."""
        stem = _basename(self.input).rsplit(".", 1)[0]
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)
        if self.system == "slurm":
            return name
        # PBS wants a letter first, and some of its kinds no more than 15 characters.
        return (name if name[:1].isalpha() else f"j{name}")[:15]

    def summary(self) -> str:
        """The job in a few words."""
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks:,} ranks"
        cores = "1 core" if self.cpus_per_task == 1 else f"{self.cpus_per_task} cores"
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes:,} nodes"
        return f"{ranks} of {cores} on {nodes}"


def parse_time(text: str) -> int:
    """Seconds of ``HH:MM:SS`` or ``D-HH:MM:SS``.

    Raises
    ------
    InputError
        Anything else: two numbers would be hours and minutes to one, minutes and seconds to Slurm.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)", text.strip())
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < _SHORTEST:
        raise InputError(f"expected HH:MM:SS or D-HH:MM:SS, at least a minute, not {text!r}", "--time")
    return total


def parse_memory(text: str) -> str:
    """``64G`` of ``64GB``, ``64 GiB``, ``64g``: to a queueing system all of them are powers of 1024."""
    match = re.fullmatch(r"([1-9]\d*)\s*([kmgt])(?:i?b)?", text.strip().lower())
    if match is None:
        raise InputError(f"expected the memory of a node, such as 64GB or 500MB, not {text!r}", "--memory")
    return f"{match[1]}{match[2].upper()}"


def parse_launcher(text: str) -> tuple[str, ...]:
    """The words of a launcher with flags of its own, such as ``srun --mpi=pmix``."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"{text!r} cannot be read as a command ({error})", "--launcher") from None
    if not words or _basename(words[0]) not in LAUNCHERS:
        known = " or ".join(", ".join(LAUNCHERS).rsplit(", ", 1))
        raise InputError(f"expected {known}, flags may follow, not {text!r}", "--launcher")
    return words


def _basename(word: str) -> str:
    return word.rsplit("/", 1)[-1]
