"""How much faster a job gets with more workers: the table of the parallel-execution guide, measured.

    python benchmarks/speedup.py INPUT [--workers 1,2,4] [--runs 1] [--no-mpi]

Computes INPUT one task at a time, then with so many workers, without MPI and with it, each time from
nothing and on one thread a task.  Speed-up is against the first line.  Once for the whole program as its
user waits for it, with start, planning and result; and once from the first task to the last answer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from qcmb_mpi.errors import QcmbError
from qcmb_mpi.inputs import load

#: What the guide lets its readers expect, of any number of workers above one.
GUIDE = "60-80 %"
BUSY = 0.5  # load from other programs, in cores, that is worth a warning


@dataclass(frozen=True)
class Run:
    """Seconds of one run: of the whole program, and while tasks were computed."""

    whole: float
    farm: float
    tasks: int


def run(source: Path, flags: list[str], ranks: int | None) -> Run:
    """Compute an input from nothing, in a folder that goes afterwards."""
    command = [sys.executable, "-m", "qcmb_mpi", "run", str(source), "--quiet", *flags]
    if ranks is not None:
        command = [mpiexec() or "mpiexec", "-n", str(ranks), *command]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = folder / "result.json"
        command += ["--output", str(result), "--checkpoint", str(folder / "checkpoint.h5")]
        if load(source).execution.get("cache_dir") or os.environ.get("QCMB_MPI_CACHE_DIR"):
            command += ["--cache-dir", str(folder / "cache")]
        begin = time.monotonic()
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), check=False
        )
        whole = time.monotonic() - begin
        if done.returncode:
            sys.exit(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{done.stderr.strip()}")
        told = json.loads(result.read_text())["provenance"]
    return Run(whole, told["farm_seconds"], told["tasks_computed"])


def environment() -> dict[str, str]:
    """One thread a task; more ranks than cores are allowed with Open MPI, too."""
    more = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    return {**os.environ, "OMP_NUM_THREADS": "1", "QCMB_MPI_THREADS_PER_WORKER": "1", **more}


def mpiexec() -> str | None:
    """The launcher beside this python, else on the PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def fastest(runs: int, source: Path, flags: list[str], ranks: int | None = None) -> Run:
    """The best of some runs: what other programs do can only make it slower."""
    return min((run(source, flags, ranks) for _ in range(runs)), key=lambda one: one.whole)


def line(strategy: str, workers: int, one: Run, base: Run) -> str:
    whole, farm = base.whole / one.whole, base.farm / max(one.farm, 1e-3)
    return (
        f"{strategy:<16} {workers:>7} {one.whole:>9.1f} {whole:>8.2f}x {whole / workers:>10.0%} "
        f"{one.farm:>10.1f} {farm:>8.2f}x {farm / workers:>10.0%} {GUIDE if workers > 1 else '':>9}"
    )


def counts(text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of workers such as 1,2,4, not {text!r}")
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", metavar="INPUT", type=Path)
    parser.add_argument("--workers", type=counts, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--runs", type=int, default=1, help="of each line; the fastest counts")
    parser.add_argument("--no-mpi", action="store_true")
    options = parser.parse_args()
    try:
        load(options.input)
    except QcmbError as error:
        sys.exit(str(error))
    cores = len(os.sched_getaffinity(0))
    load_before = os.getloadavg()[0]
    print(f"{options.input.name} on {cores} core{'s' if cores > 1 else ''}, one thread a task")
    if load_before > BUSY:
        print(f"WARNING: other programs keep {load_before:.1f} cores busy; the figures will suffer")
    if options.workers[-1] > cores:
        print(f"WARNING: more workers than the {cores} cores gain nothing; they share them")
    with_mpi = not options.no_mpi and mpiexec() is not None
    if not with_mpi and not options.no_mpi:
        print("WARNING: there is no mpiexec; without MPI only (pip install 'qcmb-mpi[mpich]')")
    base = fastest(options.runs, options.input, ["--no-parallel"])
    print(f"{'':<16} {'':>7} {'-- whole program --':^30} {'-- while computing --':^30}")
    print(
        f"{'strategy':<16} {'workers':>7} {'seconds':>9} {'speed-up':>9} {'efficiency':>10} "
        f"{'seconds':>10} {'speed-up':>9} {'efficiency':>10} {'guide':>9}"
    )
    print(line("sequential", 1, base, base), flush=True)
    for workers in options.workers:
        one = fastest(options.runs, options.input, ["--parallel", "--n-workers", str(workers)])
        print(line("multiprocessing", workers, one, base), flush=True)
    for workers in options.workers if with_mpi else []:
        one = fastest(options.runs, options.input, [], workers)
        print(line("MPI", workers, one, base), flush=True)
    print(f"{base.tasks:,} tasks, mean {base.farm / base.tasks * 1000:.3g} ms one at a time")


if __name__ == "__main__":
    main()
