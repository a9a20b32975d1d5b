# Reduce worker count
config = ExecutorConfig(n_workers=2)  # Instead of 8

# Or use sequential executor
from qcmanybody import ManyBodyComputer
result = ManyBodyComputer.from_manybodyinput(mb_input)
