from qcmanybody.parallel import ExecutorConfig, MultiprocessingExecutor

config = ExecutorConfig(
    n_workers=4,
    timeout_per_task=3600.0,  # 1 hour timeout per task
    max_retries=3,  # Retry failed tasks up to 3 times
    log_level="INFO"
)

executor = MultiprocessingExecutor(config)
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    executor=executor
)
