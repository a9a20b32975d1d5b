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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qcmb_mpi.archiving import open_archive
from qcmb_mpi.config import ExecutorConfig
from qcmb_mpi.engine.base import Resources
from qcmb_mpi.errors import ExitCode, InputError, QcmbError, RunnersLost, Stopped, TasksFailed
from qcmb_mpi.expansion.plan import TaskTable, plan
from qcmb_mpi.farm import resources
from qcmb_mpi.farm.cost import CostModel, estimated_costs
from qcmb_mpi.farm.launcher import check_world, clean_environment, detect
from qcmb_mpi.farm.local import Crew
from qcmb_mpi.farm.master import Master
from qcmb_mpi.farm.messages import Tag
from qcmb_mpi.farm.policy import Policy
from qcmb_mpi.farm.runner import Description, Setup
from qcmb_mpi.farm.schedule import Schedule
from qcmb_mpi.farm.worker import stand_by, work
from qcmb_mpi.inputs import Loaded
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.logs import apply_level, log, speaking_as
from qcmb_mpi.outcome import EnergySoFar, assemble, expected_error, result
from qcmb_mpi.problem import Problem
from qcmb_mpi.pulse import Pulse
from qcmb_mpi.recorder import Recorder
from qcmb_mpi.report import failed
from qcmb_mpi.report.progress import Progress, make_progress
from qcmb_mpi.stopping import StopRequest
from qcmb_mpi.store.archive import Archive
from qcmb_mpi.unfinished import failed_for_good, unfinished

if TYPE_CHECKING:
    from qcmb_mpi.farm.mpi import World

__all__ = ["Options", "Start", "examine", "open_bench", "run", "start"]

SAVING = 30.0  # s before the end of the wall time at which the job begins to stop
FLUSH = 5.0  # s that last messages may take
TOO_LATE = "no task that is left would end before the wall time does"


@dataclass(frozen=True)
class Start:
    """A process as it was started.

    Attributes
    ----------
    crew
        Its runners-to-be.
    world
        The ranks, if a launcher has started this process or the user gave a communicator.
    began
        Monotonic time of the start.
    """

    crew: Crew
    world: World | None
    began: float

    @contextmanager
    def only_rank_0(self) -> Iterator[bool]:
        """For work without other ranks: tells whether this is rank 0, and ends runners and MPI afterwards."""
        try:
            yield self.world is None or self.world.rank == 0
        finally:
            self.crew.close()
            if self.world is not None:
                self.world.close()


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


def start(comm: Any = None) -> Start:
    """Start the parent of this process's runners, then MPI where a launcher announced it.

    Raises
    ------
    LauncherError
        The launcher started several processes that do not see each other.
    """
    began = time.monotonic()
    launch = detect(os.environ)
    crew = Crew(clean_environment(os.environ))
    try:
        if comm is None and launch.name is None:
            return Start(crew, None, began)
        world, library = _connect(comm)
        check_world(launch, world.launched if world else 1, library)
    except BaseException:
        crew.close()
        raise
    return Start(crew, world, began)


def _connect(comm: Any) -> tuple[World | None, str | None]:
    try:
        from qcmb_mpi.farm.mpi import connect

        world = connect(comm)
    except (ImportError, RuntimeError) as error:
        log.debug("no MPI library: %s", error)
        return None, None
    return world, world.library


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
        begin.crew.prepare(_equip(setup, config, begin.world, 1))
        try:
            begin.crew.start([begin.world.rank])
            code = work(begin.world, begin.crew, config.heartbeat / 3)
        except QcmbError as error:
            log.error("rank %d on %s takes no part: %s", begin.world.rank, socket.gethostname(), error)
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
    if config.symmetry:
        log.warning("symmetry has no effect in this version: every task is computed by this job itself")
    problem = loaded.problem
    setup = _setup(problem, config)
    if world is not None:
        world.broadcast(pickle.dumps((setup, config)))
        told.append(config)
    seats = [0] if world is not None else list(range(_n_workers(config)))
    equipped = _equip(setup, config, world, len(seats))
    crew.prepare(equipped)
    table = plan(problem.expansion)
    try:
        crew.start(seats)
    except InputError as error:
        raise in_source(error, loaded.source) from None
    description = _checked(crew.describe(), loaded.source)
    stop.deadline = _deadline(begin, config)
    threads = equipped.resources.threads
    stop.check()
    with open_archive(
        loaded, table, options.checkpoint, options.overwrite, config, description, threads
    ) as archive:
        hosts = dict(enumerate(world.hosts)) if world else dict.fromkeys(seats, socket.gethostname())
        pulse = Pulse(options.checkpoint, len(hosts))
        reused = archive.load()
        cached = 0 if problem.keep_records else archive.reuse()  # a cache has no records
        progress = make_progress(options.progress, table.n_tasks, sys.stderr)
        try:
            if reused and options.progress != "none":
                progress.message(f"{reused} of {table.n_tasks} tasks are in the checkpoint already")
            if cached and options.progress != "none":
                progress.message(f"{cached} of {table.n_tasks} tasks are reused from the cache")
            names = [level.name for level in problem.levels]
            master, schedule = _farm(
                begin, config, table, names, archive, description, progress, hosts, stop, pulse, threads
            )
        finally:
            progress.close()
        if options.failed is not None:
            failed.remove_computed(options.failed, problem, table, archive.done)
        if schedule.n_done < table.n_tasks:
            archive.store.save(sync=True)
            reason = stop.reason or (TOO_LATE if schedule.n_waiting else "")
            pulse.ended(schedule, reason)
            failures = failed_for_good(problem, table, schedule, master.failed)
            folders: dict[int, Path] = {}
            if options.failed is not None:
                how = failed.Circumstances(config.plugins, equipped.resources, hosts)
                folders = failed.write(options.failed, problem, table, failures, how)
            raise unfinished(problem, table, archive, schedule, failures, folders, reason, options.checkpoint)
        pulse.say("assembling")
        outcome = assemble(problem, table, archive)
        statistics = _statistics(
            begin,
            master,
            config,
            equipped,
            description,
            reused,
            cached,
            archive,
            table.label(master.statistics.longest_task, names)
            if master.statistics.longest_task >= 0
            else None,
            expected_error(problem, table, outcome, description.energy_errors),
        )
        answer = result(problem, table, archive, outcome, statistics)
        pulse.finished()
        return answer


