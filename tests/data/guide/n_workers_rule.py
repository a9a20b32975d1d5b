import os

# Get physical core count (not hyperthreads)
n_cores = os.cpu_count() // 2  # Divide by 2 if hyperthreading

# Conservative: leave 1 core for system
n_workers = max(1, n_cores - 1)
