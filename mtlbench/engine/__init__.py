"""Task gradients of a step: one pass per task, packed, or lean; and the methods in your own training loop."""
