"""One task in, one answer out."""
