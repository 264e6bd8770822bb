"""Task gradients of a step: one pass a task, packed, or lean; and in anyone's own training loop."""
