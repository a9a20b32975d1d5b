"""What users hand in, turned into a Problem."""
