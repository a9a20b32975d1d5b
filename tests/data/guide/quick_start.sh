# Enable parallel execution with auto-detect
qcmanybody run input.json --parallel

# Specify number of workers
qcmanybody run input.json --parallel --n-workers 4

# Configure via input file
qcmanybody run input.json  # Uses execution settings from file
