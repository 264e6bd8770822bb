"""Solvers of many small convex problems at once, in float64: the problems of :mod:`mtlbench.solvers`, vectorised.

They return solutions with the violation of each problem's optimality conditions. The caller decides what to do with
those that are not solved: batched methods give them to the single solver.
"""