def examine(begin: Start, loaded: Loaded, config: ExecutorConfig) -> Description:
    """Ask the engines about an input without computing it; raises InputError if it is wrong."""
    try:
        return open_bench(begin, loaded, config)[0]
    finally:
        begin.crew.close()


def open_bench(begin: Start, loaded: Loaded, config: ExecutorConfig) -> tuple[Description, Resources]:
    """Start one runner as a run on this machine would start it, and ask the engines about an input.

    Returns
    -------
    description
        What they say.
    resources
        What the runner may use.

    Raises
    ------
    InputError
        The input is wrong.
    """
    equipped = _equip(_setup(loaded.problem, config), config, None, _n_workers(config))
    begin.crew.prepare(equipped)
    begin.crew.start([0])
    return _checked(begin.crew.describe(), loaded.source), equipped.resources


def _setup(problem: Problem, config: ExecutorConfig) -> Setup:
    return Setup(
        cluster=problem.cluster,
        levels=problem.levels,
        driver=problem.driver,
        plugins=config.plugins,
        keep_records=problem.keep_records,
        ghosts=any(t != "nocp" for t in problem.expansion.treatments) and problem.cluster.n_fragments > 1,
    )


def _checked(description: Description, source: str) -> Description:
    if description.error is not None:
        field = description.field
        raise in_source(InputError(description.error.removeprefix(f"{field}: "), field), source)
    return description


def _sequential(config: ExecutorConfig) -> bool:
    return config.parallel is False or config.executor_type == "sequential"


def _n_workers(config: ExecutorConfig) -> int:
    return 1 if _sequential(config) else config.n_workers or resources.usable_cores(os.environ)


def _equip(setup: Setup, config: ExecutorConfig, world: World | None, n_here: int) -> Setup:
    """The setup with what each runner of this process may use.

    Threads are the user's choice, by setting or by ``OMP_NUM_THREADS``; otherwise the cores are divided.
    """
    mask = resources.affinity()
    index, masks = world.neighbours(mask) if world is not None else (0, [mask] * n_here)
    threads, memory = resources.allotment(
        masks, index, resources.granted_cores(os.environ), resources.usable_memory(os.environ)
    )
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    chosen = int(text) if text.isdigit() else 0
    if world is None and _sequential(config):
        chosen = 1
    return replace(
        setup,
        resources=Resources(
            threads=config.threads_per_worker or chosen or threads,
            memory=config.memory_per_worker or memory,
            scratch=config.scratch_dir,
        ),
    )


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
    level_names: Sequence[str],
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
    seats = len(begin.crew.seats) + (begin.world.size - 1 if begin.world else 0)
    policy = Policy(
        max_retries=config.max_retries,
        timeout=config.timeout_per_task or np.inf,
        timeout_factor=config.timeout_factor,
        silence=silence,
        seats=seats,
    )
    names = sorted(set(hosts.values()))
    nodes = {seat: names.index(host) for seat, host in hosts.items()}
    schedule = Schedule(model, archive.done, policy, nodes, stop.last_answer_at)
    recorder = Recorder(
        archive,
        progress,
        hosts,
        config.checkpoint_interval,
        EnergySoFar(table, archive),
        pulse,
        lambda task: table.label(task, level_names),
    )
    master = Master(table, schedule, begin.crew, begin.world, recorder, stop.take, stop.alarms)
    if schedule.n_done < table.n_tasks:
        log.info("%s", _what_is_computed(table.n_tasks - schedule.n_done, seats, hosts, threads))
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


def _statistics(
    begin: Start,
    master: Master,
    config: ExecutorConfig,
    setup: Setup,
    description: Description,
    reused: int,
    cached: int,
    archive: Archive,
    longest: str | None,
    error: float,
) -> dict[str, Any]:
    """What the provenance of the result tells of the run."""
    spent = master.statistics
    cores = max(1, spent.seats)
    threads = setup.resources.threads
    return {
        "ranks": spent.seats,
        "hosts": sorted(set(begin.world.hosts)) if begin.world else [socket.gethostname()],
        "mpi_library": begin.world.library if begin.world else None,
        "threads_per_rank": threads,
        "tasks_computed": len(archive.done) - reused - cached,
        "tasks_reused": reused,
        "tasks_from_cache": cached,
        "wall_seconds": round(time.monotonic() - begin.began, 3),
        "farm_seconds": round(spent.wall, 3),
        "engine_seconds": round(spent.engine, 3),
        "cpu_seconds": round(spent.cpu, 3),
        "longest_task": longest,
        "longest_task_seconds": round(spent.longest, 6),
        "master_seconds": round(spent.master, 3),
        "efficiency": round(spent.engine / (cores * spent.wall), 4) if spent.wall else None,
        "expected_error": error,
        "bits_repeat": threads == 1 and archive.repeats,
        "notes": dict(archive.notes),
        "programs": dict(description.versions),
    }
