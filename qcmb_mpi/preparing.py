"""Subcommands that prepare a job: an input file from a structure, a job script from an input."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from qcmb_mpi.config import merge
from qcmb_mpi.errors import ExitCode, InputError
from qcmb_mpi.files import beside, replace, writable
from qcmb_mpi.inputs import load
from qcmb_mpi.inputs.notation import is_input, moved
from qcmb_mpi.report.result_file import Form, as_notation, form_of_ending
from qcmb_mpi.report.summary import plan_as_dict

__all__ = ["convert", "jobscript"]


def convert(options: argparse.Namespace) -> int:
    """Write the input files for the structures in a file."""
    from qcmb_mpi import converting
    from qcmb_mpi.inputs.job_file import Calculation

    source = Path(options.structure)
    if is_input(source):
        return _rewrite(source, options)
    _require(options)
    output = beside(options.structure, options.output or options.target, ".json")
    writable(output, "--output")
    calculation = Calculation(
        program=options.program,
        method=options.method,
        basis=options.basis,
        driver=options.driver,
        max_nbody=options.max_nbody,
        bsse=tuple(word.strip() for word in options.bsse.split(",")),
        keywords=_keywords(options.keywords),
    )
    cutting = converting.Cutting(options.fragments, options.by, options.charges, options.multiplicities)
    cache_dir = converting.cache_folder(output)
    jobs = converting.convert(source, options.frame, cutting, calculation, cache_dir)
    paths = converting.targets(output, len(jobs))
    stale = converting.left_over(output, paths)
    converting.check_targets(paths, source, stale, overwrite=options.overwrite)
    for path, job in zip(paths, jobs, strict=True):
        try:
            replace(path, job.text)
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror}); choose another", "--output") from None
    for path in stale:
        path.unlink(missing_ok=True)
    print(converting.summaries(options.structure, [job.summary for job in jobs]), flush=True)
    for warning in converting.gathered([job.warnings for job in jobs]):
        print(f"qcmb_mpi: WARNING: {warning}", file=sys.stderr)
    if stale:
        print(converting.removed(stale))
    print(converting.how_to_run(output, len(jobs)))
    return ExitCode.FINISHED


def _require(options: argparse.Namespace) -> None:
    missing = [
        "--" + name.replace("_", "-")
        for name in ("program", "method", "max_nbody", "bsse")
        if getattr(options, name) is None
    ]
    if missing:
        raise InputError(
            f"{options.structure} is a structure; what to compute is missing: {', '.join(missing)}"
        )


def _rewrite(source: Path, options: argparse.Namespace) -> int:
    """QCManyBody's ``convert INPUT OUTPUT``: an input file in the other notation."""
    given = options.output or options.target
    if given is None:
        raise InputError(f"{source} is an input; name the file to convert it to", "--output")
    target = Path(given)
    notation = form_of_ending(target.suffix)
    if notation not in ("json", "yaml"):
        raise InputError(f"{target}: expected a name that ends with .json, .yaml or .yml", "--output")
    writable(target, "--output")
    if target.exists() and not options.overwrite:
        raise InputError(f"{target} exists; --overwrite replaces it", "--output")
    replace(target, as_notation(moved(source, target), Form(notation)))
    if not options.quiet:
        print(f"Input: {target}")
    return ExitCode.FINISHED


def _keywords(text: str | None) -> dict[str, Any]:
    try:
        keywords = {} if text is None else json.loads(text)
    except ValueError as error:
        raise InputError(f"is no JSON ({error})", "--keywords") from None
    if not isinstance(keywords, dict):
        raise InputError('expected a JSON object such as {"conv_tol": 1e-9}', "--keywords")
    return keywords


def jobscript(options: argparse.Namespace) -> int:
    """Write the script with which a queueing system runs an input to its end."""
    from qcmb_mpi import jobscript as script
    from qcmb_mpi.jobscript_text import jobscript_text

    loaded = load(options.input)
    config = merge({"plugins": options.plugins}, loaded.execution, os.environ)
    n_tasks = plan_as_dict(loaded.problem)["n_tasks"]
    output = beside(options.input, options.output, f".{options.system}.sh")
    request = script.Request(
        system=options.system,
        script=output.name,
        input=os.path.relpath(options.input, output.parent),
        checkpoint=config.checkpoint_file
        or os.path.relpath(beside(options.input, None, ".checkpoint.h5"), output.parent),
        nodes=options.nodes,
        ntasks_per_node=options.ntasks_per_node,
        time=script.parse_time(options.time),
        cpus_per_task=options.cpus_per_task,
        memory=None if options.memory is None else script.parse_memory(options.memory),
        queue=options.queue,
        account=options.account,
        launcher=script.parse_launcher(options.launcher),
        plugins=tuple(
            os.path.relpath(name, output.parent) if name.endswith(".py") else name
            for name in options.plugins or ()
        ),
        setup=tuple(options.setup or _this_python()),
    )
    writable(output, "--output")
    if output.exists() and output.samefile(options.input):
        raise InputError(f"{output} is the input itself; choose another name", "--output")
    if output.exists() and not options.overwrite:
        raise InputError(f"{output} exists already; choose another name or add --overwrite", "--output")
    replace(output, jobscript_text(request).rstrip("\n"))
    for warning in loaded.warnings:
        print(f"qcmb_mpi: WARNING: {warning}", file=sys.stderr)
    if request.ranks > n_tasks:
        print(
            f"qcmb_mpi: WARNING: {request.ranks:,} ranks for {n_tasks:,} tasks: some will never have work; "
            "lower --nodes or --ntasks-per-node",
            file=sys.stderr,
        )
    folder = "" if output.parent == Path() else f"cd {shlex.quote(str(output.parent))} && "
    print(f"Wrote {output}: {request.summary()}. Look it through, then submit it in its folder:")
    print(f"  {folder}{request.submit}")
    return ExitCode.FINISHED


def _this_python() -> list[str]:
    """The line of shell that puts the Python of this process in front of others."""
    folder = Path(sys.executable).parent
    if str(folder) in os.defpath.split(":") or folder == Path("/usr/local/bin"):
        return []  # it is on every PATH, and must not get in front of the site's modules
    return [f'export PATH={shlex.quote(str(folder))}:"$PATH"']
