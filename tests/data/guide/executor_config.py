from qcmanybody.parallel import ExecutorConfig

config = ExecutorConfig(
    # Worker count
    n_workers=None,  # None = auto-detect CPU count

    # Timeout settings
    timeout_per_task=3600.0,  # Seconds, default = 1 hour

    # Retry settings
    max_retries=2,  # Number of retry attempts, default = 2

    # Checkpointing (future)
    checkpoint_interval=10,  # Save every N tasks
    checkpoint_file="checkpoint.json",  # Checkpoint file path

    # Caching (future)
    cache_dir=None,  # Directory for result cache

    # Logging
    log_level="INFO"  # DEBUG, INFO, WARNING, ERROR
)
