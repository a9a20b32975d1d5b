"""The same tasks through qcmb_mpi, mpi4py.futures, multiprocessing, dask.distributed and QCManyBody.

    python benchmarks/peers.py [--seconds 4] [--waters 12,32] [--runs 3]

Two processes compute, with every program; the order of the programs is the order of the lines.

* mpi4py.futures needs three ranks for that, since its rank 0 manages only.
* dask.distributed (pip install distributed) has its scheduler in the program, beside two workers of one
  thread each.
* QCManyBody computes one task at a time, through QCEngine.

For the pools each task is cut and computed by the functions that qcmb_mpi's own runners call, in workers
that have computed one task before; they are given the fragments of each task and give back its energy.
Once every task is handed out on its own, once in chunks of some milliseconds.  They keep no checkpoint,
try nothing again and plan nothing; qcmb_mpi does all of it, and the checkpoint is on.

*seconds* run from the first task to the last answer (QCManyBody: of the call), *efficiency* is the time
in tasks over two cores times those seconds, and *times* how often as long as qcmb_mpi with MPI it takes.
Of several runs the fastest counts.  All have to come to the same energy.  What takes much longer than that
is stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inputs import atoms, waters, write
from peer_tasks import SPIN, Found, job, numbered, planned, prepare, present, several
from speedup import BUSY, environment, mpiexec

HERE = Path(__file__).resolve()
WORKERS = 2
CHUNK = 0.02  # seconds of tasks in one chunk
PATIENCE = 40.0  # seconds that the whole program of a peer may take
SAME = 1e-8  # Eh between two energies that are the same


@dataclass(frozen=True)
class Run:
    """One program's way through all tasks."""

    seconds: float  # from the first task to the last answer
    engine: float  # in the tasks, of all processes together
    energy: float  # Eh
    tasks: int
    whole: float = 0.0  # seconds of the whole program


# -- the programs, each in a process of its own ------------------------------------------------------

Answers = Iterable[tuple[int, Found]]
Mapping = Callable[[Any, Iterable[Any]], Iterable[Any]]


def timed(path: str, chunk: int, ready: Callable[[], None], answers: Callable[..., Answers]) -> Run:
    """Let a pool compute everything; ``answers(items, chunk)`` gives what it finds."""
    import numpy as np

    from qcmb_mpi.expansion.exact import rounded
    from qcmb_mpi.expansion.weights import through
    from qcmb_mpi.outcome import energy_sums

    table, items = planned(path)
    energies = np.full(table.n_tasks, np.nan)
    engine = 0.0
    ready()
    begin = time.monotonic()
    for number, (energy, seconds) in answers(items, chunk):
        energies[number] = energy
        engine += seconds
    elapsed = time.monotonic() - begin
    sums = energy_sums(table, through(table), ~np.isnan(energies), energies)["nocp"]
    return Run(elapsed, engine, float(rounded(sums[max(sums)])[0]), table.n_tasks)


def all_present(mapping: Mapping) -> Callable[[], None]:
    """Waits until all workers of a pool have got ready."""

    def ready() -> None:
        seen: set[int] = set()
        while len(seen) < WORKERS:
            seen.update(mapping(present, range(WORKERS)))

    return ready


def with_pool(path: str, chunk: int) -> Run:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(WORKERS, prepare, (path,)) as pool:

        def answers(items: Any, chunk: int) -> Answers:
            return pool.imap_unordered(numbered, items, chunksize=chunk)

        return timed(path, chunk, all_present(pool.map), answers)


def with_futures(path: str, chunk: int) -> Run | None:
    """On rank 0 of three; the others serve it and return None."""
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(MPI.COMM_WORLD, root=0, initializer=prepare, initargs=(path,)) as executor:
        if executor is None:
            return None

        def answers(items: Any, chunk: int) -> Answers:
            return executor.map(numbered, items, chunksize=chunk, unordered=True)

        return timed(path, chunk, all_present(executor.map), answers)


def with_dask(path: str, chunk: int) -> Run:
    from distributed import Client, LocalCluster, as_completed

    with ExitStack() as stack:
        cluster = LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,  # of workers that are told to end
        )
        client = stack.enter_context(Client(stack.enter_context(cluster)))

        def answers(items: Any, chunk: int) -> Iterator[tuple[int, Found]]:
            chunks = [items[at : at + chunk] for at in range(0, len(items), chunk)]
            futures = client.map(several, chunks, pure=False)
            for batch in as_completed(futures, with_results=True).batches():
                for _, found in batch:
                    yield from found

        return timed(path, chunk, lambda: client.run(prepare, path), answers)


