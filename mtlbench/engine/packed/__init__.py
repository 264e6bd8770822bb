"""The packed engine: run all tasks in one forward without padding, and get per-task gradients from one backward."""
