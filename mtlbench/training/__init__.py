"""From one cell to its result: training loop, checkpoints, history, pairing."""
