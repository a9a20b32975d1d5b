"""How much of the cores' time the engine gets: two MPI ranks on two cores, checkpoint on.

    python benchmarks/efficiency.py [--ranks 2] [--seconds 15] [--waters 32]

Efficiency is the engine's seconds over ranks times the seconds of the run, once from the first task to
the last answer and once for the whole program with its start, planning and result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inputs import atoms, waters, write

HERE = Path(__file__).resolve().parent
#: milliseconds per task: body order and number of atoms that make a run of some 15 s on two cores
SIZES = {1.0: (3, 55), 10.0: (3, 26), 100.0: (2, 24)}


def measure(path: Path, ranks: int, *flags: str) -> dict[str, float]:
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [str(mpiexec) if mpiexec.exists() else "mpiexec", "-n", str(ranks), sys.executable]
    command += ["-m", "qcmb_mpi", "run", str(path), "--overwrite", "--quiet", *flags]
    begin = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    whole = time.monotonic() - begin
    run = json.loads(path.with_suffix(".result.json").read_text())["provenance"]
    total = ranks * run["farm_seconds"]
    return {
        "tasks": run["tasks_computed"],
        "efficiency": run["engine_seconds"] / total,
        "master": run["master_seconds"] / total,
        "whole": run["engine_seconds"] / (ranks * whole),
        "seconds": whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--waters", type=int, default=32, help="GFN2 waters at 3-body; 0 for none")
    options = parser.parse_args()
    print(f"{options.ranks} ranks on {len(os.sched_getaffinity(0))} cores")
    print(f"{'task':>20} {'tasks':>8} {'efficiency':>11} {'master':>8} {'whole program':>14} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (f"spin {ms:g} ms", write(Path(folder), f"spin{ms:g}", atoms(n, order, ms)))
            for ms, (order, n) in SIZES.items()
        ]
        if options.waters:
            name = f"{options.waters} waters GFN2"
            jobs.append((name, write(Path(folder), "waters", waters(options.waters, 3))))
        for name, path in jobs:
            row = measure(path, options.ranks, "--plugin", str(HERE / "spin.py"))
            print(
                f"{name:>20} {row['tasks']:>8,} {row['efficiency']:>11.4f} {row['master']:>8.4f} "
                f"{row['whole']:>14.4f} {row['seconds']:>8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
