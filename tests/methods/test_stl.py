"""Single-task training: as a method, the plain sum on one model per task."""

from __future__ import annotations

import numpy as np

from mtlbench import get_method, weights


def test_weights_are_one_and_models_are_separate() -> None:
    assert weights("stl", np.eye(3)).tolist() == [1.0, 1.0, 1.0]
    assert not get_method("stl").joint and get_method("stl").heads == "plain"
