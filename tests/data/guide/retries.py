# Conservative (default): retry failures
max_retries = 2  # Try up to 3 times total

# Aggressive: no retries (fail fast)
max_retries = 0

# Patient: many retries (for flaky resources)
max_retries = 5
