# Check task count
print(f"Total tasks: {len(tasks)}")
# Need at least 2x worker count for good speedup

# Check task duration
# If tasks < 1 second each, overhead may dominate

# Try different worker counts
for n in [1, 2, 4]:
    # ... benchmark each
