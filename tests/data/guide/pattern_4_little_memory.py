# Use fewer workers to reduce memory usage
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True,
    n_workers=2  # Even on 8-core system
)
