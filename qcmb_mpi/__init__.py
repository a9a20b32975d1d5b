"""Many-body expansions of molecular clusters as a dynamic MPI work queue."""

__version__ = "0.1.0"
