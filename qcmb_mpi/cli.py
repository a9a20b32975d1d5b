"""The command line: parses, calls, prints.  What is computed and decided is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import qcmb_mpi
from qcmb_mpi.errors import ExitCode, QcmbError
from qcmb_mpi.logs import to_terminal

__all__ = ["main"]

COMMANDS = ("run", "plan", "validate", "status", "report", "convert", "jobscript", "check")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    before = _volume(arguments)  # these may stand before the command, too
    if arguments and arguments[0] not in (*COMMANDS, "-h", "--help", "--version"):
        arguments.insert(0, "run")
    arguments[1:1] = before if arguments else []
    options = parser.parse_args(_with_negative_lists(arguments))
    if options.command is None:
        parser.print_help()
        return ExitCode.WRONG_INPUT
    to_terminal("ERROR" if options.quiet else "DEBUG" if options.verbose else "INFO")
    try:
        return int(options.call(options))
    except QcmbError as error:
        if str(error):
            print(f"qcmb_mpi: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("qcmb_mpi: interrupted; what was saved stays", file=sys.stderr)
        return ExitCode.STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FINISHED


def _volume(arguments: list[str]) -> list[str]:
    """Take ``-v`` and ``-q`` off the front."""
    taken = []
    while arguments and arguments[0] in ("-v", "--verbose", "-q", "--quiet"):
        taken.append(arguments.pop(0))
    return taken


def _with_negative_lists(arguments: Sequence[str]) -> list[str]:
    """``--charges -1,0`` as one word: argparse takes a list that begins with a minus for a flag."""
    joined: list[str] = []
    for word in arguments:
        if joined and joined[-1] == "--charges" and word[:1] == "-" and word[1:2].isdigit():
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qcmb-mpi",
        description="Many-body expansions of molecular clusters, on one machine or with mpirun.",
        epilog="`qcmb-mpi INPUT` is short for `qcmb-mpi run INPUT`.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"qcmb_mpi {qcmb_mpi.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser("run", help="compute an expansion", allow_abbrev=False)
    run.add_argument("input", metavar="INPUT", help="input file (JSON or YAML)")
    run.add_argument("-o", "--output", metavar="FILE", help="result (default: INPUT's stem + .result.json)")
    run.add_argument(
        "--format", choices=("json", "yaml", "text"), help="of the result (default: by its name, else json)"
    )
    run.add_argument(
        "--checkpoint",
        "--checkpoint-file",
        dest="checkpoint_file",
        metavar="FILE",
        help="finished tasks (default: INPUT's stem + .checkpoint.h5)",
    )
    run.add_argument("--no-checkpoint", action="store_true", help="keep none")
    run.add_argument("--overwrite", action="store_true", help="drop an existing checkpoint and begin again")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint (what happens anyway)")
    run.add_argument(
        "--parallel", action=argparse.BooleanOptionalAction, default=None, help="several processes or one"
    )
    run.add_argument("--n-workers", metavar="N", help="processes without MPI (default: all cores)")
    run.add_argument("--timeout-per-task", metavar="S", help="seconds that a try may take")
    run.add_argument("--timeout-factor", metavar="X", help="the same, times what a task is expected to take")
    run.add_argument("--max-retries", metavar="N", help="further tries after a failure")
    run.add_argument("--checkpoint-interval", metavar="N", help="finished tasks between two saves")
    run.add_argument("--cache-dir", metavar="DIR", help="folder of answers shared between jobs")
    run.add_argument("--scratch-dir", metavar="DIR", help="folder for temporary files")
    run.add_argument("--walltime", metavar="HH:MM:SS", help="stop in time to save")
    run.add_argument("--symmetry", action="store_true", default=None, help="compute equivalent n-mers once")
    run.add_argument(
        "--plugin", action="append", dest="plugins", metavar="MODULE", help="import MODULE first"
    )
    run.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")
    run.add_argument("--log", metavar="FILE", help="write everything that is logged to the end of FILE too")
    run.add_argument("--progress", choices=("auto", "bar", "lines", "none"), help="how progress is shown")
    run.set_defaults(call=_run)

    plan = commands.add_parser("plan", help="what an input will compute", allow_abbrev=False)
    plan.add_argument("input", metavar="INPUT", help="input file (JSON or YAML)")
    plan.add_argument("--json", action="store_true", help="machine-readable")
    plan.add_argument("--show-tasks", action="store_true", help="the label of every task")
    plan.add_argument(
        "--probe", action="store_true", help="compute one task of each kind here and say what all will cost"
    )
    plan.add_argument(
        "--probe-seconds", type=_seconds, metavar="S", help="time for that (default: 60; implies --probe)"
    )
    plan.add_argument(
        "--ranks", type=_counts, metavar="N,N", help="predict the time on so many ranks (implies --probe)"
    )
    plan.add_argument(
        "--plugin", action="append", dest="plugins", metavar="MODULE", help="import MODULE first"
    )
    plan.set_defaults(call=_plan)

    validate = commands.add_parser("validate", help="whether an input is right", allow_abbrev=False)
    validate.add_argument("input", metavar="INPUT", help="input file (JSON or YAML)")
    validate.add_argument("--json", action="store_true", help="machine-readable")
    validate.add_argument("--strict", action="store_true", help="warnings are errors")
    validate.add_argument("--show-schema", action="store_true", help="print it in QCSchema's form, completed")
    validate.add_argument(
        "--plugin", action="append", dest="plugins", metavar="MODULE", help="import MODULE first"
    )
    validate.set_defaults(call=_validate)

    status = commands.add_parser("status", help="how far a job is", allow_abbrev=False)
    status.add_argument("checkpoint", metavar="CHECKPOINT", help="its checkpoint, being written or not")
    status.add_argument("--json", action="store_true", help="machine-readable")
    status.add_argument(
        "--watch",
        type=_interval,
        nargs="?",
        const=5.0,
        metavar="SECONDS",
        help="look again and again until the job ends (default: every 5 s)",
    )
    status.set_defaults(call=_status)

    report = commands.add_parser("report", help="a page and tables of a job's results", allow_abbrev=False)
    report.add_argument("checkpoint", metavar="CHECKPOINT", help="its checkpoint, being written or not")
    report.add_argument("-o", "--output", metavar="FILE", help="page (default: stem + .report.html)")
    report.add_argument("--csv", metavar="DIR", help="also tables of increments, tasks and body orders")
    report.add_argument("--png", metavar="DIR", help="also the plots as files")
    report.add_argument("--clusters", metavar="FILE", help="also the properties of every task, as JSON")
    report.set_defaults(call=_report)

    _add_convert(commands)
    _add_jobscript(commands)

    check = commands.add_parser("check", help="whether this job is set up well", allow_abbrev=False)
    check.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="where the job will write")
    check.add_argument("--json", action="store_true", help="machine-readable")
    check.set_defaults(call=_check)
    parser.set_defaults(verbose=False, quiet=False)
    for name in ("run", "plan", "validate", "convert"):
        commands.choices[name].add_argument("-v", "--verbose", action="store_true", help="log everything")
        commands.choices[name].add_argument("-q", "--quiet", action="store_true", help="no more than needed")
    return parser


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser("convert", help="a structure to an input file", allow_abbrev=False)
    convert.add_argument("structure", metavar="STRUCTURE", help=".xyz, .extxyz, .pdb or QCSchema .json")
    convert.add_argument("target", metavar="OUTPUT", nargs="?", help="the same as --output")
    convert.add_argument("-o", "--output", metavar="FILE", help="input file (default: its stem + .json)")
    convert.add_argument("--overwrite", action="store_true", help="replace an existing input file")
    convert.add_argument("--frame", type=int, metavar="N", help="only the Nth structure of the file")
    convert.add_argument("--program", help="pyscf, tblite or one that QCEngine knows")
    convert.add_argument("--method", help="as the program calls it")
    convert.add_argument("--basis", help="for methods that do not bring their own")
    convert.add_argument("--max-nbody", type=int, metavar="N", help="highest body order")
    convert.add_argument("--bsse", metavar="TYPE", help="nocp, cp, vmfc; several with commas")
    convert.add_argument(
        "--driver", choices=("energy", "gradient", "hessian"), default="energy", help="what to compute"
    )
    convert.add_argument("--keywords", metavar="JSON", help="for the program")
    cutting = convert.add_mutually_exclusive_group()
    cutting.add_argument(
        "--fragments", metavar="LIST", help='atoms from 1, a comma between fragments: "1-3+10,4-6"'
    )
    cutting.add_argument("--by", choices=("residue", "bonds"), help="how fragments are found")
    convert.add_argument("--charges", metavar="LIST", help='by position, "0,0,1", or name, "Na+,Cl-,H4N=1"')
    convert.add_argument("--multiplicities", metavar="LIST", help='by position or name, "O2=3"')
    convert.add_argument(
        "--embedding", choices=("no",), default="no", help="no point charges around the n-mers (the default)"
    )
    convert.set_defaults(call=_convert)


def _add_jobscript(commands: Any) -> None:
    script = commands.add_parser("jobscript", help="a script for the queue of a cluster", allow_abbrev=False)
    script.add_argument("system", choices=("slurm", "pbs"), help="the queueing system")
    script.add_argument("input", metavar="INPUT", help="input file (JSON or YAML)")
    script.add_argument("-o", "--output", metavar="FILE", help="script (default: INPUT's stem + .slurm.sh)")
    script.add_argument("--overwrite", action="store_true", help="replace an existing script")
    script.add_argument("--nodes", type=int, required=True, metavar="N", help="how many")
    script.add_argument(
        "--ntasks-per-node", type=int, required=True, metavar="N", help="MPI ranks on each node"
    )
    script.add_argument("--time", required=True, metavar="HH:MM:SS", help="time limit of one round")
    script.add_argument("--cpus-per-task", type=int, default=1, metavar="N", help="cores of a rank (1)")
    script.add_argument("--memory", metavar="SIZE", help="of each node, such as 64GB (default: the site's)")
    script.add_argument("--partition", "--queue", dest="queue", metavar="NAME", help="default: the site's")
    script.add_argument("--account", metavar="NAME", help="who pays")
    script.add_argument("--plugin", action="append", dest="plugins", metavar="MODULE", help="as for run")
    script.add_argument(
        "--launcher",
        default="mpiexec",
        metavar="COMMAND",
        help="mpiexec (the default), mpirun or srun, with flags of its own: 'srun --mpi=pmix'",
    )
    script.add_argument(
        "--setup",
        action="append",
        metavar="LINE",
        help="a line of shell that readies Python or MPI, such as 'module load openmpi'; may be repeated "
        "(default: this Python's folder in front of PATH)",
    )
    script.set_defaults(call=_jobscript)


SETTINGS = (
    "checkpoint_file",
    "parallel",
    "n_workers",
    "timeout_per_task",
    "timeout_factor",
    "max_retries",
    "checkpoint_interval",
    "cache_dir",
    "scratch_dir",
    "walltime",
    "symmetry",
    "plugins",
    "progress",
    "log_level",
)


def _run(options: argparse.Namespace) -> int:
    from qcmb_mpi.starting import start

    begin = start()  # before anything slow is imported: engines are imported meanwhile
    from qcmb_mpi.commands import run

    flags = {name: getattr(options, name) for name in SETTINGS}
    if options.verbose and flags["log_level"] is None:
        flags["log_level"] = "DEBUG"
    return run(begin, options, flags)


def _plan(options: argparse.Namespace) -> int:
    if options.probe or options.ranks or options.probe_seconds:
        from qcmb_mpi.starting import start

        begin = start()
        from qcmb_mpi.commands import plan_and_probe

        return plan_and_probe(begin, options)
    from qcmb_mpi.commands import plan

    return plan(options)


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of ranks, with commas between them."""
    words = text.split(",")
    if not all(word.strip().isdigit() and 0 < int(word) <= 1_000_000 for word in words):
        raise argparse.ArgumentTypeError(f"expected numbers of ranks such as 64 or 16,64,256, not {text!r}")
    return tuple(sorted({int(word) for word in words}))


def _seconds(text: str) -> float:
    """A time limit."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 7 * 86400.0:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and at most a week, not {text!r}")
    return seconds


def _validate(options: argparse.Namespace) -> int:
    from qcmb_mpi.commands import validate

    return validate(options)


def _interval(text: str) -> float:
    """Seconds between two looks."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400.0:
        raise argparse.ArgumentTypeError(f"expected seconds from 0.1 to 86400, not {text!r}")
    return seconds


def _status(options: argparse.Namespace) -> int:
    try:
        from qcmb_mpi.commands import status

        return status(options)
    except KeyboardInterrupt:
        if options.watch is None:
            raise
        return ExitCode.FINISHED  # the way to leave a watch, also while it begins


def _report(options: argparse.Namespace) -> int:
    from qcmb_mpi.commands import report

    return report(options)


def _convert(options: argparse.Namespace) -> int:
    from qcmb_mpi.preparing import convert

    return convert(options)


def _jobscript(options: argparse.Namespace) -> int:
    from qcmb_mpi.preparing import jobscript

    return jobscript(options)


def _check(options: argparse.Namespace) -> int:
    from qcmb_mpi.commands import check

    return check(options)
