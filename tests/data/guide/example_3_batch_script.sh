#!/bin/bash
#SBATCH --job-name=qcmb_parallel
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --mem=64GB

# Load modules
module load python/3.11
module load psi4/1.8

# Activate environment
source ~/.venvs/qcmanybody/bin/activate

# Run with parallel execution
qcmanybody run input.json \
    --parallel \
    --n-workers $SLURM_CPUS_PER_TASK \
    --output results.json
