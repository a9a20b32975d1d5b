"""The status of a job as text for a terminal or a log file.

Only formats; the numbers come from `status.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from qcmb_mpi.report.durations import format_duration
from qcmb_mpi.report.status import Status

__all__ = ["status_text"]

MOST_TASKS = 20  # failing tasks that are listed
MOST_RANKS = 8  # ranks that are listed one by one
MOST_HOSTS = 16  # hosts that are listed, the idlest first


def status_text(status: Status) -> str:
    """Everything, section by section; what there is nothing to say of is left out."""
    sections = (
        _job(status),
        [_state(status)],
        _counts(status),
        _pace(status),
        _failures(status),
        _sums(status),
        _slowest(status),
        _busy(status),
        [f"Note: {note}" for note in status.notes],
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def _job(status: Status) -> list[str]:
    job = status.job
    fragments = ", ".join(f"{count} {name}" for name, count in job["fragments"].items())
    charge = f", charge {job['charge']:+g}" if job["charge"] else ""
    lines = [
        f"{status.checkpoint}",
        f"{job['formula']}: {job['n_fragments']} fragments ({fragments}), {job['n_atoms']} atoms{charge}",
        f"{job['driver']}, {', '.join(job['bsse_type'])} through {job['max_nbody']}-body",
    ]
    for level in job["levels"]:
        orders = [f"{n}-body" for n in level["nbody"]] + ["supersystem"] * level["supersystem"]
        model = "/".join(filter(None, (level["method"], level["basis"])))
        lines.append(f'Level "{level["name"]}": {level["program"]} {model} for {", ".join(orders)}')
    return lines


def _state(status: Status) -> str:
    run = status.run
    who = f"process {run['pid']} on {run['host']}" if run["host"] else "a process that has left no name"
    if run["queue_job"]:
        who += f", job {run['queue_job']}"
    ago = f"{format_duration(run['last_sign_seconds'])} ago"
    again = "the same command goes on from here"
    if status.state == "running":
        ranks = f", {run['ranks']} ranks" if (run["ranks"] or 0) > 1 else ""
        doing = ", " + run["activity"] if run["activity"] in ("starting", "assembling") else ""
        return f"RUNNING{doing}: {who}{ranks}; last sign of life {ago}"
    if status.state == "silent":
        return f"SILENT: {who} gave its last sign of life {ago}; if it is gone, {again}"
    if status.state == "killed":
        what = "all tasks are done; the same command writes the result" if status.finished else again
        return f"KILLED: {who} is gone without having ended properly, last sign of life {ago}; {what}"
    if status.state == "finished":
        return f"FINISHED {ago}"
    if status.state == "failed":
        return f"ENDED WITH FAILED TASKS {ago}; the same command tries them afresh"
    reason = f" ({run['reason']})" if run["reason"] else ""
    return f"STOPPED{reason} {ago}; {again}"


def _share(done: int, total: int) -> str:
    percent = 100 * done / total if total else 100.0
    return f"{min(percent, 99.9) if done < total else 100.0:.1f} %"


def _counts(status: Status) -> Iterable[str]:
    yield f"Tasks: {status.done:,} of {status.total:,} done ({_share(status.done, status.total)})"
    rows = [(f"{n}-body", counts) for n, counts in status.by_nbody.items()]
    if len(status.by_level) > 1:
        rows += [(f'level "{name}"', counts) for name, counts in status.by_level.items()]
    width = max(len(name) for name, _ in rows)
    for name, counts in rows:
        done, total = counts["done"], counts["total"]
        yield f"  {name:<{width}} {done:>12,} of {total:>12,}  {_share(done, total):>7}"


def _pace(status: Status) -> Iterable[str]:
    pace = status.pace
    if pace.recent_per_second is not None and pace.recent_seconds is not None:
        yield f"Pace: {pace.recent_per_second:.3g} tasks/s in the last {format_duration(pace.recent_seconds)}"
    if pace.overall_per_second is not None:
        sessions = f" in {pace.sessions} sessions" if pace.sessions > 1 else ""
        duration = format_duration(pace.working_seconds)
        yield f"Over all: {pace.overall_per_second:.3g} tasks/s in {duration} of work{sessions}"
    if status.seconds_left is not None:
        yield f"Time left: about {format_duration(status.seconds_left)}"


def _failures(status: Status) -> Iterable[str]:
    if not status.failed_attempts and not status.failing:
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(status.failures_by_kind.items()))
    yield f"Failed attempts: {status.failed_attempts:,} ({kinds})"
    groups = (
        ("failed for good", [task for task in status.failing if task.for_good]),
        ("to be tried again", [task for task in status.failing if task.for_good is False]),
        ("have failed and are not done", [task for task in status.failing if task.for_good is None]),
    )
    for words, tasks in groups:
        if not tasks:
            continue
        number = len(tasks)
        if words == "failed for good" and status.failed_for_good:
            number = max(number, status.failed_for_good)
        yield f"{number:,} task{'s' if number > 1 else ''} {words}:"
        for task in tasks[:MOST_TASKS]:
            yield f"  {task.label}: {task.kind} (attempts: {task.attempts}): {task.message}"
        if number > MOST_TASKS:
            yield f"  and {number - MOST_TASKS:,} more"


def _sums(status: Status) -> Iterable[str]:
    if not status.sums:
        return
    heads = ("total", "interaction", "of this order")
    yield f"{'Energies [Eh]':<22}" + "".join(f"{head:>20}" for head in heads)
    for sums in status.sums:
        name = f"  {sums.treatment} through {sums.nbody}-body"
        if sums.missing:
            yield f"{name:<22}   {sums.missing:,} task{'s' if sums.missing > 1 else ''} missing"
            continue
        values = (sums.total, sums.interaction, sums.contribution)
        yield f"{name:<22}" + "".join(f"{'-' if v is None else format(v, '.10f'):>20}" for v in values)


def _slowest(status: Status) -> Iterable[str]:
    if status.slowest:
        yield "Slowest tasks:"
    for task in status.slowest:
        yield f"  {task.seconds:>10.3f} s  rank {task.rank} on {task.host}  {task.label}"


def _busy(status: Status) -> Iterable[str]:
    busy = status.busy
    if busy.overall is None:
        return
    yield f"Ranks in the engine: {busy.overall:.1%} of the time, as far as finished tasks tell"
    last = ", last answer {} ago" if status.active else ""
    if len(busy.ranks) <= MOST_RANKS:
        for rank in busy.ranks:
            yield (
                f"  rank {rank.rank} on {rank.host}: {rank.busy:.1%}, {rank.tasks:,} tasks"
                f"{last.format(format_duration(rank.silent_seconds))}"
            )
        return
    for host in sorted(busy.hosts, key=lambda host: host.busy)[:MOST_HOSTS]:
        yield f"  {host.host}: {host.busy:.1%}, {host.ranks} ranks, {host.tasks:,} tasks"
    if len(busy.hosts) > MOST_HOSTS:
        yield f"  and {len(busy.hosts) - MOST_HOSTS:,} busier hosts"
    least = min(busy.ranks, key=lambda rank: rank.busy)
    yield f"  least: rank {least.rank} on {least.host}, {least.busy:.1%}"
