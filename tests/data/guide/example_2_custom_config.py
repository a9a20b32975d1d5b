from qcmanybody import ParallelManyBodyComputer
from qcmanybody.parallel import ExecutorConfig, MultiprocessingExecutor

# Heavy calculation with long-running tasks
config = ExecutorConfig(
    n_workers=8,
    timeout_per_task=7200.0,  # 2 hours per task
    max_retries=3,
    log_level="INFO"
)

executor = MultiprocessingExecutor(config)

result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    executor=executor
)
