"""Cores, memory and time, measured in made-up /proc and /sys trees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from qcmb_mpi.farm.resources import (
    affinity,
    allotment,
    allotted_cores,
    granted_cores,
    job_id,
    parse_duration,
    usable_cores,
    usable_memory,
    walltime_left,
)

GIB = 1024**3
V1 = """\
30 25 0:25 / /sys/fs/cgroup ro - tmpfs tmpfs rw
31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
"""
V2 = "31 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"


def tree(root: Path, files: Mapping[str, object]) -> Path:
    """A machine with eight cores and 32 GiB, and `files` on top of that."""
    defaults = {
        "proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-7\nMems_allowed_list:\t0\n",
        "proc/meminfo": f"MemTotal: 99999999 kB\nMemAvailable: {32 * GIB // 1024} kB\n",
        "proc/self/limits": "Max address space         unlimited            unlimited            bytes\n",
    }
    for name, text in {**defaults, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def program(folder: Path, name: str, text: str) -> Mapping[str, str]:
    """An environment in which `name` is a shell script."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


# --- cores ------------------------------------------------------------------------------------


def test_this_machine() -> None:
    assert affinity() == os.sched_getaffinity(0)
    assert 1 <= usable_cores({}) <= len(os.sched_getaffinity(0))
    assert 0 < usable_memory({}) < 2**60


@pytest.mark.parametrize(
    ("text", "cores"),
    [("0-3", {0, 1, 2, 3}), ("5", {5}), ("0-1,8,10-11", {0, 1, 8, 10, 11})],
)
def test_affinity(tmp_path: Path, text: str, cores: set[int]) -> None:
    tree(tmp_path, {"proc/self/status": f"Cpus_allowed:\tff\nCpus_allowed_list:\t{text}\n"})
    assert affinity(tmp_path) == cores
    assert usable_cores({}, tmp_path) == len(cores)


def test_no_proc_at_all(tmp_path: Path) -> None:
    assert usable_cores({}, tmp_path) == os.cpu_count()
    assert usable_memory({}, tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8)]
)
def test_quota_v2(tmp_path: Path, quota: str, cores: int) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "proc/self/mountinfo": V2,
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/cpu.max": quota + "\n",
        },
    )
    assert usable_cores({}, tmp_path) == cores


def test_quota_v1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/cpu,cpuacct/job"
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/job\n",
            "proc/self/mountinfo": V1,
            f"{folder}/cpu.cfs_quota_us": "200000\n",
            f"{folder}/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert usable_cores({}, tmp_path) == 2


def test_container_sees_only_the_top(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/abc\n",
            "proc/self/mountinfo": V2.replace(" / ", " /docker/abc ", 1),
            "sys/fs/cgroup/cpu.max": "200000 100000\n",
        },
    )
    assert usable_cores({}, tmp_path) == 2


def test_group_outside_what_is_mounted(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/somewhere/else\n",
            "proc/self/mountinfo": V2.replace(" / ", " /docker/abc ", 1),
            "sys/fs/cgroup/cpu.max": "300000 100000\n",
        },
    )
    assert usable_cores({}, tmp_path) == 3


@pytest.mark.parametrize(
    ("environ", "cores"),
    [
        ({}, None),
        ({"SLURM_CPUS_ON_NODE": "4"}, None),
        ({"SLURM_JOB_ID": "1"}, None),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "2", "SLURM_JOB_CPUS_PER_NODE": "4(x2)"}, 2),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "2", "SLURM_JOB_CPUS_PER_NODE": "2,6(x3)"}, 6),
        ({"PBS_JOBID": "1", "NCPUS": "4"}, 4),
        ({"PBS_JOBID": "1", "PBS_NUM_PPN": "6"}, 6),
        ({"PBS_JOBID": "1"}, None),
    ],
)
def test_allotted(tmp_path: Path, environ: dict[str, str], cores: int | None) -> None:
    assert allotted_cores(environ) == cores
    assert granted_cores(environ, tree(tmp_path, {})) == cores
    assert usable_cores(environ, tmp_path) == min(8, cores or 8)


def test_pbs_node_file(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn1\nn1\nn2\n")
    environ = {"PBS_JOBID": "1", "NCPUS": "1", "PBS_NODEFILE": str(tmp_path / "nodes")}
    assert allotted_cores(environ) == 3


# --- memory -----------------------------------------------------------------------------------


def test_memory_available(tmp_path: Path) -> None:
    assert usable_memory({}, tree(tmp_path, {})) == 32 * GIB


def test_memory_v2_counts_cache_as_room(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/job"
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job\n",
            "proc/self/mountinfo": V2,
            f"{folder}/memory.max": 8 * GIB,
            f"{folder}/memory.current": 3 * GIB,
            f"{folder}/memory.stat": f"anon 1\ninactive_file {2 * GIB}\nactive_file 5\n",
        },
    )
    assert usable_memory({}, tmp_path) == 7 * GIB


def test_memory_v1(tmp_path: Path) -> None:
    top = "sys/fs/cgroup/memory"
    tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/slurm/job_1\n",
            "proc/self/mountinfo": V1,
            f"{top}/memory.limit_in_bytes": 9223372036854771712,
            f"{top}/slurm/job_1/memory.limit_in_bytes": 4 * GIB,
            f"{top}/slurm/job_1/memory.usage_in_bytes": 2 * GIB,
            f"{top}/slurm/job_1/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
        },
    )
    assert usable_memory({}, tmp_path) == 3 * GIB


