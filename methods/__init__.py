"""Multi-task optimization methods, one per file. CONTRIBUTING.md shows how to add one."""

if __name__ != "mtlbench.methods":
    raise ImportError("this folder is imported as mtlbench.methods, not as a package of its own")
