from qcmanybody import ManyBodyComputer

# Sequential (default) - easier to debug
result = ManyBodyComputer.from_manybodyinput(mb_input)
