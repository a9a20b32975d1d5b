"""What a job will cost: the place where plan, probes and prediction are joined.

Prints nothing.
"""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.equipment import open_bench
from qcmb_mpi.errors import InputError
from qcmb_mpi.expansion.plan import Expansion, plan
from qcmb_mpi.farm.kinds import Kinds, Sorts, count_kinds, draw, representatives, sort_fragments
from qcmb_mpi.farm.prediction import Model, bill, wall
from qcmb_mpi.farm.probe import Members, Probed, probe
from qcmb_mpi.farm.resources import usable_cores
from qcmb_mpi.farm.runner import Description
from qcmb_mpi.inputs import Loaded
from qcmb_mpi.inputs.screening import screened
from qcmb_mpi.problem import Problem
from qcmb_mpi.report.forecast import BlockCost, Forecast, Screening, Treatment
from qcmb_mpi.starting import Start
from qcmb_mpi.store.layout import expected_bytes

__all__ = ["PROBE_SECONDS", "forecast"]

PROBE_SECONDS = 60.0
RANKS = (16, 64, 256, 1024)
CUTOFFS = (4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0)  # angstrom
SEED = 1  # the same tasks are drawn every time


def _worth_telling(n_tasks: int) -> tuple[int, ...]:
    """Numbers of ranks: this machine's cores, and those of a few nodes as far as there are tasks for them."""
    return tuple(sorted({usable_cores(os.environ), *(n for n in RANKS if n <= n_tasks)}))


def forecast(
    begin: Start, loaded: Loaded, config: ExecutorConfig, ranks: Sequence[int] | None, limit: float
) -> Forecast:
    """Compute some tasks of each kind on this machine and say what the whole will cost.

    Parameters
    ----------
    ranks
        Numbers of ranks to predict the time on; None chooses some.
    limit
        Seconds of probing.

    Raises
    ------
    InputError
        The input is wrong, or not even one task could be computed in time.
    """
    problem = loaded.problem
    description, resources = open_bench(begin, loaded, config)
    offsets, multiplicities = problem.cluster.offsets, problem.cluster.multiplicities
    sorts = sort_fragments(description.sizes, offsets, multiplicities)
    table = plan(problem.expansion)
    refused = _no_ghosts(problem, description)
    variants = _variants(problem.expansion, ghosts=not refused)
    union = plan(_union(problem.expansion, variants))
    kinds = count_kinds(union, sorts)
    mine = [kind for kind in range(len(kinds)) if kinds.block(kind) in table.index]
    others = sorted(set(range(len(kinds))) - set(mine))
    random = np.random.default_rng(SEED)

    def some(kind: int, n: int) -> Sequence[Members]:
        return draw(kinds, kind, n, union, sorts, random)

    order = [*representatives(kinds, mine), *representatives(kinds, others)]
    probed = probe(begin.crew, kinds, order, some, limit, config.timeout_per_task or np.inf)
    failures = _failures(problem, probed)
    if not probed.measured:
        why = failures[0] if failures else "give it more time"
        raise InputError(
            f"not even one task was finished in {probed.seconds:.0f} s; {why}", "--probe-seconds"
        )
    model = Model(list(probed.points.values()))
    own = kinds.only(mine)
    return Forecast(
        host=socket.gethostname(),
        threads=resources.threads,
        seconds=probed.seconds,
        limit=limit,
        waited=probed.waited,
        n_measured=sum(not point.at_least for kind, point in probed.points.items() if kind in set(mine)),
        n_kinds=len(representatives(kinds, mine)),
        blocks=_blocks(problem, own, model),
        bill=bill(own, model),
        walls=tuple(wall(own, model, n, probed.warm_up) for n in ranks or _worth_telling(own.n_tasks)),
        task_memory=probed.peak,
        rank_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        checkpoint=_checkpoint(loaded, kinds, mine, probed),
        treatments=_treatments(problem, variants, sorts, model, refused),
        screenings=_screenings(problem, sorts, model),
        failures=failures,
    )


def _no_ghosts(problem: Problem, description: Description) -> str:
    """Why nothing with ghost atoms can be computed; empty if it can."""
    if any(treatment != "nocp" for treatment in problem.expansion.treatments):
        return ""  # or the input would have been refused
    words = {False: "does not honour ghost atoms", None: "may not honour ghost atoms: nobody knows"}
    for level, honoured in zip(problem.levels, description.ghosts, strict=True):
        if not honoured:
            return f"program {level.program!r} {words[honoured]}"
    return ""


