"""Cores, memory and time that this process may use: measured, not guessed.

Sources are the affinity mask, the control groups of either version, and what Slurm and PBS say
about the job.  The scheduler's variables only ever lower a measured number: they describe what was
allotted, and a mask or quota that grants less is what the kernel enforces.  A core is what the
kernel schedules on, so a hardware thread counts as one where the site switched them on.

Everything is a function of an environment and of the folder that holds ``/proc`` and ``/sys``, so
that tests can hand in either.  This module must not know MPI: how many ranks share a node, and
which masks they have, is told by the caller.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

__all__ = [
    "MEMORY_SHARE",
    "affinity",
    "allotment",
    "allotted_cores",
    "granted_cores",
    "job_id",
    "parse_duration",
    "usable_cores",
    "usable_memory",
    "walltime_left",
]

#: Part of a node's usable memory that is handed to engines.  The rest is for the rank processes and
#: for engines, which keep to the figure they are given only roughly.
MEMORY_SHARE = 0.9

_MIB = 1024**2
#: A query of the queueing system that takes longer than this is given up (s).
_QUERY_TIMEOUT = 10.0


# --- cores ------------------------------------------------------------------------------------


def affinity(root: str | Path = "/") -> frozenset[int]:
    """Numbers of the cores that this process may be scheduled on."""
    status = _read(Path(root) / "proc/self/status")
    found = re.search(r"^Cpus_allowed_list:\s*([\d,-]+)", status or "", re.MULTILINE)
    if not found:
        return frozenset(range(os.cpu_count() or 1))
    cores: set[int] = set()
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def usable_cores(environ: Mapping[str, str], root: str | Path = "/") -> int:
    """How many cores this process may keep busy, at least 1: affinity mask and granted cores."""
    granted = granted_cores(environ, root)
    mask = len(affinity(root))
    return max(1, mask if granted is None else min(mask, granted))


def granted_cores(environ: Mapping[str, str], root: str | Path = "/") -> int | None:
    """Cores that all processes of the job on this node may keep busy together, whatever their masks.

    The smaller of the control groups' CPU quota and the queueing system's allotment; None where
    there is neither.
    """
    bounds = (_cgroup_cores(root), allotted_cores(environ))
    return min((bound for bound in bounds if bound is not None), default=None)


def allotted_cores(environ: Mapping[str, str]) -> int | None:
    """Cores per node that the queueing system allotted to the job; None where it does not say.

    MPI launchers hand the first node's variables to the ranks of all nodes, so where the nodes of a
    job differ this is the largest figure.
    """
    if "SLURM_JOB_ID" in environ:
        per_node = _slurm_counts(environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
        here = _positive(environ.get("SLURM_CPUS_ON_NODE"))
        if here is not None and len(per_node) <= 1:
            return min([here, *per_node])
        return max(per_node, default=None)
    if "PBS_JOBID" in environ:
        # PBS Professional sets NCPUS for the first chunk, Torque PBS_NUM_PPN; the node file has one
        # line for every process that the job's chunks announced.
        counts = [_positive(environ.get("NCPUS")), _positive(environ.get("PBS_NUM_PPN"))]
        known = [count for count in counts if count is not None]
        lines = (_read(Path(environ["PBS_NODEFILE"])) or "").split() if "PBS_NODEFILE" in environ else []
        if known:
            return max(*known, *Counter(lines).values(), 1)
    return None


def allotment(
    masks: Sequence[frozenset[int]], index: int, granted: int | None, memory: int, root: str | Path = "/"
) -> tuple[int, int]:
    """Threads and memory for the runner of one of the ranks that share a node.

    A core counts in equal parts for the ranks whose masks hold it; what is left over from rounding
    goes to the ranks that lost most by it, so that no core stays idle because the ranks do not
    divide the cores.

    Parameters
    ----------
    masks
        Affinity mask of each rank on the node, in the same order on all of them.
    index
        Place of this rank in `masks`.
    granted
        Cores that these ranks may keep busy together, as :func:`granted_cores` gives.
    memory
        Bytes usable on the node, as :func:`usable_memory` gives.

    Returns
    -------
    threads, memory
        At least one thread, and bytes.
    """
    sharers = Counter(core for mask in masks for core in mask)
    total = len(sharers) if granted is None else min(len(sharers), granted)
    shrink = Fraction(total, max(1, len(sharers)))
    shares = [shrink * sum((Fraction(1, sharers[core]) for core in mask), Fraction(0)) for mask in masks]
    threads = [int(share) for share in shares]
    spare = total - sum(threads)
    by_loss = sorted(range(len(masks)), key=lambda rank: (threads[rank] - shares[rank], rank))
    for rank in by_loss[: max(0, spare)]:
        threads[rank] = min(threads[rank] + 1, max(1, len(masks[rank])))
    share = int(memory * MEMORY_SHARE) // len(masks)
    ceiling = _address_space(root)
    return max(1, threads[index]), share if ceiling is None else min(share, ceiling)


# --- memory -----------------------------------------------------------------------------------


def usable_memory(environ: Mapping[str, str], root: str | Path = "/") -> int:
    """Bytes that the processes of this job may still use on this node.

    The smallest of what the kernel calls available, the room left in every control group around
    this process (page cache that the kernel would give back counts as room), and what Slurm
    allotted on a node.
    """
    bounds = list(_cgroup_memory(root))
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _read(Path(root) / "proc/meminfo") or "", re.MULTILINE)
    if found:
        bounds.append(int(found[1]) * 1024)
    # Slurm counts in MiB, and writes 0 for all the memory of the node.
    per_node = _positive(environ.get("SLURM_MEM_PER_NODE"))
    per_cpu = _positive(environ.get("SLURM_MEM_PER_CPU"))
    cpus = allotted_cores(environ)
    if per_node is not None:
        bounds.append(per_node * _MIB)
    elif per_cpu is not None and cpus is not None:
        bounds.append(per_cpu * cpus * _MIB)
    if not bounds:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(0, min(bounds))


def _address_space(root: str | Path) -> int | None:
    """The limit on one process's address space in bytes (``ulimit -v``, which Torque sets)."""
    found = re.search(
        r"^Max address space\s+(\d+)", _read(Path(root) / "proc/self/limits") or "", re.MULTILINE
    )
    return int(found[1]) if found else None


