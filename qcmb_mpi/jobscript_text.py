"""The text of a job script for Slurm or PBS, meant to be read and edited by whoever submits it.

Both go the same way: ``check``, then ``run``, and after exit code 75 the job is queued again.
"""

from __future__ import annotations

import shlex

from qcmb_mpi.jobscript import Request

__all__ = ["jobscript_text"]

#: Seconds before the time limit at which Slurm tells the job; of a short limit a part.
_NOTICE = 120
_NOTICE_PART = 4


def jobscript_text(request: Request) -> str:
    """The job script: bash, and clean to shellcheck."""
    parts = _slurm(request) if request.system == "slurm" else _pbs(request)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _slurm(request: Request) -> list[str]:
    optional = {"--mem": request.memory, "--partition": request.queue, "--account": request.account}
    directives = [
        f"--job-name={request.name}",
        f"--nodes={request.nodes}",
        f"--ntasks-per-node={request.ntasks_per_node}",
        f"--cpus-per-task={request.cpus_per_task}",
        f"--time={_clock(request.time)}",
        *(f"{flag}={value}" for flag, value in optional.items() if value),
        "--output=%x-%j.log",
        "--open-mode=append",
    ]
    notice = min(_NOTICE, request.time // _NOTICE_PART)
    signal = _SLURM_SIGNAL.format(notice=notice).strip("\n")
    ranks = "${SLURM_NTASKS:?this script is meant for sbatch}"
    return [
        "\n".join([_head(request, "Slurm", "scancel"), *(f"#SBATCH {line}" for line in directives), signal]),
        _setup(request),
        _settings(request, ranks, "${SLURM_CPUS_PER_TASK:-1}"),
        _SLURM_START,
        _UNBOUND.format(slurm="\nexport SLURM_CPU_BIND=none                        # srun"),
        _RUN,
        _CHECK_AND_RUN.format(limit=""),
        _AGAIN.format(again='scontrol requeue "$SLURM_JOB_ID"'),
    ]


def _pbs(request: Request) -> list[str]:
    cores = request.ntasks_per_node * request.cpus_per_task
    chunk = f"select={request.nodes}:ncpus={cores}:mpiprocs={request.ntasks_per_node}"
    if request.memory:
        chunk += f":mem={request.memory.lower()}b"
    optional = {"-q": request.queue, "-A": request.account}
    limit = _clock(request.time)
    directives = [
        f"-N {request.name}",
        f"-l {chunk}",
        f"-l walltime={limit}",
        *(f"{flag} {value}" for flag, value in optional.items() if value),
        "-j oe",
    ]
    ranks = '$(wc -l <"${PBS_NODEFILE:?this script is meant for qsub}")'
    threads = f"{request.cpus_per_task} # cores of each rank: ncpus divided by mpiprocs"
    return [
        "\n".join([_head(request, "PBS", "qdel"), *(f"#PBS {line}" for line in directives)]),
        _setup(request),
        _settings(request, ranks, threads),
        _PBS_START.format(script=shlex.quote(request.script)),
        _PBS_LIMIT.format(limit=limit),
        _UNBOUND.format(slurm=""),
        _RUN,
        _CHECK_AND_RUN.format(limit=' --walltime "$(time_left)"'),
        _AGAIN.format(again='qsub -v "ROUND=$((round + 1))" "$script" </dev/null'),
    ]


def _head(request: Request, system: str, cancel: str) -> str:
    status = f"python3 -m qcmb_mpi status {shlex.quote(request.checkpoint)}"
    what = (
        (request.submit, "in the folder of this file"),
        (status, "how far is it?"),
        (f"{cancel} JOBID", "ends it; what is computed is kept"),
    )
    width = max(len(command) for command, _ in what)
    commands = "\n".join(f"#     {command.ljust(width)}   {meaning}" for command, meaning in what)
    # names of files stand here in comments, which must not end
    lines = _HEAD.format(input=request.input, system=system, commands=commands).strip("\n").split("\n")
    return "\n".join(line if line.startswith("#") else f"# {line}" for line in lines)


def _setup(request: Request) -> str:
    lines = request.setup or ("# module load openmpi", '# export PATH="$HOME/venv/bin:$PATH"')
    sourced = any(line.split()[:1] in (["source"], ["."]) for line in lines)
    return "\n".join(
        [_SETUP.strip("\n"), *(["# shellcheck disable=SC1090,SC1091"] if sourced else []), *lines]
    )


def _settings(request: Request, ranks: str, threads: str) -> str:
    launch = [shlex.quote(word) for word in request.launcher]
    if request.by_srun:
        # --wait: ranks that wait for one that died
        launch += ['--ntasks="$ranks"', '--cpus-per-task="$threads"', "--wait=60"]
    else:
        launch += ["-n", '"$ranks"']
    if request.system == "pbs":
        launch += ["--hostfile", '"$PBS_NODEFILE"']
    flags = [word for plugin in request.plugins for word in ("--plugin", shlex.quote(plugin))]
    name = f"./{request.input}" if request.input.startswith("-") else request.input
    return _SETTINGS.format(
        input=shlex.quote(name),
        flags=" ".join(flags),
        ranks=ranks,
        threads=threads,
        launch=" ".join(launch),
        remark=_SRUN if request.by_srun else "",
    )


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


_HEAD = """
#!/bin/bash
# {input} under {system}: a many-body expansion that goes on by itself until it is done.
#
{commands}
#
# What the queue is asked for (here and not on the command line, since later rounds know this file only):
#"""

_SLURM_SIGNAL = """
# {notice} s before the limit this shell gets SIGUSR1 and passes it on: the job saves and is queued again.
# (B: is for this shell. Sent to all, it would end the helpers that mpiexec keeps on the other nodes.)
#SBATCH --signal=B:USR1@{notice}
#SBATCH --requeue
"""

_SETUP = """
# --- what the site needs: the Python with qcmb_mpi in it, an MPI library, other programs -------------
"""

_SETTINGS = """
# --- the job -----------------------------------------------------------------------------------------
input={input}
flags=({flags}) # of qcmb_mpi run, such as --max-retries 3
max_rounds=20 # a job that is not done after so many time limits stops
ranks={ranks}
threads={threads}
{remark}launch=({launch})
python=$(command -v python3) # its whole path, since not every launcher hands PATH on to other nodes

# --- from here on nothing has to be changed ----------------------------------------------------------
"""

_SRUN = """\
# srun starts MPI ranks only if it speaks the library's PMI: mostly --mpi=pmix for Open MPI, --mpi=pmi2 for
# MPICH and its descendants (srun --mpi=list shows what there is). Otherwise: launch=(mpiexec -n "$ranks")
"""

_SLURM_START = """
if [ ! -f "$input" ]; then
    echo "there is no $input in $PWD: submit this script in its own folder" >&2
    exit 2
fi
round=$((${SLURM_RESTART_COUNT:-0} + 1))
"""

_PBS_START = """
script={script} # this file, which submits itself again
cd "${{PBS_O_WORKDIR:?this script is meant for qsub}}" || exit 2
for file in "$script" "$input"; do
    if [ ! -f "$file" ]; then
        echo "there is no $file in $PWD: submit this script in its own folder, under its own name" >&2
        exit 2
    fi
done
round=${{ROUND:-1}}
"""

_PBS_LIMIT = """
# PBS gives no notice of the time limit, so qcmb_mpi is told how much is left and stops half a minute before.
time_left() {{
    local limit
    # The server knows best: the limit may have been changed.
    limit=$(qstat -f "$PBS_JOBID" 2>/dev/null </dev/null | awk '/Resource_List.walltime =/ {{ print $3 }}')
    limit=${{limit:-${{PBS_WALLTIME:-{limit}}}}}
    if [[ $limit =~ ^([0-9]+):([0-9]+):([0-9]+)$ ]]; then
        limit=$((10#${{BASH_REMATCH[1]}} * 3600 + 10#${{BASH_REMATCH[2]}} * 60 + 10#${{BASH_REMATCH[3]}}))
    fi
    echo $((limit - SECONDS))
}}
"""

_UNBOUND = """
export OMP_NUM_THREADS=$threads
# qcmb_mpi divides the cores of a node among its ranks, and checks it. Bound to one core each, ranks with
# several threads would share it; every launcher has its own word for "do not bind" (MPICH does not).
export PRTE_MCA_hwloc_default_binding_policy=none # Open MPI 5
export OMPI_MCA_hwloc_base_binding_policy=none    # Open MPI 4
export I_MPI_PIN=off                              # Intel MPI{slurm}
"""

_RUN = """
launched=  # process that passes signals on to the ranks
signals=0  # how many this shell got
cancelled= # whether one of them was the order to end
# shellcheck disable=SC2317  # called by the traps below
pass_on() {
    signals=$((signals + 1))
    # SIGUSR1 whatever came: on SIGTERM, Open MPI leaves its ranks a fifth of a second.
    [ -z "$launched" ] || kill -USR1 "$launched" 2>/dev/null
}
trap pass_on USR1
trap 'cancelled=yes; pass_on' TERM

# Runs a command in such a way that this shell handles signals meanwhile, and returns its exit code.
run() {
    local code=0 seen=$signals again
    "$@" </dev/null &
    launched=$!
    wait "$launched" || code=$?
    # A signal interrupts the wait, not the command.
    while [ "$signals" -gt "$seen" ]; do
        seen=$signals
        again=0
        wait "$launched" 2>/dev/null || again=$?
        # 127: it had ended already, and its code is known.
        [ "$again" -eq 127 ] || code=$again
    done
    launched=
    return "$code"
}
"""

_CHECK_AND_RUN = """
echo "round $round of at most $max_rounds, $ranks ranks, $(date)"
code=0
run "${{launch[@]}}" "$python" -m qcmb_mpi check || code=$?
if [ "$signals" -gt 0 ]; then
    code=75
elif [ "$code" -ne 0 ]; then
    echo "not started: see what check found above" >&2
else
    run "${{launch[@]}}" "$python" -m qcmb_mpi run "$input" "${{flags[@]}}"{limit} || code=$?
fi
"""

_AGAIN = """
# 75: stopped early with everything saved; the same command goes on from there.
if [ "$code" -eq 75 ] && [ -z "$cancelled" ]; then
    if [ "$round" -ge "$max_rounds" ]; then
        echo "not done after $max_rounds rounds: submit the same job again to go on" >&2
    elif ! {again}; then
        echo "could not queue the job again: submit it by hand to go on" >&2
    fi
fi
exit "$code"
"""