def _variants(expansion: Expansion, *, ghosts: bool) -> dict[str, Expansion]:
    """The same expansion with each of the BSSE treatments alone."""
    if expansion.max_nbody < 2:
        return {}
    names = ["nocp"]
    if ghosts:
        names += ["cp"] if expansion.supersystem_ie_only else ["cp", "vmfc"]
    return {name: replace(expansion, treatments=(name,)) for name in names}


def _union(expansion: Expansion, variants: Mapping[str, Expansion]) -> Expansion:
    return replace(expansion, treatments=tuple({*expansion.treatments, *variants}))


def _blocks(problem: Problem, own: Kinds, model: Model) -> tuple[BlockCost, ...]:
    each, measured = model.seconds(own)
    total = own.count * each
    return tuple(
        BlockCost(
            level=problem.levels[level].name,
            n_real=n_real,
            n_basis=n_basis,
            n_tasks=int(own.count[members].sum()),
            seconds=float(total[members].sum()),
            longest=float(each[members].max()),
            measured=bool(measured[members].all()),
        )
        for (level, n_real, n_basis), members in own.blocks().items()
    )


def _treatments(
    problem: Problem, variants: Mapping[str, Expansion], sorts: Sorts, model: Model, refused: str
) -> tuple[Treatment, ...]:
    mine = set(plan(problem.expansion).index)
    found = []
    for name, variant in variants.items():
        table = plan(variant)
        cost = bill(count_kinds(table, sorts), model)
        found.append(Treatment(name, cost, name in problem.expansion.treatments and set(table.index) == mine))
    if found and refused:
        found += [Treatment(name, None, False, refused) for name in ("cp", "vmfc")]
    return tuple(found)


def _screenings(problem: Problem, sorts: Sorts, model: Model) -> tuple[Screening, ...]:
    """What is left within a few distances; empty if nothing is left out anywhere."""
    whole, cluster = replace(problem.expansion, families=None), problem.cluster
    if whole.supersystem_ie_only or whole.max_nbody < 2:
        return ()

    def of(name: str, cutoff: float | None, expansion: Expansion) -> Screening:
        return Screening(name, cutoff, bill(count_kinds(plan(expansion), sorts), model))

    found = []
    for cutoff in CUTOFFS:
        kept = screened(whole, cluster, {"distance": {"2": cutoff}})
        if kept.families is None:
            break
        found.append(of(f"within {cutoff:g} angstrom", cutoff, kept))
    if problem.expansion.families is not None:
        found.append(of("this input", None, problem.expansion))
    return (of("none", None, whole), *found) if found else ()


def _checkpoint(loaded: Loaded, kinds: Kinds, mine: Sequence[int], probed: Probed) -> int:
    """Bytes of the checkpoint."""
    problem = loaded.problem
    power = {"energy": 0, "gradient": 1, "hessian": 2}[problem.driver]
    own = kinds.only(mine)
    floats = own.count @ _scaled(kinds, own, probed.floats, power)
    records = own.count @ _scaled(kinds, own, probed.records, 1)
    n_records = own.n_tasks if problem.keep_records else 0
    return expected_bytes(own.n_tasks, int(floats), n_records, int(records), len(loaded.normalised))


def _scaled(kinds: Kinds, own: Kinds, known: Mapping[int, float], power: int) -> NDArray[np.float64]:
    """What is known of some kinds, for others by the power of their atoms."""
    atoms = kinds.atoms[list(known)]
    nearest = np.abs(own.atoms[:, None] - atoms).argmin(axis=1)
    values = np.array(list(known.values()), dtype=np.float64)[nearest]
    return np.asarray(values * (own.atoms / atoms[nearest]) ** power)


def _failures(problem: Problem, probed: Probed) -> tuple[str, ...]:
    """What went wrong, a line each."""
    lines = []
    for failure in probed.failures:
        real, basis = ([int(i) + 1 for i in members] for members in failure.members)
        label = json.dumps([problem.levels[failure.level].name, real, basis])
        first = failure.message.partition("\n")[0]
        lines.append(f"{label}: {failure.why.name.lower()}: {first}")
    return tuple(lines)
