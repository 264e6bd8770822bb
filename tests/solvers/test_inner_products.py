"""Gram matrices and cosines against exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtlbench.solvers.inner_products import cosines, gram


def whole(seed: int, tasks: int, size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return small whole numbers: their products and sums are exact in float32, whatever the order."""
    return torch.randint(-8, 9, (tasks, size), generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("size", [1, 6, 7, 8, 14, 20, 22])
def test_gram_is_exact_at_every_edge_of_a_block(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("mtlbench.solvers.inner_products.BLOCK", 7)
    rows = whole(size, 4, size)
    exact = rows.long() @ rows.long().T
    assert gram(rows).dtype == np.float64
    assert gram(rows).tolist() == exact.tolist()


@pytest.mark.parametrize("columns", [[(0, 22)], [(3, 5)], [(0, 7), (7, 14)], [(2, 9), (13, 21)], [(21, 22)]])
def test_gram_of_column_ranges(monkeypatch: pytest.MonkeyPatch, columns: list[tuple[int, int]]) -> None:
    monkeypatch.setattr("mtlbench.solvers.inner_products.BLOCK", 7)
    rows = whole(0, 3, 22)
    chosen = torch.cat([rows[:, first:last] for first, last in columns], dim=1).long()
    assert gram(rows, columns).tolist() == (chosen @ chosen.T).tolist()


def test_gram_over_real_blocks_is_close_to_float64() -> None:
    rows = torch.randn(3, 150_001, generator=torch.Generator().manual_seed(0))
    exact = (rows.double() @ rows.double().T).numpy()
    actual = gram(rows)
    norms = np.sqrt(np.diagonal(exact))
    assert np.abs((actual - exact) / np.outer(norms, norms)).max() < 1e-6
    assert actual.tolist() == actual.T.tolist()


def test_sums_over_blocks_are_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, 2²⁴ + 1 = 2²⁴: the ones after the large block would be lost."""
    monkeypatch.setattr("mtlbench.solvers.inner_products.BLOCK", 1)
    assert gram(torch.tensor([[4096.0, 1.0, 1.0, 1.0]])).tolist() == [[2.0**24 + 3.0]]


def test_cosines() -> None:
    rows = torch.tensor([[3.0, 0.0], [1.0, 1.0], [-2.0, 0.0]])
    assert cosines(gram(rows)) == pytest.approx(
        np.array([[1, 0.5**0.5, -1], [0.5**0.5, 1, -(0.5**0.5)], [-1, -(0.5**0.5), 1]]), abs=1e-7
    )


def test_cosines_of_a_zero_gradient_are_nan() -> None:
    actual = cosines(np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert actual[0, 0] == 1.0 and np.isnan(actual[[0, 1, 1], [1, 0, 1]]).all()


def test_cosines_stay_within_one() -> None:
    assert cosines(np.array([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]])).max() == 1.0
