"""Problems, one per file: tasks, data and a model."""

if __name__ != "mtlbench.problems":
    raise ImportError("this folder is imported as mtlbench.problems, not as a package of its own")
