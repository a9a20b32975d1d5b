"""What users get to see."""
