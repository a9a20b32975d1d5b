#!/bin/bash
# input.json under Slurm: a many-body expansion that goes on by itself until it is done.
#
#     sbatch slurm.sh                                  in the folder of this file
#     python3 -m qcmb_mpi status input.checkpoint.h5   how far is it?
#     scancel JOBID                                    ends it; what is computed is kept
#
# What the queue is asked for (here and not on the command line, since later rounds know this file only):
#
#SBATCH --job-name=input
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=32
#SBATCH --cpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --mem=64G
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# 120 s before the limit this shell gets SIGUSR1 and passes it on: the job saves and is queued again.
# (B: is for this shell. Sent to all, it would end the helpers that mpiexec keeps on the other nodes.)
#SBATCH --signal=B:USR1@120
#SBATCH --requeue

# --- what the site needs: the Python with qcmb_mpi in it, an MPI library, other programs -------------
module load openmpi
export PATH="$HOME/venv/bin:$PATH"

# --- the job -----------------------------------------------------------------------------------------
input=input.json
flags=() # of qcmb_mpi run, such as --max-retries 3
max_rounds=20 # a job that is not done after so many time limits stops
ranks=${SLURM_NTASKS:?this script is meant for sbatch}
threads=${SLURM_CPUS_PER_TASK:-1}
launch=(mpiexec -n "$ranks")
python=$(command -v python3) # its whole path, since not every launcher hands PATH on to other nodes

# --- from here on nothing has to be changed ----------------------------------------------------------

if [ ! -f "$input" ]; then
    echo "there is no $input in $PWD: submit this script in its own folder" >&2
    exit 2
fi
round=$((${SLURM_RESTART_COUNT:-0} + 1))

export OMP_NUM_THREADS=$threads
# qcmb_mpi divides the cores of a node among its ranks, and checks it. Bound to one core each, ranks with
# several threads would share it; every launcher has its own word for "do not bind" (MPICH does not).
export PRTE_MCA_hwloc_default_binding_policy=none # Open MPI 5
export OMPI_MCA_hwloc_base_binding_policy=none    # Open MPI 4
export I_MPI_PIN=off                              # Intel MPI
export SLURM_CPU_BIND=none                        # srun

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

echo "round $round of at most $max_rounds, $ranks ranks, $(date)"
code=0
run "${launch[@]}" "$python" -m qcmb_mpi check || code=$?
if [ "$signals" -gt 0 ]; then
    code=75
elif [ "$code" -ne 0 ]; then
    echo "not started: see what check found above" >&2
else
    run "${launch[@]}" "$python" -m qcmb_mpi run "$input" "${flags[@]}" || code=$?
fi

# 75: stopped early with everything saved; the same command goes on from there.
if [ "$code" -eq 75 ] && [ -z "$cancelled" ]; then
    if [ "$round" -ge "$max_rounds" ]; then
        echo "not done after $max_rounds rounds: submit the same job again to go on" >&2
    elif ! scontrol requeue "$SLURM_JOB_ID"; then
        echo "could not queue the job again: submit it by hand to go on" >&2
    fi
fi
exit "$code"
