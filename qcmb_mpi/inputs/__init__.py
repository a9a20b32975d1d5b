"""What users hand in, turned into a Problem.

One module per format: ``schema`` (QCSchema's ManyBodyInput), ``flat`` (the guide's), ``cli_input``
(QCManyBody's command line).  ``load`` and ``from_model`` are the entrance.
"""

from qcmb_mpi.inputs.load import Loaded, from_model, load
from qcmb_mpi.inputs.manybodyinput import ManyBodyInput

__all__ = ["Loaded", "ManyBodyInput", "from_model", "load"]
