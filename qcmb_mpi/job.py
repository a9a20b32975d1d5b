"""One run from input to outcome: the place where inputs, expansion, farm and store are joined.

Every rank calls :func:`run`.  Rank 0 reads, plans, hands out, saves and assembles; the others only
compute.  Whatever happens on rank 0, the others are told, so that all leave with the same code.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qcmb_mpi.archiving import open_archive, take_over
from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.equipment import checked, equip, n_workers, setup_of
from qcmb_mpi.errors import ExitCode, InputError, QcmbError, RunnersLost, Stopped, TasksFailed
from qcmb_mpi.expansion.plan import TaskTable, plan
from qcmb_mpi.farm import resources
from qcmb_mpi.farm.cost import CostModel, estimated_costs
from qcmb_mpi.farm.master import Master
from qcmb_mpi.farm.messages import Tag
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.runner import Description
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.farm.worker import stand_by, work
from qcmb_mpi.inputs import Loaded
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.logs import apply_level, log, speaking_as
from qcmb_mpi.outcome import EnergySoFar, assemble, expected_error, result
from qcmb_mpi.provenance import statistics
from qcmb_mpi.pulse import Pulse
from qcmb_mpi.recorder import Recorder
from qcmb_mpi.report import failed
from qcmb_mpi.report.progress import Progress, make_progress
from qcmb_mpi.starting import Start
from qcmb_mpi.stopping import StopRequest
from qcmb_mpi.store.archive import Archive
from qcmb_mpi.unfinished import failed_for_good, unfinished

__all__ = ["Options", "run"]

SAVING = 30.0  # s before the end of the wall time at which the job begins to stop
FLUSH = 5.0  # s that last messages may take
TOO_LATE = "no task that is left would end before the wall time does"


@dataclass(frozen=True)
class Options:
    """What a run is to do besides computing.

    Attributes
    ----------
    checkpoint
        The file of finished tasks; None keeps none.
    overwrite
        Begin again.
    progress
        ``auto``, ``bar``, ``lines`` or ``none``.
    failed
        Folder for what is needed to repeat tasks that failed for good; None keeps nothing.
    """

    checkpoint: Path | None = None
    overwrite: bool = False
    progress: str = "none"
    failed: Path | None = None


#: What is to be computed, and how.
Job = tuple[Loaded, ExecutorConfig, Options]


def run(begin: Start, load: Callable[[], Job]) -> Any:
    """Compute a many-body expansion.

    Parameters
    ----------
    begin
        From :func:`start`.
    load
        Gives input, settings and options; called on rank 0 alone.

    Returns
    -------
    ManyBodyResult or None
        On rank 0 the result; None on the others.

    Raises
    ------
    InputError
        Nothing was run.  On ranks other than 0 with an empty message: rank 0 has said it.
    TasksFailed, Stopped
        Not all tasks were computed; everything that was is saved.
    """
    rank = begin.world.rank if begin.world is not None else 0
    # signals on every rank: rank 0 decides what they mean, and no rank dies of one
    with speaking_as(rank, socket.gethostname()), StopRequest() as stop:
        if begin.world is not None and begin.world.rank == 0:
            return _conduct(begin, load, stop)
        try:
            return _lead(begin, load, stop, []) if begin.world is None else _serve(begin)
        finally:
            begin.crew.close()
            if begin.world is not None:
                begin.world.close()


def _conduct(begin: Start, load: Callable[[], Job], stop: StopRequest) -> Any:
    """Rank 0 of an MPI job: whatever happens to it, the others learn the exit code and all end together."""
    world = begin.world
    assert world is not None
    code: int = ExitCode.WRONG_INPUT
    told: list[ExecutorConfig] = []
    try:
        answer = _lead(begin, load, stop, told)
        code = ExitCode.FINISHED
        return answer
    except QcmbError as error:
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        code = ExitCode.STOPPED
        raise
    except Exception:
        code = ExitCode.TASKS_FAILED
        raise
    finally:
        if told:
            for rank in range(1, world.size):
                world.send(rank, Tag.END, str(int(code)).encode())
            world.flush(FLUSH)
        else:
            world.broadcast(pickle.dumps(int(code)))
        begin.crew.close()
        patience = told[0].heartbeat if told else ExecutorConfig.heartbeat
        if not world.close(patience):
            log.warning(
                "not every rank has answered within %g s that the job is over (stopped, or its node lost?); "
                "the others do not wait for it",
                patience,
            )
            world.abort_at_exit(int(code))


def _serve(begin: Start) -> None:
    """A rank other than 0."""
    assert begin.world is not None
    order = pickle.loads(begin.world.broadcast(None))
    if isinstance(order, int):
        code = order
    else:
        setup, config = order
        apply_level(config.log_level)
        begin.crew.prepare(equip(setup, config, begin.world, 1))
        try:
            begin.crew.start([begin.world.rank])
            code = work(begin.world, begin.crew, config.heartbeat / 3)
        except QcmbError as error:
            log.error("rank %d on %s takes no part: %s", begin.world.rank, socket.gethostname(), error)
            begin.world.send(0, Tag.LOST, b"")
            code = stand_by(begin.world)
    errors = {ExitCode.WRONG_INPUT: InputError(""), ExitCode.STOPPED: Stopped("", 0, 0, {})}
    if code != ExitCode.FINISHED:
        raise errors.get(ExitCode(code), TasksFailed("", [], {}))


def _lead(begin: Start, load: Callable[[], Job], stop: StopRequest, told: list[ExecutorConfig]) -> Any:
    """Rank 0, or the only process; ``told`` gets the settings once the other ranks have them too."""
    crew, world = begin.crew, begin.world
    loaded, config, options = load()
    apply_level(config.log_level)
    stop.check()
    for warning in loaded.warnings:
        log.warning("%s", warning)
    problem = loaded.problem
    setup = setup_of(problem, config)
    if world is not None:
        world.broadcast(pickle.dumps((setup, config)))
        told.append(config)
    seats = [0] if world is not None else list(range(n_workers(config)))
    equipped = equip(setup, config, world, len(seats))
    crew.prepare(equipped)
    table = plan(problem.expansion)
    try:
        crew.start(seats)
    except InputError as error:
        raise in_source(error, loaded.source) from None
    description = checked(crew.describe(), loaded.source)
    stop.deadline = _deadline(begin, config)
    threads = equipped.resources.threads
    names = [level.name for level in problem.levels]

    def label(task: int) -> str:
        return table.label(task, names)

    stop.check()
    with open_archive(
        loaded, table, options.checkpoint, options.overwrite, config, description, threads
    ) as archive:
        hosts = dict(enumerate(world.hosts)) if world else dict.fromkeys(seats, socket.gethostname())
        pulse = Pulse(options.checkpoint, begin.n_ranks)
        known = take_over(archive, problem, table, config.symmetry, stop.check)
        progress = make_progress(options.progress, table.n_tasks, sys.stderr)
        try:
            for line in known.lines(table.n_tasks) if options.progress != "none" else ():
                progress.message(line)
            master, schedule = _farm(
                begin, config, table, label, archive, description, progress, hosts, stop, pulse, threads
            )
        finally:
            progress.close()
        if options.failed is not None:
            failed.remove_computed(options.failed, problem, table, archive.done)
        if schedule.n_done < table.n_tasks:
            archive.store.save(sync=True)
            reason = stop.reason or (TOO_LATE if schedule.n_waiting else "")
            pulse.ended(schedule, archive.n_done, reason)
            failures = failed_for_good(problem, table, schedule, master.failed)
            folders: dict[int, Path] = {}
            if options.failed is not None:
                how = failed.Circumstances(config.plugins, equipped.resources, hosts)
                folders = failed.write(options.failed, problem, table, failures, how)
            raise unfinished(problem, table, archive, schedule, failures, folders, reason, options.checkpoint)
        pulse.say("assembling")
        outcome = assemble(problem, table, archive)
        classes = None if known.symmetry is None else known.symmetry.representative
        uncertainty = expected_error(problem, table, outcome, description.energy_errors, classes)
        told_of_run = statistics(
            begin, master.statistics, threads, description, archive, known, label, uncertainty
        )
        answer = result(problem, table, archive, outcome, told_of_run)
        pulse.finished()
        return answer


def _deadline(begin: Start, config: ExecutorConfig) -> float | None:
    """Monotonic time at which to begin to stop, or None."""
    left = config.walltime
    if left is not None:
        return begin.began + max(0.0, left - SAVING)
    left = resources.walltime_left(os.environ)
    return None if left is None else time.monotonic() + max(0.0, left - SAVING)


def _farm(
    begin: Start,
    config: ExecutorConfig,
    table: TaskTable,
    label: Callable[[int], str],
    archive: Archive,
    description: Description,
    progress: Progress,
    hosts: dict[int, str],
    stop: StopRequest,
    pulse: Pulse,
    threads: int,
) -> tuple[Master, Schedule]:
    """Compute what the archive lacks."""
    levels = np.array([block.level for block in table.blocks], dtype=np.int64)
    model = CostModel(estimated_costs(table, description.sizes), table.starts, levels)
    silence = config.heartbeat if begin.world is not None else np.inf
    policy = Policy(
        max_retries=config.max_retries,
        timeout=config.timeout_per_task or np.inf,
        timeout_factor=config.timeout_factor,
        silence=silence,
        seats=begin.n_ranks,
    )
    names = sorted(set(hosts.values()))
    nodes = {seat: names.index(host) for seat, host in hosts.items()}
    schedule = Schedule(model, archive.settled, policy, nodes, stop.last_answer_at)
    recorder = Recorder(
        archive,
        progress,
        hosts,
        config.checkpoint_interval,
        EnergySoFar(table, archive),
        pulse,
        label,
    )
    master = Master(table, schedule, begin.crew, begin.world, recorder, stop.take, stop.alarms)
    if schedule.n_done < table.n_tasks:
        log.info("%s", _what_is_computed(table.n_tasks - schedule.n_done, begin.n_ranks, hosts, threads))
        stop.attended = True
        try:
            master.run()
        except RunnersLost as error:
            stop.reason = str(error)
        stop.attended = False
        begin.crew.cancel()
    archive.store.save()
    return master, schedule


def _what_is_computed(n_tasks: int, seats: int, hosts: Mapping[int, str], threads: int) -> str:
    """For the first line of the log."""
    names = sorted(set(hosts.values()))
    where = ", ".join(names[:5]) + (f" and {len(names) - 5} more hosts" if len(names) > 5 else "")
    return (
        f"{n_tasks:,} task{'s' * (n_tasks != 1)} on {seats} rank{'s' * (seats != 1)} of {where}, "
        f"{threads} thread{'s' * (threads != 1)} each"
    )
