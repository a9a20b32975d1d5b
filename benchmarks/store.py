"""What a checkpoint costs that holds everything: a million energies, and the gradients of 64 waters.

    python benchmarks/store.py [--energies 182] [--gradients 64] [--max-nbody 3]

The checkpoints are made up by the store's own writer; nothing is computed.  Then a fresh process goes
through what a job does that finds all its tasks done: up to *known* it has read the input, planned,
opened the checkpoint and found every task in it; up to *assembled* the sums are there; up to *result*
QCManyBody's result.  *whole program* is ``python -m qcmb_mpi run`` on the same checkpoint, with the start
of its runners and the result file.  Seconds count from the start of each, imports included; memory is the
largest that the process was up to there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inputs import waters, write

BATCH = 8192  # answers that are added at once
MEMORY = 1024**2  # bytes in a MB


def opened(path: Path, overwrite: bool = False) -> Any:
    """The input, its plan and its archive on the checkpoint beside it, as a job opens them."""
    from qcmb_mpi.archiving import open_archive
    from qcmb_mpi.config import ExecutorConfig
    from qcmb_mpi.engine.registry import get_engine
    from qcmb_mpi.expansion.plan import plan
    from qcmb_mpi.farm.runner import Description
    from qcmb_mpi.inputs import load

    loaded = load(path)
    table = plan(loaded.problem.expansion)
    program = loaded.problem.levels[0].program
    description = Description(versions=((program, get_engine(program).version()),))
    checkpoint = path.with_suffix(".checkpoint.h5")
    archive = open_archive(loaded, table, checkpoint, overwrite, ExecutorConfig(), description, threads=1)
    return loaded.problem, table, archive


def fill(path: Path) -> None:
    """Write a checkpoint in which every task of an input has an answer, in the order of no plan."""
    import numpy as np

    from qcmb_mpi.store.archive import Results

    problem, table, archive = opened(path, overwrite=True)
    random = np.random.default_rng(1)
    order = random.permutation(table.n_tasks)
    size = 3 * problem.cluster.n_atoms // problem.cluster.n_fragments if problem.driver == "gradient" else 0
    with archive as answers:
        for begin in range(0, len(order), BATCH):
            tasks = order[begin : begin + BATCH]
            n = len(tasks)
            fragments = np.zeros(n, dtype=np.int64)
            for block, positions in table.split(tasks):
                fragments[positions] = block.n_real
            results = Results(
                tasks=tasks,
                energies=-5.0 * fragments - 0.01 * random.random(n),
                walls=np.full(n, 1e-3),
                cpus=np.full(n, 1e-3),
                finished=np.full(n, time.time()),
                attempts=np.zeros(n, dtype=np.int64),
                gradient_lengths=size * fragments,
                hessian_lengths=np.zeros(n, dtype=np.int64),
                floats=0.01 * random.standard_normal(int(size * fragments.sum())),
                notes=(),
                records=(),
            )
            answers.append(results, seat=0, host="somewhere")
            answers.store.save()


def restart(path: Path) -> None:
    """Go through what a job does whose tasks are all done, and tell what it took."""
    begin = time.perf_counter()
    from qcmb_mpi import outcome

    problem, table, archive = opened(path)
    with archive as answers:
        known = answers.load()
        stages = [("known", time.perf_counter() - begin, resident(os.getpid()))]
        sums = outcome.assemble(problem, table, answers)
        stages.append(("assembled", time.perf_counter() - begin, resident(os.getpid())))
        outcome.result(problem, table, answers, sums, {})
        stages.append(("result", time.perf_counter() - begin, resident(os.getpid())))
    if known < table.n_tasks:
        sys.exit(f"{known} of {table.n_tasks} tasks found")
    for name, seconds, memory in stages:
        print(f"  {name:<14} {seconds:>7.2f} s {memory:>7.0f} MB")


def resident(process: int) -> float:
    """Largest resident memory of a process so far [MB]; what it was forked from does not count."""
    with open(f"/proc/{process}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmHWM"].split()[0]) * 1024 / MEMORY


def program(path: Path) -> None:
    """The whole program on a checkpoint that holds everything."""
    result = path.with_suffix(".result.json")
    begin = time.perf_counter()
    command = [sys.executable, "-m", "qcmb_mpi", "run", str(path), "--quiet", "-o", str(result)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f"{' '.join(command)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    print(f"  {'whole program':<14} {seconds:>7.2f} s {usage.ru_maxrss * 1024 / MEMORY:>7.0f} MB", end="")
    print(f", result file {result.stat().st_size / MEMORY:.1f} MB")


def measure(folder: Path, name: str, content: dict[str, Any]) -> None:
    path = write(folder, name, content)
    begin = time.perf_counter()
    itself(fill, path)
    seconds = time.perf_counter() - begin
    size = path.with_suffix(".checkpoint.h5").stat().st_size / MEMORY
    print(f"{name}: checkpoint of {size:.0f} MB, written in {seconds:.1f} s", flush=True)
    itself(restart, path)
    program(path)


def itself(part: Any, path: Path) -> None:
    """Run a function of this file in a process of its own."""
    subprocess.run([sys.executable, __file__, "--part", part.__name__, str(path)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--energies", type=int, default=182, metavar="N", help="waters; 0 for none")
    parser.add_argument("--gradients", type=int, default=64, metavar="N", help="waters; 0 for none")
    parser.add_argument("--max-nbody", type=int, default=3)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "INPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        {"fill": fill, "restart": restart}[options.part[0]](Path(options.part[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for driver, n in (("energy", options.energies), ("gradient", options.gradients)):
            if n:
                content = waters(n, options.max_nbody)
                content["specification"]["driver"] = driver
                content["specification"]["specification"]["driver"] = driver
                measure(Path(folder), f"{driver} of {n} waters at {options.max_nbody}-body", content)


if __name__ == "__main__":
    main()
