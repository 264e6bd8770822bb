"""What every problem has in common: tasks, metrics, and the interface between a problem and the training loop."""
