"""What the subcommands about a job do with what the command line has parsed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcmb_mpi.config import ExecutorConfig, merge
from qcmb_mpi.equipment import examine
from qcmb_mpi.errors import ExitCode, InputError, QcmbError, Stopped, TasksFailed
from qcmb_mpi.files import beside, replace, writable
from qcmb_mpi.inputs import Loaded, load
from qcmb_mpi.inputs.fields import in_source
from qcmb_mpi.job import Options
from qcmb_mpi.job import run as run_job
from qcmb_mpi.logs import log, to_file
from qcmb_mpi.report import failed
from qcmb_mpi.report.result_file import (
    ENDINGS,
    Form,
    failure_text,
    form_of_ending,
    serialised,
)
from qcmb_mpi.report.summary import plan_as_dict, plan_text, result_text
from qcmb_mpi.starting import Start, start

__all__ = [
    "check",
    "plan",
    "plan_and_probe",
    "report",
    "run",
    "status",
    "validate",
]


def run(begin: Start, options: argparse.Namespace, flags: Mapping[str, Any]) -> int:
    """Compute an input; write the result; print the summary on rank 0."""
    target = [(beside(options.input, options.output, ENDINGS["json"]), Form())]  # until the input is read

    def loader() -> tuple[Loaded, ExecutorConfig, Options]:
        if options.log:
            to_file(options.log)
        loaded = load(options.input)
        config = merge(flags, loaded.execution, os.environ)
        output, form = _result_file(options, loaded.output)
        target.append((output, form))
        checkpoint = None
        if not options.no_checkpoint:
            checkpoint = beside(options.input, config.checkpoint_file, ".checkpoint.h5")
            writable(checkpoint, "--checkpoint")
        writable(output, "--output")
        progress = "none" if options.quiet else config.progress or "auto"
        return (
            loaded,
            config,
            Options(checkpoint, options.overwrite, progress, failed.beside(checkpoint or output)),
        )

    try:
        result = run_job(begin, loader)
    except (TasksFailed, Stopped) as error:
        if str(error):
            output, form = target[-1]
            try:
                replace(output, failure_text(_failure(error), form))
            except OSError as problem:
                log.warning("this could not be written to %s (%s)", output, problem.strerror)
        raise
    if result is None:
        return ExitCode.FINISHED
    output, form = target[-1]
    _write(output, serialised(result, form))
    if not options.quiet:
        print(result_text(result))
        print(f"Result: {output}")
    return ExitCode.FINISHED


def plan(options: argparse.Namespace) -> int:
    """Print what an input will compute."""
    loaded = load(options.input)
    if options.json:
        print(json.dumps(plan_as_dict(loaded.problem), indent=1))
    else:
        if not options.quiet:
            _warn(loaded)
        print(plan_text(loaded.problem, show_tasks=options.show_tasks))
    return ExitCode.FINISHED


def plan_and_probe(begin: Start, options: argparse.Namespace) -> int:
    """Print what an input will compute and what that will cost, after trying some of it on rank 0."""
    from qcmb_mpi.probing import PROBE_SECONDS, forecast
    from qcmb_mpi.report.forecast import forecast_as_dict, forecast_text

    with begin.only_rank_0() as here:
        if not here:
            return ExitCode.FINISHED
        loaded = load(options.input)
        config = merge({"plugins": options.plugins}, loaded.execution, os.environ)
        if not options.json:
            _warn(loaded)
            print(plan_text(loaded.problem, show_tasks=options.show_tasks), flush=True)
        limit = options.probe_seconds or PROBE_SECONDS
        log.info("computing a task of each kind, for at most %g s", limit)
        found = forecast(begin, loaded, config, options.ranks, limit)
        if options.json:
            content = {**plan_as_dict(loaded.problem), "probe": forecast_as_dict(found)}
            print(json.dumps(content, indent=1))
        else:
            print("\n" + forecast_text(found, loaded.problem.cluster.n_fragments))
    return ExitCode.FINISHED


def validate(options: argparse.Namespace) -> int:
    """Say whether an input is right, engines asked."""
    try:
        loaded = load(options.input)
        config = merge({"plugins": options.plugins}, loaded.execution, os.environ)
        if options.strict and loaded.warnings:
            raise in_source(InputError("; ".join(loaded.warnings)), options.input)
        description = examine(start(), loaded, config)
    except QcmbError as error:
        if options.json:
            field = error.field if isinstance(error, InputError) else None
            print(json.dumps({"valid": False, "field": field, "error": str(error)}))
            return error.exit_code
        raise
    if options.json:
        print(
            json.dumps({"valid": True, "warnings": loaded.warnings, "programs": dict(description.versions)})
        )
    elif options.show_schema:
        print(loaded.normalised)
    elif not options.quiet:
        _warn(loaded)
        programs = ", ".join(f"{name} {version}" for name, version in sorted(set(description.versions)))
        print(f"{options.input}: right ({programs})")
    return ExitCode.FINISHED


def status(options: argparse.Namespace) -> int:
    """Say how far the job of a checkpoint is, once or until it ends."""
    from qcmb_mpi.report.status_text import status_text
    from qcmb_mpi.watching import Watch, show

    watch = Watch(options.checkpoint)
    if options.watch is None:
        now = watch.look()
        print(json.dumps(now.as_dict(), indent=1) if options.json else status_text(now))
        return ExitCode.FINISHED
    show(watch.again(options.watch), options.json, sys.stdout)
    return ExitCode.FINISHED


def report(options: argparse.Namespace) -> int:
    """Write the report of a checkpoint: the page, and what else was asked for."""
    from qcmb_mpi.reading import look
    from qcmb_mpi.report.gathered import gather
    from qcmb_mpi.report.html import page
    from qcmb_mpi.report.plots import have_matplotlib, require_matplotlib, write_pngs
    from qcmb_mpi.report.tables import write_clusters, write_tables

    checkpoint = Path(options.checkpoint)
    name = checkpoint.name.removesuffix(".checkpoint.h5").removesuffix(".h5")
    output = Path(options.output) if options.output else checkpoint.with_name(f"{name}.report.html")
    if options.png:
        require_matplotlib("--png")
    if output.resolve() == checkpoint.resolve():
        raise InputError("is the checkpoint itself; choose another name", "--output")
    writable(output, "--output")
    material = look(checkpoint)
    written: list[Path] = []
    try:
        if options.csv:
            written += write_tables(material, Path(options.csv))
        if options.clusters:
            write_clusters(material, Path(options.clusters))
            written.append(Path(options.clusters))
        gathered = gather(material)
        if options.png:
            written += write_pngs(gathered, Path(options.png))
        if not have_matplotlib():
            log.warning(
                "the page has no plots, since matplotlib is not installed: pip install 'qcmb-mpi[plot]'"
            )
        replace(output, page(gathered))
    except OSError as error:
        raise InputError(
            f"{error.filename or output}: cannot be written ({error.strerror}); choose another place"
        ) from None
    done = "complete" if gathered.complete else f"partial, {gathered.n_done:,} of {gathered.n_tasks:,} tasks"
    print(f"Report ({done}): {output}")
    for path in written:
        print(f"  {path}")
    return ExitCode.FINISHED


def check(options: argparse.Namespace) -> int:
    """Say whether this job, with its ranks, is set up well."""
    from qcmb_mpi.report.gather import gather

    return gather(start(), Path(options.folder), as_json=options.json)


def _warn(loaded: Loaded) -> None:
    for warning in loaded.warnings:
        print(f"qcmb_mpi: WARNING: {warning}", file=sys.stderr)


def _result_file(options: argparse.Namespace, section: Mapping[str, Any]) -> tuple[Path, Form]:
    """Name and form of the result: flags, else the input's ``output`` section, else beside the input."""
    given = options.output
    if given is None and section.get("file") is not None:
        given = str(Path(options.input).parent / section["file"])
    chosen = options.format or section.get("format")
    chosen = chosen or (form_of_ending(Path(given).suffix) if given else None) or "json"
    pretty, timings = section.get("pretty"), section.get("include_timings")
    form = Form(chosen, pretty is None or pretty, timings is None or timings)
    return beside(options.input, given, ENDINGS[chosen]), form


def _write(path: Path, text: str) -> None:
    """Write a result; a job whose result cannot be written is stopped early."""
    try:
        replace(path, text)
    except OSError as error:
        raise Stopped(
            f"the result could not be written to {path} ({error.strerror}); all tasks are in the checkpoint, "
            "so run the same command again with another --output",
            0,
            0,
            {},
        ) from None


def _failure(error: TasksFailed | Stopped) -> dict[str, Any]:
    """The result file of a job that did not finish."""
    kind = "tasks_failed" if isinstance(error, TasksFailed) else "stopped"
    content: dict[str, Any] = {
        "schema_name": "qcschema_failed_operation",
        "success": False,
        "error": {"error_type": kind, "error_message": str(error)},
        "complete": error.complete,
    }
    if isinstance(error, TasksFailed):
        content["failed_tasks"] = [
            {
                "label": f.label,
                "kind": f.kind,
                "attempts": f.attempts,
                "message": f.message,
                "folder": str(f.folder) if f.folder else None,
            }
            for f in error.failures
        ]
    return content
