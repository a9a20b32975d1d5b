"""What ``check`` finds out before a job is worth starting, and how it is told.

A job that is bound to one core, shares cores between ranks or cannot write its folder runs for
hours before anyone notices.  :func:`check` collects what this process can see, adds what the ranks
measured about themselves, and names each problem together with what mends it.

This module must not know MPI or the queueing system: the caller gathers from the ranks what they
measured and hands it in.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from qcmb_mpi import __version__
from qcmb_mpi.errors import ExitCode
from qcmb_mpi.report.durations import format_duration
from qcmb_mpi.report.probes import Folder, find_engines, probe_folder
from qcmb_mpi.report.progress import is_terminal

__all__ = ["Node", "Problem", "Report", "check", "print_report"]

_GIB = 1024**3
#: Below this a runner has hardly room for its own libraries, a checkpoint hardly for its results.
_LITTLE_MEMORY = _GIB // 2
_LITTLE_DISK = _GIB
#: File systems that other nodes write to as well, for which HDF5 promises nothing to live readers.
_SHARED = re.compile(r"nfs|lustre|gpfs|beegfs|cifs|smb|ceph|glusterfs|fuse\.|afs|9p|orangefs|panfs")

_UNBIND = {
    "openmpi": "Start with: mpirun --bind-to none",
    "mpich": "Start with: mpiexec -bind-to none (Intel MPI: export I_MPI_PIN=off)",
    "slurm": "Start with: srun --cpu-bind=none, and --cpus-per-task as sbatch has it",
    "": "Start without taskset, numactl or the launcher's binding",
}
_SAME_PYTHON = "See its message above; the same Python and packages have to work on every node."


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and what mends it; one that is not severe costs nothing but comfort."""

    what: str
    mend: str
    severe: bool = True


@dataclass(frozen=True)
class Node:
    """The ranks of one node.

    Attributes
    ----------
    ranks
        Their numbers.
    allotted
        Cores that the queueing system gave the job there, where it says so.
    usable
        Cores in any of the ranks' affinity masks.
    per_rank
        Cores in each rank's mask, smallest and largest.
    threads
        Threads of each rank's runner, smallest and largest.
    memory
        Bytes for each rank's runner, the smallest.
    """

    host: str
    ranks: tuple[int, ...]
    allotted: int | None
    usable: int
    per_rank: tuple[int, int]
    threads: tuple[int, int]
    memory: int


@dataclass(frozen=True)
class Report:
    """All that was found out; plain data, so that ``--json`` is :meth:`as_dict`."""

    version: str
    python: str
    mpi_library: str | None
    launcher: str | None
    job: str | None
    time_left: float | None
    nodes: tuple[Node, ...]
    folder: Folder
    engines: Mapping[str, str]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> ExitCode:
        """2 if a job started like this would be misconfigured, else 0."""
        severe = any(problem.severe for problem in self.problems)
        return ExitCode.WRONG_INPUT if severe else ExitCode.FINISHED

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {**plain, "exit_code": int(self.exit_code)}

    def facts(self) -> list[tuple[str, str]]:
        """Heading and text of each line above and below the table of nodes."""
        mpi = self.mpi_library or "no library found; without one the job runs on this machine only"
        if self.mpi_library and self.launcher:
            mpi += f", started by {self.launcher}"
        elif self.mpi_library:
            mpi += ", not started by an MPI launcher"
        folder = self.folder
        abilities = [
            f"{word} {'yes' if able else 'NO'}"
            for word, able in (("write", folder.writable), ("lock", folder.locks), ("HDF5", folder.hdf5))
        ]
        free = "unknown" if folder.free is None else f"{folder.free / _GIB:,.1f} GiB"
        job = self.job or "none"
        if self.time_left is not None:
            job += f", {format_duration(self.time_left)} left"
        return [
            ("package", f"qcmb_mpi {self.version}, Python {self.python}"),
            ("MPI", mpi),
            ("job", job),
            ("folder", f"{folder.path} ({folder.file_system}): {', '.join(abilities)}; free {free}"),
            *((f"engine {name}", version) for name, version in self.engines.items()),
        ]

    def table(self) -> list[list[str]]:
        """The table of nodes, header first."""
        header = ["node", "ranks", "cores allotted", "usable", "per rank", "threads", "memory per rank"]
        return [header] + [
            [
                node.host,
                str(len(node.ranks)),
                "-" if node.allotted is None else str(node.allotted),
                str(node.usable),
                _span(*node.per_rank),
                _span(*node.threads),
                f"{node.memory / _GIB:.1f} GiB",
            ]
            for node in self.nodes
        ]

    def verdict(self) -> str:
        """The last line."""
        if self.exit_code:
            return "A job started like this would be misconfigured."
        return "Ready, with remarks." if self.problems else "Ready."

    def text(self) -> str:
        """The report as plain text."""
        lines = [f"{heading:<15} {text}" for heading, text in self.facts()]
        table = self.table()
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in table), ""]
        for problem in self.problems:
            lines += [f"{'problem' if problem.severe else 'remark'}: {problem.what}", f"    {problem.mend}"]
        return "\n".join([*lines, self.verdict()]) + "\n"


