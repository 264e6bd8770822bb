"""The packed engine: all tasks in one forward without padding, per-task gradients from one backward."""
