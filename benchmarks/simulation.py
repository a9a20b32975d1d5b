"""How the schedule does on a machine that is not there: 10,000 virtual ranks and a million tasks.

    python benchmarks/simulation.py [--ranks 10000] [--tasks 1000000] [--seed 1]

The schedule is the real one (qcmb_mpi/farm/schedule.py), ranks, clock and faults are virtual.  Tasks are
expected to take 1 to 100 s, and take 20 % more or less than that (standard deviation).

*until the tail*: fraction of the ranks' time spent computing until nothing waits any more; *whole*: until
the end.  *again*: fraction of that computing whose answers were not kept.  *µs* is what the schedule
takes for one event, in processor time of this machine, and *master* the fraction of one core that makes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.farm.cost import CostModel
from qcmb_mpi.farm.events import Command, Event
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.farm.simulate import Faults, Simulation

SILENCE = 120.0  # s that are borne, four heartbeats: as a job has it
BLOCKS = 3  # of alike tasks, as monomers, dimers and trimers are
SCATTER = 0.2
PER_NODE = 64  # ranks
FAULTS = Faults(
    crash=1e-3,
    convergence=5e-3,
    memory=1e-3,
    hang=5e-4,
    lost=5e-5,
    untold=0.5,
    slow=0.01,
    silent=1e-5,
    cut=1e-5,
    late=1e-3,
    again=1e-4,
)


class Timed(Schedule):
    """The schedule, with the processor time that it takes."""

    seconds = 0.0

    def handle(self, event: Event, now: float) -> list[Command]:
        begin = time.process_time()
        commands = super().handle(event, now)
        self.seconds += time.process_time() - begin
        return commands


class Tail:
    """Notes how busy the ranks were when nothing waited any more for the first time."""

    busy: float | None = None

    def __call__(self, simulation: Simulation, event: Event, commands: Sequence[Command]) -> None:
        if self.busy is None and not simulation.schedule.n_waiting:
            self.busy = simulation.busy / simulation.available


def simulate(ranks: int, tasks: int, seed: int, faults: Faults) -> dict[str, float]:
    random = np.random.default_rng(seed)
    expected = np.sort(random.uniform(1.0, 100.0, tasks))
    seconds: NDArray[np.float64] = expected * np.exp(SCATTER * random.standard_normal(tasks))
    starts = np.linspace(0, tasks, BLOCKS, endpoint=False).astype(np.int64)
    policy = Policy(silence=SILENCE, seats=ranks)
    nodes = {rank: rank // PER_NODE for rank in range(ranks)}
    model = CostModel(expected.astype(np.float32), starts)
    schedule = Timed(model, np.zeros(tasks, dtype=bool), policy, nodes)
    tail = Tail()
    simulation = Simulation(schedule, ranks, seconds, faults=faults, seed=seed, report=0.2, watch=tail)
    begin = time.monotonic()
    simulation.run()
    wall = time.monotonic() - begin
    return {
        "until_tail": tail.busy or 0.0,
        "whole": simulation.busy / simulation.available,
        "again": max(0.0, 1.0 - simulation.useful / simulation.busy),
        "failed": schedule.n_failed,
        "events": simulation.events,
        "event": schedule.seconds / simulation.events,
        "master": schedule.seconds / simulation.now,
        "virtual": simulation.now,
        "wall": wall,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.ranks:,} ranks, {options.tasks:,} tasks of 1 to 100 s, seed {options.seed}")
    print(
        f"{'faults':>6} {'until the tail':>15} {'whole':>8} {'again':>8} {'failed':>7} {'events':>10} "
        f"{'µs':>6} {'master':>7} {'virtual s':>10} {'wall s':>7}"
    )
    for name, faults in (("none", Faults()), ("some", FAULTS)):
        row = simulate(options.ranks, options.tasks, options.seed, faults)
        print(
            f"{name:>6} {row['until_tail']:>15.4f} {row['whole']:>8.4f} {row['again']:>8.4f} "
            f"{row['failed']:>7.0f} {row['events']:>10,} {1e6 * row['event']:>6.0f} {row['master']:>7.4f} "
            f"{row['virtual']:>10,.0f} {row['wall']:>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
