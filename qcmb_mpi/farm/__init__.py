"""Who computes what, when."""