def check(
    folder: str | Path,
    *,
    ranks: Sequence[Mapping[str, Any]],
    mpi_library: str | None = None,
    launcher: str | None = None,
    job: str | None = None,
    time_left: float | None = None,
    allotted: int | None = None,
    wanted: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    engines: Mapping[str, str] | None = None,
    found_wrong: Sequence[str] = (),
) -> Report:
    """Look at a job's surroundings before it starts.

    Parameters
    ----------
    folder
        Where checkpoint and result would go.
    ranks
        What each rank measured: ``rank``, ``host``, ``cores`` (affinity mask), ``threads`` and
        ``memory`` [bytes] of its runner, and ``ok``, whether its runner came up.  One entry for a
        job without MPI.
    mpi_library
        Version string of the MPI library; None where there is none.
    launcher
        Name of the MPI launcher that started the job, if one did.
    job, time_left
        Name in the queueing system and seconds until it ends.
    allotted
        Cores per node that the queueing system gave the job, if it says so.
    wanted
        Engines that the job needs; any will do where none is named.
    environ
        Environment in which engines are started; this process's own by default.
    engines
        Name and version of the engines, where the caller knows; found here by default.
    found_wrong
        Problems that the caller met itself, such as an MPI that sees one rank of many.
    """
    complaints: list[str] = []
    if engines is None:
        engines, complaints = find_engines(environ)
    library = " ".join(mpi_library.split("\n")[0].split()) if mpi_library else None
    nodes = _nodes(ranks, allotted)
    place = probe_folder(folder)
    problems = [Problem(text, "Nothing else was looked at on the other processes.") for text in found_wrong]
    problems += _problems_of_ranks(ranks, nodes, launcher)
    problems += _problems_of_folder(place)
    problems += _problems_of_engines(engines, complaints, wanted)
    problems.sort(key=lambda problem: not problem.severe)
    python = platform.python_version()
    return Report(
        __version__, python, library, launcher, job, time_left, nodes, place, dict(engines), tuple(problems)
    )


def print_report(report: Report, stream: TextIO) -> None:
    """Print with colours and a ruled table on a terminal, as plain text elsewhere."""
    if not is_terminal(stream):
        stream.write(report.text())
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=stream, highlight=False)
    facts = Table.grid(padding=(0, 2))
    for heading, text in report.facts():
        facts.add_row(f"[bold]{escape(heading)}[/]", escape(text))
    header, *rows = report.table()
    table = Table(*header)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(facts, table)
    for problem in report.problems:
        word = "[bold red]problem[/]" if problem.severe else "[yellow]remark[/]"
        console.print(f"{word}: {escape(problem.what)}\n    {escape(problem.mend)}")
    console.print(f"[bold {'red' if report.exit_code else 'green'}]{report.verdict()}[/]")


# --- ranks ------------------------------------------------------------------------------------


def _nodes(ranks: Sequence[Mapping[str, Any]], allotted: int | None) -> tuple[Node, ...]:
    by_host: dict[str, list[Mapping[str, Any]]] = {}
    for rank in ranks:
        by_host.setdefault(rank["host"], []).append(rank)
    nodes = []
    for host, here in by_host.items():
        widths = [len(rank["cores"]) for rank in here]
        threads = [rank["threads"] for rank in here]
        nodes.append(
            Node(
                host,
                tuple(rank["rank"] for rank in here),
                allotted,
                len(set().union(*(rank["cores"] for rank in here))),
                (min(widths), max(widths)),
                (min(threads), max(threads)),
                min(rank["memory"] for rank in here),
            )
        )
    return tuple(nodes)


