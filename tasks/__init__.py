"""Tasks, one per file: data, size of the head, loss and metrics."""

if __name__ != "mtlbench.tasks":
    raise ImportError("this folder is imported as mtlbench.tasks, not as a package of its own")
