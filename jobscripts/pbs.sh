#!/bin/bash
# A many-body expansion under PBS, which goes on by itself until it is done:
#
#     qsub -v INPUT=input.json pbs.sh
#
# Resources stand in this file, since it submits itself again from the folder it was submitted in.
#
#PBS -N qcmb_mpi
#PBS -l select=2:ncpus=32:mpiprocs=32:mem=64gb
#PBS -l walltime=24:00:00
#PBS -j oe

# --- fill in what the site needs: an MPI library, and the Python with qcmb_mpi in it -------------
# module load openmpi
# source "$HOME/venv/bin/activate"
# -------------------------------------------------------------------------------------------------

script=pbs.sh   # name of this file, as it was given to qsub
threads=1       # cores per rank: ncpus divided by mpiprocs
flags=()        # flags of qcmb_mpi run, such as (--max-retries 3)
max_rounds=20   # a job that is not done after so many time limits stops
notice=120      # seconds before the time limit at which the job begins to save

round=${ROUND:-1}
cd "${PBS_O_WORKDIR:?this script is meant for qsub}" || exit 2
if [ -z "${INPUT:-}" ]; then
    echo "usage: qsub -v INPUT=input.json $script" >&2
    exit 2
fi

ranks=$(wc -l <"$PBS_NODEFILE")
export OMP_NUM_THREADS=$threads
# qcmb_mpi divides the cores of a node among its ranks, and checks it.  Bound to one core each, ranks with
# several threads would share it; every launcher has its own word for "do not bind"
# (MPICH does not by itself).
export PRTE_MCA_hwloc_default_binding_policy=none  # Open MPI 5
export OMPI_MCA_hwloc_base_binding_policy=none     # Open MPI 4
export I_MPI_PIN=off                               # Intel MPI

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

# The time limit in seconds, from the server's HH:MM:SS or Torque's variable; empty if neither tells.
time_limit() {
    local limit
    limit=$(qstat -f "$PBS_JOBID" 2>/dev/null </dev/null | sed -n 's/^ *Resource_List.walltime = *//p' | head -n 1)
    if [[ $limit =~ ^([0-9]+):([0-9]+):([0-9]+)$ ]]; then
        echo $((10#${BASH_REMATCH[1]} * 3600 + 10#${BASH_REMATCH[2]} * 60 + 10#${BASH_REMATCH[3]}))
    elif [[ ${limit:-${PBS_WALLTIME:-}} =~ ^[0-9]+$ ]]; then
        echo "${limit:-$PBS_WALLTIME}"
    fi
}

echo "round $round of at most $max_rounds, $ranks ranks, $(date)"

# PBS gives no notice of the limit, so this does.
limit=$(time_limit)
alarm=
if [ -n "$limit" ] && [ "$limit" -gt "$notice" ]; then
    (
        trap 'kill "$sleeping" 2>/dev/null; exit 0' TERM
        sleep $((limit - notice - SECONDS)) >/dev/null 2>&1 &
        sleeping=$!
        wait "$sleeping"
        kill -USR1 $$
    ) &
    alarm=$!
else
    echo "no time limit found, or one too short for a notice: the job may be ended without one" >&2
fi

code=0
run mpirun -n "$ranks" python -m qcmb_mpi check || code=$?
if [ "$signals" -gt 0 ]; then
    code=75
elif [ "$code" -ne 0 ]; then
    echo "not started: see what check found above" >&2
else
    run mpirun -n "$ranks" python -m qcmb_mpi run "$INPUT" "${flags[@]}" || code=$?
    # 75: stopped early with everything saved; the same command goes on from there.
fi
[ -z "$alarm" ] || kill "$alarm" 2>/dev/null

if [ "$code" -eq 75 ] && [ -z "$cancelled" ]; then
    if [ "$round" -lt "$max_rounds" ]; then
        qsub -v "INPUT=$INPUT,ROUND=$((round + 1))" "$script" </dev/null ||
            echo "could not submit round $((round + 1)): submit the same job again to go on" >&2
    else
        echo "not done after $max_rounds rounds: submit the same job again to go on" >&2
    fi
fi
exit "$code"
