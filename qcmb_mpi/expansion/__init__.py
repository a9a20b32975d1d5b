"""The arithmetic of the many-body expansion: numpy only, no I/O, no quantum chemistry."""
