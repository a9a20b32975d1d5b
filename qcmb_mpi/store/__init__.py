"""What is kept on disk.

This level knows rows, keys and flat arrays of floats; it must not know expansions, molecules,
tasks or MPI.
"""
