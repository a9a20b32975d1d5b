# Increase retries
config = ExecutorConfig(max_retries=5)

# Reduce worker count (less contention)
config = ExecutorConfig(n_workers=2)

# Try sequential to isolate issue
from qcmanybody import ManyBodyComputer
result = ManyBodyComputer.from_manybodyinput(mb_input)
