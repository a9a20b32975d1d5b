# Laptop (4 cores, 8 GB RAM)
n_workers = 2

# Workstation (16 cores, 64 GB RAM)
n_workers = 8

# HPC node (64 cores, 256 GB RAM)
n_workers = 32
