"""One cell to one result: loop, checkpoints, history, pairing."""