# --- control groups ---------------------------------------------------------------------------


def _cgroup_cores(root: str | Path) -> int | None:
    """Whole cores that the tightest CPU quota grants; None where there is none."""
    grants = []
    for folder in _cgroup_folders(root, "cpu"):
        both = (_read(folder / "cpu.max") or "").split()
        if not both:
            both = [_read(folder / "cpu.cfs_quota_us") or "-1", _read(folder / "cpu.cfs_period_us") or "0"]
        quota, period = (_positive(part) for part in both)
        if quota is not None and period is not None:
            grants.append(max(1, quota // period))
    return min(grants, default=None)


def _cgroup_memory(root: str | Path) -> Iterator[int]:
    """Room left in bytes in each control group that has a limit."""
    for folder in _cgroup_folders(root, "memory"):
        limit = _positive(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes"))
        used = _positive(_read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes"))
        # Version 1 writes the largest number of pages for "no limit".
        if limit is None or limit >= 2**62:
            continue
        stat = _read(folder / "memory.stat") or ""
        # Version 1 counts the groups below only under "total_"; version 2 has only the short name.
        cache = re.search(r"^total_inactive_file (\d+)", stat, re.MULTILINE) or re.search(
            r"^inactive_file (\d+)", stat, re.MULTILINE
        )
        yield limit - (used or 0) + (int(cache[1]) if cache else 0)


def _cgroup_folders(root: str | Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups of this process, from its own one up to what is mounted.

    In a container the group's path may lie outside what is mounted; the mount's top is then the
    only folder to be seen.
    """
    root = Path(root)
    paths: dict[str, str] = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name] = path
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        name = "" if kind[0] == "cgroup2" else controller
        if name not in paths or (name and name not in kind[2].split(",")):
            continue
        top = root / fields[4].lstrip("/")
        inside = os.path.relpath(paths[name], fields[3])
        folder = top if inside.startswith("..") else Path(os.path.normpath(top / inside))
        yield folder
        while folder != top:
            folder = folder.parent
            yield folder


# --- the queueing system ----------------------------------------------------------------------


def job_id(environ: Mapping[str, str]) -> str | None:
    """The job's name in the queueing system, such as ``12345`` or ``12345.server``."""
    return environ.get("SLURM_JOB_ID") or environ.get("PBS_JOBID") or None


def walltime_left(
    environ: Mapping[str, str], root: str | Path = "/", now: float | None = None
) -> float | None:
    """Seconds until the queueing system ends the job; None without a job, or a limit to be found.

    Asks the queueing system where its variables do not say, which may take seconds: once per job.
    """
    now = time.time() if now is None else now
    if "SLURM_JOB_ID" in environ:
        end = _number(environ.get("SLURM_JOB_END_TIME"))
        if end is not None:
            return end - now
        job = environ["SLURM_JOB_ID"]
        return parse_duration(_ask(environ, "squeue", "-h", "-j", job, "-o", "%L") or "")
    if "PBS_JOBID" in environ:
        return _pbs_left(environ, Path(root), now)
    return None


def _pbs_left(environ: Mapping[str, str], root: Path, now: float) -> float | None:
    """Seconds left of a PBS job: its limit less its age, from ``qstat`` or the job's processes."""
    text = _ask(environ, "qstat", "-f", environ["PBS_JOBID"]) or ""
    limit = _field(text, "Resource_List.walltime")
    total = parse_duration(limit) if limit else _number(environ.get("PBS_WALLTIME"))
    if total is None:
        return None
    # The server updates the time used every few minutes only, so it is a lower bound of the age;
    # the job's own shell on this node is another.
    used = _field(text, "resources_used.walltime")
    ages = [parse_duration(used) if used else None, _job_age(environ["PBS_JOBID"], root, now)]
    known = [age for age in ages if age is not None]
    return total - max(known) if known else None


def _job_age(job: str, root: Path, now: float) -> float | None:
    """Seconds since the oldest of this process's ancestors that belong to the job was started."""
    boot = re.search(r"^btime (\d+)", _read(root / "proc/stat") or "", re.MULTILINE)
    if not boot:
        return None
    age = None
    process = "self"
    while True:
        folder = root / "proc" / process
        if f"PBS_JOBID={job}" not in (_read(folder / "environ") or "").split("\0"):
            return age
        # The name in parentheses may hold anything; the fields after it are the parent (2nd after
        # it) and the start in clock ticks since boot (20th).
        fields = (_read(folder / "stat") or "").rpartition(")")[2].split()
        if len(fields) < 20:
            return age
        age = now - int(boot[1]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        process = fields[1]


def _ask(environ: Mapping[str, str], command: str, *arguments: str) -> str | None:
    """Output of a queueing system's command; None if it is not there, fails or does not answer."""
    program = shutil.which(command, path=environ.get("PATH", os.defpath))
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, *arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_QUERY_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def parse_duration(text: str) -> float | None:
    """Seconds of ``[D-]HH:MM:SS``, ``MM:SS``, or a bare number of seconds; None for anything else.

    A job's array elements give one line each; the first counts.
    """
    lines = text.split()
    match = re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", lines[0]) if lines else None
    if not match:
        return None
    seconds = 0
    for part in match[2].split(":"):
        seconds = 60 * seconds + int(part)
    return float(86400 * int(match[1] or 0) + seconds)


# --- reading ----------------------------------------------------------------------------------


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").rstrip("\n")
    except OSError:
        return None


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^\s*{re.escape(name)} = (\S+)", text, re.MULTILINE)
    return found[1] if found else None


def _slurm_counts(text: str) -> list[int]:
    """The different counts of Slurm's ``8(x2),4``."""
    return sorted({int(count) for count in re.findall(r"(\d+)(?:\(x\d+\))?(?:,|$)", text)})


def _positive(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() and int(text) > 0 else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
