"""Single-task learning: one model per task, the reference of Δm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtlbench import Method, Observation, Vector


@dataclass
class SingleTask(Method):
    """Single-task baseline: one model per task, on the same schedule restricted to that task.

    Every model starts from the same encoder and its task's head, and trains for the same number of optimizer steps on
    the batches and dropout masks that the task has in the multi-task runs of the same seed.
    """

    name = "stl"
    reads = "losses"
    scale = "sum"
    properties = frozenset({"homogeneous", "linear under scaling"})
    joint = False
    source = "Vandenhende et al., Multi-Task Learning for Dense Prediction Tasks: A Survey, TPAMI 2021 (the measure Δm)"

    def weights(self, observation: Observation) -> Vector:
        return np.ones(observation.tasks)
