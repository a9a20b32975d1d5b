"""Planning 400 fragments at 3-body, assembling their 10,667,000 energies, cutting out one task's molecule.

    python benchmarks/expansion.py [--fragments 400] [--max-nbody 3]

Prints seconds beyond imports, resident memory, and how far the assembled number is from exact rational
arithmetic, in units in the last place; beside it what plain floating-point summation gives.  Then what it
takes to cut a trimer out of small and large clusters of waters, alone and with all other waters as ghosts.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from fractions import Fraction

import numpy as np
from inputs import waters

from qcmb_mpi.engine.fragment import Cutter
from qcmb_mpi.expansion.assemble import Assembly
from qcmb_mpi.expansion.exact import rounded
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.expansion.weights import through
from qcmb_mpi.inputs import from_model

CLUSTERS = (10, 100, 400)  # waters
CUTS = 2000


def resident() -> float:
    """Largest resident memory so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rational(values: np.ndarray) -> Fraction:
    """Exact sum by integer arithmetic on mantissas, independently of the package."""
    mantissa, exponent = np.frexp(values)
    total = Fraction(0)
    for power in np.unique(exponent):
        numbers = np.ldexp(mantissa[exponent == power], 53).astype(np.int64)
        high, low = numbers >> 26, numbers & ((1 << 26) - 1)
        whole = (int(high.sum()) << 26) + int(low.sum())
        total += Fraction(whole) * Fraction(2) ** (int(power) - 53)
    return total


def cut_seconds(n: int) -> tuple[float, float]:
    """Median seconds of cutting a trimer out of ``n`` waters, alone and in the basis of them all."""
    cutter = Cutter(from_model(waters(n, 3)).problem.cluster)
    random = np.random.default_rng(1)
    trimers = [np.sort(random.choice(n, 3, replace=False)) for _ in range(CUTS)]
    whole = np.arange(n)
    times: tuple[list[float], list[float]] = ([], [])
    for trimer in trimers:
        for basis, taken in zip((trimer, whole), times, strict=True):
            begin = time.perf_counter()
            cutter.cut(trimer, basis)
            taken.append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fragments", type=int, default=400)
    parser.add_argument("--max-nbody", type=int, default=3)
    options = parser.parse_args()
    orders = tuple(range(1, options.max_nbody + 1))
    expansion = Expansion(options.fragments, ("nocp",), (orders,), return_total_data=True)

    begin = time.perf_counter()
    table = plan(expansion)
    for block in table.blocks:
        block.real()
    weights = through(table)
    print(f"plan {table.n_tasks:,} tasks: {time.perf_counter() - begin:.2f} s, {resident():.0f} MB resident")

    random = np.random.default_rng(1)
    energies = np.concatenate(
        [-76.0 * block.n_real - 0.1 * random.random(block.size) for block in table.blocks]
    )
    begin = time.perf_counter()
    assembly = Assembly(table, weights)
    for block in table.blocks:
        assembly.add(np.arange(block.start, block.start + block.size), energies[block.tasks])
    exact = assembly.exact()["nocp"][options.max_nbody]
    ours = float(rounded(exact)[0])
    print(f"assemble: {time.perf_counter() - begin:.2f} s, {resident():.0f} MB resident")

    terms = weights["nocp"][options.max_nbody]
    truth = sum(int(weight) * rational(energies[table.blocks[b].tasks]) for b, weight in terms.items())
    plain = sum(float(weight) * float(energies[table.blocks[b].tasks].sum()) for b, weight in terms.items())
    ulp = np.spacing(abs(ours))
    print(f"nocp through {options.max_nbody}-body: {ours!r} Eh")
    print(f"error against exact rationals: {float(abs(Fraction(ours) - truth)) / ulp:.3f} ulp", end="")
    print(f" (plain floats: {abs(plain - ours):.1e} Eh off)")
    print(f"equal to the exact number rounded once: {ours == truth.numerator / truth.denominator}")

    for n in CLUSTERS:
        alone, ghosts = (1e6 * seconds for seconds in cut_seconds(n))
        print(f"cut a trimer out of {n} waters: {alone:.1f} µs; in the basis of them all", end="")
        print(f" {ghosts:.1f} µs, {1000 * ghosts / (3 * n):.0f} ns an atom")


if __name__ == "__main__":
    main()
