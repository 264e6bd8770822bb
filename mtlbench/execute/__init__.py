"""Where cells run: processes of this machine, Ray, SLURM or torchrun; and the scheduler that retries lost cells."""
