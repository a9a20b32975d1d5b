"""``python -m qcmb_mpi``."""

import sys

from qcmb_mpi.cli import main

if __name__ == "__main__":
    sys.exit(main())
