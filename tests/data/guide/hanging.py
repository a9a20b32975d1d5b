# Increase timeout
config = ExecutorConfig(
    timeout_per_task=7200.0,  # 2 hours
    max_retries=1
)

# Enable debug logging
config = ExecutorConfig(log_level="DEBUG")

# Check logs for failed tasks
# Look for patterns in failures
