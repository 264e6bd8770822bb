"""Aligned-MTL: a published value, TorchJD, and a singular value decomposition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from families import PUBLISHED, SIZES, jacobian
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import aggregate


def test_published_value() -> None:
    assert aggregate("aligned-mtl[reduction=mean]", PUBLISHED) == pytest.approx([0.2133, 0.9673, 0.9673], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
def test_aligned_mtl_is_torchjd(mode: Any, seed: int, tasks: int) -> None:
    rows, theirs = jacobian(seed, tasks, 20), torchjd.AlignedMTL(scale_mode=mode)
    assert aggregate("aligned-mtl", rows, scale_mode=mode) / tasks == pytest.approx(peer(theirs, rows), rel=1e-8)


@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
def test_aligned_gradients_are_orthogonal_and_equally_long(mode: str) -> None:
    """w = B 1 for the symmetric B with B G B = σ² I: by the singular value decomposition J = P S Qᵀ, B J = σ P Qᵀ."""
    rows = jacobian(9, 4, 20, spread=1.0)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    squares = np.sort(values**2)
    sigma = math.sqrt({"min": squares[0], "median": squares[1], "rmse": squares.mean()}[mode])
    assert aggregate("aligned-mtl", rows, scale_mode=mode) == pytest.approx(
        (sigma * left @ right).sum(axis=0), rel=1e-8
    )
