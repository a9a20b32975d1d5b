#!/bin/bash
# input.json under PBS: a many-body expansion that goes on by itself until it is done.
#
#     qsub pbs.sh                                      in the folder of this file
#     python3 -m qcmb_mpi status input.checkpoint.h5   how far is it?
#     qdel JOBID                                       ends it; what is computed is kept
#
# What the queue is asked for (here and not on the command line, since later rounds know this file only):
#
#PBS -N input
#PBS -l select=2:ncpus=32:mpiprocs=32:mem=64gb
#PBS -l walltime=24:00:00
#PBS -j oe

# --- what the site needs: the Python with qcmb_mpi in it, an MPI library, other programs -------------
module load openmpi
export PATH="$HOME/venv/bin:$PATH"

# --- the job -----------------------------------------------------------------------------------------
input=input.json
flags=() # of qcmb_mpi run, such as --max-retries 3
max_rounds=20 # a job that is not done after so many time limits stops
ranks=$(wc -l <"${PBS_NODEFILE:?this script is meant for qsub}")
threads=1 # cores of each rank: ncpus divided by mpiprocs
launch=(mpiexec -n "$ranks" --hostfile "$PBS_NODEFILE")
python=$(command -v python3) # its whole path, since not every launcher hands PATH on to other nodes

# --- from here on nothing has to be changed ----------------------------------------------------------

script=pbs.sh # this file, which submits itself again
cd "${PBS_O_WORKDIR:?this script is meant for qsub}" || exit 2
for file in "$script" "$input"; do
    if [ ! -f "$file" ]; then
        echo "there is no $file in $PWD: submit this script in its own folder, under its own name" >&2
        exit 2
    fi
done
round=${ROUND:-1}

# PBS gives no notice of the time limit, so qcmb_mpi is told how much is left and stops half a minute before.
time_left() {
    local limit
    # The server knows best: the limit may have been changed.
    limit=$(qstat -f "$PBS_JOBID" 2>/dev/null </dev/null | awk '/Resource_List.walltime =/ { print $3 }')
    limit=${limit:-${PBS_WALLTIME:-24:00:00}}
    if [[ $limit =~ ^([0-9]+):([0-9]+):([0-9]+)$ ]]; then
        limit=$((10#${BASH_REMATCH[1]} * 3600 + 10#${BASH_REMATCH[2]} * 60 + 10#${BASH_REMATCH[3]}))
    fi
    echo $((limit - SECONDS))
}

export OMP_NUM_THREADS=$threads
# qcmb_mpi divides the cores of a node among its ranks, and checks it. Bound to one core each, ranks with
# several threads would share it; every launcher has its own word for "do not bind" (MPICH does not).
export PRTE_MCA_hwloc_default_binding_policy=none # Open MPI 5
export OMPI_MCA_hwloc_base_binding_policy=none    # Open MPI 4
export I_MPI_PIN=off                              # Intel MPI

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
    run "${launch[@]}" "$python" -m qcmb_mpi run "$input" "${flags[@]}" --walltime "$(time_left)" || code=$?
fi

# 75: stopped early with everything saved; the same command goes on from there.
if [ "$code" -eq 75 ] && [ -z "$cancelled" ]; then
    if [ "$round" -ge "$max_rounds" ]; then
        echo "not done after $max_rounds rounds: submit the same job again to go on" >&2
    elif ! qsub -v "ROUND=$((round + 1))" "$script" </dev/null; then
        echo "could not queue the job again: submit it by hand to go on" >&2
    fi
fi
exit "$code"
