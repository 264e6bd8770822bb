"""Solvers of many small convex problems at once, in float64: the problems of :mod:`mtlbench.solvers`, vectorised.

They return solutions with the violation of each problem's optimality conditions. Batched methods give the problems
whose violation is above :data:`PRECISE` to the single solver, which accepts or rejects them.
"""

PRECISE = 1e-11
"""Far below :data:`mtlbench.solvers.TOLERANCE`, so that solutions agree with those of the single solver, too."""
