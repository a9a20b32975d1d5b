#!/bin/bash
# A many-body expansion under Slurm, which goes on by itself until it is done:
#
#     sbatch slurm.sh input.json [flags of qcmb_mpi run]
#
#SBATCH --job-name=qcmb_mpi
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
# Two minutes before the limit this shell gets SIGUSR1 and passes it on.  B: is for "batch shell": sent to
# the steps, it would end the processes that MPICH's mpiexec keeps on the other nodes.
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# --- fill in what the site needs: an MPI library, and the Python with qcmb_mpi in it -------------
# module load openmpi
# source "$HOME/venv/bin/activate"
# -------------------------------------------------------------------------------------------------

max_rounds=20 # a job that is not done after so many time limits stops

if [ $# -eq 0 ]; then
    echo "usage: sbatch slurm.sh input.json [flags of qcmb_mpi run]" >&2
    exit 2
fi

ranks=${SLURM_NTASKS:?this script is meant for sbatch}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# qcmb_mpi divides the cores of a node among its ranks, and checks it.  Bound to one core each, ranks with
# several threads would share it; every launcher has its own word for "do not bind"
# (MPICH does not by itself).
export SLURM_CPU_BIND=none
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

echo "round $((${SLURM_RESTART_COUNT:-0} + 1)) of at most $max_rounds, $ranks ranks, $(date)"

code=0
run mpirun -n "$ranks" python -m qcmb_mpi check || code=$?
if [ "$signals" -gt 0 ]; then
    code=75
elif [ "$code" -ne 0 ]; then
    echo "not started: see what check found above" >&2
    exit "$code"
else
    run mpirun -n "$ranks" python -m qcmb_mpi run "$@" || code=$?
fi

# 75: stopped early with everything saved; the same command goes on from there.
if [ "$code" -eq 75 ] && [ -z "$cancelled" ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt $((max_rounds - 1)) ]; then
        scontrol requeue "$SLURM_JOB_ID" || echo "could not requeue: submit the same job again to go on" >&2
    else
        echo "not done after $max_rounds rounds: submit the same job again to go on" >&2
    fi
fi
exit "$code"
