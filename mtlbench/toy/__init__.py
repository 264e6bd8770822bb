"""``mtlbench toy``: trajectories of methods on the two-dimensional toy problem, as a table, JSON and a figure."""