def with_qcmanybody(path: str, chunk: int) -> Run:
    from qcmanybody.v2 import ManyBodyComputer

    spent = as_qcengine_programs()
    model = job(path)[0].model
    begin = time.monotonic()
    result = ManyBodyComputer.from_manybodyinput(model)
    seconds = time.monotonic() - begin
    return Run(seconds, sum(spent), float(result.return_result), int(result.properties.calcinfo_nmbe))


def as_qcengine_programs() -> list[float]:
    """Make the programs of this benchmark known to QCEngine; returns the seconds of their tasks."""
    from typing import ClassVar

    import qcengine
    from spin import Burn

    from qcmb_mpi.engine.base import Answer
    from qcmb_mpi.engine.harness import TbliteHarness
    from qcmb_mpi.engine.record import atomic_result
    from qcmb_mpi.engine.tblite import TbliteEngine

    spent: list[float] = []

    class Tblite(TbliteEngine):
        def compute(self, *arguments: Any, **keywords: Any) -> Answer:
            begin = time.monotonic()
            answer = super().compute(*arguments, **keywords)
            spent.append(time.monotonic() - begin)
            return answer

    class RecordedBurn(Burn):
        def compute(self, level: Any, driver: Any, molecule: Any, *rest: Any, **keywords: Any) -> Answer:
            begin = time.monotonic()
            answer = super().compute(level, driver, molecule, *rest, **keywords)
            spent.append(time.monotonic() - begin)
            natom = {"calcinfo_natom": len(molecule.symbols)}
            record = atomic_result(level, driver, molecule, answer, natom, creator="burn", version="1")
            return Answer(answer.energy, record=record)

    class BurnHarness(TbliteHarness):
        _defaults: ClassVar[dict[str, Any]] = {**TbliteHarness._defaults, "name": "burn"}
        engine = RecordedBurn()

    TbliteHarness.engine = Tblite()
    for harness in (TbliteHarness(), BurnHarness()):
        qcengine.register_program(harness)
    return spent


PEERS: dict[str, Callable[[str, int], Run | None]] = {
    "pool": with_pool,
    "futures": with_futures,
    "dask": with_dask,
    "qcmanybody": with_qcmanybody,
}


def peer(name: str, path: str, chunk: int, output: Path) -> None:
    """The whole of one of these programs."""
    run = PEERS[name](path, chunk)
    if run is not None:
        output.write_text(json.dumps(vars(run)))


# -- running and comparing them ----------------------------------------------------------------------


def ours(path: Path, ranks: int | None) -> Run:
    """qcmb_mpi with so many ranks, or with workers and no MPI."""
    flags = ["--overwrite", "--quiet", "--plugin", SPIN]
    command = [sys.executable, "-m", "qcmb_mpi", "run", str(path), *flags]
    if ranks is None:
        command += ["--parallel", "--n-workers", str(WORKERS)]
    whole = launched(command, ranks)
    result = json.loads(path.with_suffix(".result.json").read_text())
    told = result["provenance"]
    return Run(
        told["farm_seconds"], told["engine_seconds"], result["return_result"], told["tasks_computed"], whole
    )


def theirs(name: str, path: Path, ranks: int | None, chunk: int) -> Run:
    """One of the peers."""
    output = path.with_suffix(f".{name}.json")
    command = [sys.executable, str(HERE), "--peer", name, str(path), str(chunk), str(output)]
    whole = launched(command, ranks, PATIENCE)
    return replace(Run(**json.loads(output.read_text())), whole=whole)


def launched(command: list[str], ranks: int | None, patience: float | None = None) -> float:
    """Run a program to its end, and how many seconds that took; TimeoutExpired if it is too long."""
    if ranks is not None:
        command = [mpiexec() or "mpiexec", "-n", str(ranks), *command]
    begin = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True
    ) as process:
        try:
            code = process.wait(patience)
        finally:
            if process.returncode is None:  # it, and what it has started
                os.killpg(process.pid, signal.SIGTERM)
                time.sleep(1.0)
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        sys.exit(f"{' '.join(command)} ended with exit code {code}")
    return time.monotonic() - begin


