# BAD: More workers than tasks (wasted resources)
n_tasks = 5
n_workers = 16  # 11 workers idle

# GOOD: Workers ≤ tasks
n_workers = min(5, cpu_count)
