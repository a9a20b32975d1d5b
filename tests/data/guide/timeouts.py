# Small molecules (HF/STO-3G): 1-10 seconds
timeout_per_task = 60.0  # 1 minute buffer

# Medium molecules (MP2/cc-pVDZ): 1-10 minutes
timeout_per_task = 1800.0  # 30 minutes

# Large molecules (CCSD/cc-pVTZ): hours
timeout_per_task = 14400.0  # 4 hours
