"""SDMGrad: TorchJD, and the minimum of its objective."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from families import jacobians
from torchjd import aggregation as torchjd

from mtlbench import get_method, weights


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
@pytest.mark.parametrize(("lam", "iterations"), [(0.3, 20), (0.6, 3), (0.0, 1)])
def test_sdmgrad_is_torchjd(tasks: int, lam: float, iterations: int) -> None:
    """Products of ~10¹⁰, so that their 10⁻⁸ does not matter."""
    ours = get_method("sdmgrad", lam=lam, iterations=iterations)
    theirs = torchjd.SDMGradWeighting(lambda_=lam, n_iter=iterations)
    for one, other in zip(jacobians(8, tasks, 30), jacobians(9, tasks, 30), strict=True):
        cross = 1e10 * (one @ one.T + 0.3 * one @ other.T)
        wanted = theirs(cast(Any, torch.from_numpy(cross))).numpy()
        assert weights(ours, cross_gram=cross) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_sdmgrad_ends_at_the_objectives_minimum_where_its_steps_are_small() -> None:
    """For K = 2, C = diag(1, 4): min ½(w₁ + λ/2)² + 2(w₂ + λ/2)² at w₁ + λ/2 = 4(w₂ + λ/2), w₁ + w₂ = 1."""
    lam = 0.6
    wanted = np.array([0.8 * (1 + lam), 0.2 * (1 + lam)]) / (1 + lam)
    found = weights("sdmgrad", cross_gram=np.diag([1.0, 4.0]), lr=0.1, iterations=500)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_sdmgrad_keeps_its_weights_where_the_batches_disagree_on_everything() -> None:
    method = get_method("sdmgrad")
    before = weights(method, cross_gram=np.diag([1.0, 4.0]))
    assert weights(method, cross_gram=np.diag([-1.0, 0.0])).tolist() == before.tolist()
