"""Multi-task optimization methods, one file each. See CONTRIBUTING.md for how to add one."""
