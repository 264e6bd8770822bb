"""Tasks, one file each: data, a head's size, a loss, metrics and floors."""

if __name__ != "mtlbench.tasks":
    raise ImportError("this folder is imported as mtlbench.tasks, not as a package of its own")