def _problems_of_ranks(
    ranks: Sequence[Mapping[str, Any]], nodes: Sequence[Node], launcher: str | None
) -> list[Problem]:
    unbind = _UNBIND.get(launcher or "", _UNBIND[""])
    # A launcher binds alike on all nodes, and the allotment is the largest of theirs.
    bound = max(node.usable for node in nodes) < max(node.allotted or 0 for node in nodes)
    # Problem without its node → nodes that have it: hundreds of nodes mostly have the same.
    found: dict[Problem, list[str]] = {}
    for node in nodes:
        here = [rank for rank in ranks if rank["host"] == node.host]
        count, cores = len(here), node.usable
        shared = f"{cores} core" if cores == 1 else f"{cores} cores"
        threads = sum(rank["threads"] for rank in here)
        wide = [rank["rank"] for rank in here if rank["threads"] > len(rank["cores"])]
        failed = [rank["rank"] for rank in here if not rank["ok"]]
        problems = []
        if failed:
            problems.append(Problem(f"the runner of {_ranks(failed)} did not come up", _SAME_PYTHON))
        if wide:
            what = f"the runner of {_ranks(wide)} has more threads than cores to run on"
            problems.append(Problem(what, f"{unbind}, or lower OMP_NUM_THREADS."))
        if bound:
            what = f"the job has {node.allotted} cores, but its ranks are bound to {shared}"
            problems.append(Problem(what, f"{unbind}."))
        elif count > cores:
            fewer = f"Start no more ranks per node than there are cores ({cores}), or ask for more cores."
            problems.append(Problem(f"{count} ranks share {shared}", fewer))
        elif threads > cores and not wide:
            what = f"{count} ranks run {threads} threads on {shared}: some are bound to the same ones"
            problems.append(Problem(what, f"{unbind}."))
        if node.memory < _LITTLE_MEMORY:
            what = f"each rank has less than {_LITTLE_MEMORY // 1024**2} MiB of memory"
            problems.append(
                Problem(what, "Start fewer ranks per node, or ask for more memory.", severe=False)
            )
        for problem in problems:
            found.setdefault(problem, []).append(node.host)
    told = [replace(problem, what=f"On {_few(hosts)}: {problem.what}") for problem, hosts in found.items()]
    counts = {len(node.ranks) for node in nodes}
    if len(counts) > 1:
        what = f"The nodes carry between {min(counts)} and {max(counts)} ranks"
        evenly = "Ask for a number of ranks per node (sbatch --ntasks-per-node, PBS mpiprocs)."
        told.append(Problem(what, evenly, severe=False))
    return told


# --- the folder -------------------------------------------------------------------------------


def _problems_of_folder(folder: Folder) -> list[Problem]:
    path = folder.path
    elsewhere = "put the checkpoint elsewhere: --checkpoint FILE."
    if not folder.writable:
        reason = f" ({folder.error})" if folder.error else ""
        mend = "Start the job in a folder that exists and is yours."
        return [Problem(f"{path} cannot be written{reason}", mend)]
    problems = []
    if not folder.hdf5:
        problems.append(Problem(f"HDF5 cannot write in {path}", elsewhere.capitalize()))
    if not folder.locks:
        mend = "A heartbeat stands in for the lock: after a crash the next run may have to wait a minute."
        problems.append(Problem(f"Files in {path} cannot be locked", mend, severe=False))
    if _SHARED.match(folder.file_system):
        what = f"{path} is on {folder.file_system}, where HDF5 promises nothing to live readers"
        mend = "While the job runs look at it with the status command, not by opening the checkpoint."
        problems.append(Problem(what, mend, severe=False))
    if folder.free is not None and folder.free < _LITTLE_DISK:
        what = f"{path} has {folder.free / 1024**2:.0f} MiB left"
        problems.append(Problem(what, f"Make room, or {elsewhere}", severe=False))
    return problems


# --- the engines ------------------------------------------------------------------------------


def _problems_of_engines(
    engines: Mapping[str, str], complaints: Sequence[str], wanted: Sequence[str]
) -> list[Problem]:
    problems = [
        Problem(f"The engine {name} is not installed", f"Install it: {_install(name)}.")
        for name in wanted
        if name not in engines
    ]
    if not engines:
        problems.append(Problem("No engine is installed", f"Install one, for example: {_install('pyscf')}."))
    problems += [
        Problem(
            f"An engine is broken: {text}", "Install it anew for this Python and processor.", severe=False
        )
        for text in complaints
    ]
    return problems


def _install(name: str) -> str:
    if name in ("pyscf", "tblite"):
        return f"pip install 'qcmb-mpi[{name}]'"
    return f"load the site's module for {name}, so that QCEngine finds it"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _ranks(numbers: Sequence[int]) -> str:
    return ("rank " if len(numbers) == 1 else "ranks ") + _few([str(number) for number in numbers])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
