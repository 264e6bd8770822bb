"""Compute the task gradients of a step: in one pass per task, packed, or lean; also in your own training loop."""