def programs(path: Path, chunk: int) -> list[tuple[str, Callable[[], Run]]]:
    """All that can be run here, by name."""
    found: list[tuple[str, Callable[[], Run]]] = []

    def add(text: str, name: str, ranks: int | None, *chunks: int) -> None:
        for size in chunks:
            each = "" if name == "qcmanybody" else f", chunks of {size}" if size > 1 else ", one by one"
            found.append((text + each, lambda size=size: theirs(name, path, ranks, size)))

    sizes = sorted({1, chunk})
    if mpiexec():
        found.append((f"qcmb_mpi, {WORKERS} ranks", lambda: ours(path, WORKERS)))
    found.append((f"qcmb_mpi, {WORKERS} workers, no MPI", lambda: ours(path, None)))
    if mpiexec():
        add(f"mpi4py.futures, {WORKERS + 1} ranks", "futures", WORKERS + 1, *sizes)
    add("multiprocessing.Pool", "pool", None, *sizes)
    if importlib.util.find_spec("distributed"):
        add("dask.distributed", "dask", None, *sizes)
    add("QCManyBody, serial", "qcmanybody", None, 1)
    return found


def compare(title: str, path: Path, chunk: int, runs: int) -> None:
    """Run everything some times and print the table of one input."""
    best: dict[str, Run] = {}
    names = programs(path, chunk)
    late: set[str] = set()
    for _ in range(runs):
        for name, program in names:
            if name in late:
                continue
            try:
                run = program()
            except subprocess.TimeoutExpired:
                late.add(name)
                continue
            best[name] = min(best.get(name, run), run, key=lambda one: one.seconds)
    first = best[names[0][0]]
    print(f"\n{title}, {first.tasks:,} tasks of {1000 * first.engine / first.tasks:.2f} ms")
    print(f"{'':<36} {'seconds':>8} {'times':>6} {'efficiency':>11} {'whole program':>14}")
    for name, _ in names:
        if name not in best:
            print(f"{name:<36} {'':>8} {'':>6} {'':>11} {f'above {PATIENCE:g}':>14}")
            continue
        run = best[name]
        efficiency = run.engine / (WORKERS * run.seconds)
        print(
            f"{name:<36} {run.seconds:>8.2f} {run.seconds / first.seconds:>6.2f} {efficiency:>11.3f} "
            f"{run.whole:>14.2f}",
            flush=True,
        )
        if run.tasks != first.tasks or abs(run.energy - first.energy) > SAME:
            sys.exit(f"{run.tasks} tasks gave {run.energy} Eh instead of {first.energy} Eh")


def order_of(tasks: float) -> int:
    """How many atoms have about so many tasks through 3-body."""
    n = 3
    while (n + 1) * ((n + 1) ** 2 + 5) / 6 < tasks:
        n += 1
    return n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run with tasks that only spin")
    parser.add_argument("--waters", default="12,32", metavar="N,N", help="GFN2 waters at 3-body; 0 for none")
    parser.add_argument("--runs", type=int, default=3, help="of each line; the fastest counts")
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        name, path, chunk, output = options.peer
        peer(name, path, int(chunk), Path(output))
        return
    print(f"{WORKERS} processes that compute on {len(os.sched_getaffinity(0))} cores, best of {options.runs}")
    if os.getloadavg()[0] > BUSY:
        print(f"WARNING: other programs keep {os.getloadavg()[0]:.1f} cores busy; the figures will suffer")
    if not importlib.util.find_spec("distributed"):
        print("without dask.distributed (pip install distributed)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ms in (1.0, 10.0):
            content = atoms(order_of(WORKERS * options.seconds / ms * 1000), 3, ms)
            content["specification"]["specification"]["program"] = "burn"
            chunk = max(1, round(CHUNK / ms * 1000))
            compare(f"{ms:g} ms of processor time", write(folder, f"{ms:g}", content), chunk, options.runs)
        for n in [int(word) for word in options.waters.split(",") if int(word)]:
            path = write(folder, f"waters{n}", waters(n, 3))
            compare(f"{n} waters, GFN2", path, round(CHUNK / 6e-4), options.runs)


if __name__ == "__main__":
    main()
