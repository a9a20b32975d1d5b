from qcmanybody import ParallelManyBodyComputer

# Auto-detect CPU cores
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True
)
