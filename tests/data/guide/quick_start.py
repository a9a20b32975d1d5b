from qcmanybody import ParallelManyBodyComputer
from qcmanybody.parallel import ExecutorConfig, MultiprocessingExecutor

# Option 1: Simple - auto-detect CPU cores
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True
)

# Option 2: Specify worker count
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True,
    n_workers=4
)

# Option 3: Full control with custom executor
config = ExecutorConfig(
    n_workers=4,
    timeout_per_task=1800.0,  # 30 minutes per task
    max_retries=2
)
executor = MultiprocessingExecutor(config)
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    executor=executor
)
