"""The packed engine: all tasks' batches in one forward without padding, per-task gradients from one backward."""
