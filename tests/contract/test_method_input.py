"""Input of a method: only what it reads, and Gram matrices from single precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from linear_model import (
    Linear,
    ReadsGram,
    ReadsTwoBatches,
    Recorder,
)

from mtlbench import Matrix
from mtlbench.contract.method_input import observe
from mtlbench.errors import UsageError
from mtlbench.solvers.inner_products import gram


def test_a_method_is_shown_only_what_it_reads() -> None:
    for method, absent in [(Recorder(), "gram"), (ReadsTwoBatches(), "gradients"), (ReadsGram(), "gradients")]:
        Linear().step(method, measure=True)
        with pytest.raises(UsageError, match=f"{absent} were not given"):
            getattr(method.observed, absent)


def observed(rows: Sequence[Sequence[float]]) -> Matrix:
    return observe(ReadsGram(), gram=gram(torch.tensor(rows))).gram


def test_a_tiny_gradient_beside_a_long_one_is_a_gram_matrix() -> None:
    """‖g₂‖² = 10⁻⁴⁸ is 0 in single precision, ⟨g₁, g₂⟩ = 10⁻²⁴ is not: the engine's matrix must be accepted."""
    assert observed([[1.0, 0.0], [1e-24, 0.0]]) == pytest.approx(
        np.array([[1, 1e-24], [1e-24, 1e-48]]), rel=1e-6, abs=0
    )
    assert np.isfinite(observed([[3.0, 0.0], [3e-23, 1e-23]])).all()
