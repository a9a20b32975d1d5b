import os
from qcmanybody import ParallelManyBodyComputer

# Use SLURM_CPUS_PER_TASK or similar
n_workers = int(os.environ.get('SLURM_CPUS_PER_TASK', 1))

result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True,
    n_workers=n_workers
)