@pytest.mark.parametrize(
    ("environ", "gib"),
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4),
        ({"SLURM_MEM_PER_NODE": "0"}, 32),
        ({"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "4"}, 8),
        ({"SLURM_MEM_PER_CPU": "2048"}, 32),
    ],
)
def test_memory_slurm(tmp_path: Path, environ: dict[str, str], gib: int) -> None:
    assert usable_memory({"SLURM_JOB_ID": "1", **environ}, tree(tmp_path, {})) == gib * GIB


# --- ranks of one node ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("masks", "granted", "threads"),
    [
        ([range(8)], None, [8]),
        ([range(8)] * 2, None, [4, 4]),
        ([range(8)] * 3, None, [3, 3, 2]),
        ([range(8)] * 2, 5, [3, 2]),
        ([range(2)] * 3, None, [1, 1, 1]),
        ([[0], [1]], None, [1, 1]),
        ([[0], [0]], None, [1, 1]),
        ([range(4), range(4, 8)], None, [4, 4]),
        ([range(4), range(4), range(4, 8)], None, [2, 2, 4]),
        ([range(8), [0]], None, [8, 1]),
        ([[0], range(64)], 4, [1, 4]),
    ],
)
def test_threads(tmp_path: Path, masks: list[range], granted: int | None, threads: list[int]) -> None:
    root = tree(tmp_path, {})
    sets = [frozenset(mask) for mask in masks]
    given = [allotment(sets, index, granted, GIB, root)[0] for index in range(len(sets))]
    assert given == threads


def test_memory_is_shared_and_bounded(tmp_path: Path) -> None:
    masks = [frozenset(range(4))] * 4
    assert allotment(masks, 0, None, 1000, tree(tmp_path, {}))[1] == 225
    tree(tmp_path, {"proc/self/limits": "Max address space         100      unlimited   bytes\n"})
    assert allotment(masks, 0, None, 1000, tmp_path)[1] == 100


# --- time -------------------------------------------------------------------------------------


def test_job_id() -> None:
    assert job_id({}) is None
    assert job_id({"SLURM_JOB_ID": "12"}) == "12"
    assert job_id({"PBS_JOBID": "12.server"}) == "12.server"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04", 93784),
        ("02:03:04", 7384),
        ("03:04\n", 184),
        ("90", 90),
        ("05:00\n06:00\n", 300),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("", None),
        ("-5", None),
    ],
)
def test_parse_duration(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_walltime_without_a_job() -> None:
    assert walltime_left({}) is None
    assert walltime_left({"SLURM_JOB_END_TIME": "100"}, now=0.0) is None


def test_walltime_slurm_variable() -> None:
    assert walltime_left({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "1100"}, now=1000.0) == 100.0


@pytest.mark.parametrize(
    ("script", "seconds"),
    [
        ('[ "$*" = "-h -j 7 -o %L" ] && echo 1:30:00', 5400),
        ("echo UNLIMITED", None),
        ("echo slurm_load_jobs error >&2; exit 1", None),
    ],
)
def test_walltime_squeue(tmp_path: Path, script: str, seconds: float | None) -> None:
    environ = {"SLURM_JOB_ID": "7", **program(tmp_path, "squeue", script)}
    assert walltime_left(environ) == seconds


def test_walltime_without_squeue() -> None:
    assert walltime_left({"SLURM_JOB_ID": "7", "PATH": "/nonexistent"}) is None


QSTAT = """cat <<END
Job Id: 7.server
    Job_Name = qcmb_mpi
    resources_used.walltime = 00:10:00
    Resource_List.walltime = 01:00:00
END"""


def test_walltime_pbs_server(tmp_path: Path) -> None:
    environ = {"PBS_JOBID": "7.server", **program(tmp_path, "qstat", QSTAT)}
    assert walltime_left(environ, tree(tmp_path / "root", {})) == 3000.0


def test_walltime_pbs_by_the_age_of_the_job_shell(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")

    def stat(parent: int, start: int) -> str:
        return f"1 (a (b) c) S {parent} " + "0 " * 17 + f"{start * ticks} 0 0\n"

    tree(
        tmp_path,
        {
            "proc/stat": "cpu 1 2\nbtime 1000\n",
            "proc/self/stat": stat(20, 500),
            "proc/self/environ": "A=1\0PBS_JOBID=7\0",
            "proc/20/stat": stat(10, 300),
            "proc/20/environ": "PBS_JOBID=7\0",
            "proc/10/stat": stat(1, 100),
            "proc/10/environ": "A=1\0",
        },
    )
    environ = {"PBS_JOBID": "7", "PBS_WALLTIME": "3600", "PATH": "/nonexistent"}
    assert walltime_left(environ, tmp_path, now=2000.0) == 3600.0 - 700.0


def test_walltime_pbs_unknown(tmp_path: Path) -> None:
    root = tree(tmp_path, {})
    assert walltime_left({"PBS_JOBID": "7", "PATH": "/nonexistent"}, root) is None
    assert walltime_left({"PBS_JOBID": "7", "PBS_WALLTIME": "9", "PATH": "/nonexistent"}, root) is None
