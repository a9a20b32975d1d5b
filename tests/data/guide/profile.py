import time
from qcmanybody.parallel import ExecutorConfig, MultiprocessingExecutor

# Test different worker counts
for n in [1, 2, 4, 8]:
    config = ExecutorConfig(n_workers=n)
    executor = MultiprocessingExecutor(config)

    start = time.time()
    result = ParallelManyBodyComputer.from_manybodyinput(
        mb_input, executor=executor
    )
    elapsed = time.time() - start

    print(f"{n} workers: {elapsed:.1f}s (speedup: {elapsed_1worker/elapsed:.2f}x)")
