"""MoDo: TorchJD, and a step by hand."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from families import jacobians
from torchjd import aggregation as torchjd

from mtlbench import aggregate, get_method, weights


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
@pytest.mark.parametrize(("gamma", "rho"), [(1e-3, 0.1), (0.1, 0.0)])
def test_modo_is_torchjd(tasks: int, gamma: float, rho: float) -> None:
    ours, theirs = get_method("modo", gamma=gamma, rho=rho), torchjd.MoDoWeighting(gamma, rho)
    for one, other in zip(jacobians(8, tasks, 30), jacobians(9, tasks, 30), strict=True):
        wanted = theirs(cast(Any, torch.from_numpy(one @ other.T))).numpy()
        assert weights(ours, cross_gram=one @ other.T) == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_modo_by_hand_and_in_aggregate() -> None:
    """C λ = (1, 2)/2 and ρ λ = .05: λ = Π(½ − γ(.55, 1.05)) = ½ ± γ/4."""
    one, other, third = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 2.0]]), np.eye(2)
    assert aggregate("modo", third, further=(one, other)) == pytest.approx([0.50025, 0.49975], rel=1e-14)
