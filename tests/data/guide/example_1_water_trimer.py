from qcmanybody import ParallelManyBodyComputer, ManyBodyInput
from qcelemental.models import Molecule

# Water trimer
mol = Molecule(
    symbols=["O", "H", "H"] * 3,
    geometry=...,  # coordinates
    fragments=[[0,1,2], [3,4,5], [6,7,8]]
)

mb_input = ManyBodyInput(
    molecule=mol,
    driver="energy",
    specification={
        "program": "psi4",
        "method": "mp2",
        "basis": "cc-pvdz"
    },
    keywords={
        "max_nbody": 3,
        "bsse_type": ["cp"]
    }
)

# Parallel execution
result = ParallelManyBodyComputer.from_manybodyinput(
    mb_input,
    parallel=True,
    n_workers=4
)

print(f"Total energy: {result.ret_energy}")
