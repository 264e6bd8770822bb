"""Multi-task optimization methods, one file each. See CONTRIBUTING.md for how to add one."""

if __name__ != "mtlbench.methods":
    raise ImportError("this folder is imported as mtlbench.methods, not as a package of its own")
