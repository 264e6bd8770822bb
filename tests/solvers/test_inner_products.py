"""Gram matrices and cosines against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import Matrix, TaskGradients, weights
from mtlbench.solvers.inner_products import (
    Part,
    as_gram,
    cosines,
    gram,
    gram_between,
    gram_of_parts,
    products,
)


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


# Gradients beyond the range of single precision


def oracle(first: torch.Tensor, second: torch.Tensor) -> Matrix:
    """Return inner products by Python's exact sums of products in float64, row by row."""
    return np.array(
        [[math.fsum((a * b).tolist()) for b in second.double().numpy()] for a in first.double().numpy()]
    ).reshape(len(first), len(second))


def scaled(seed: int, scales: Sequence[float], size: int, dtype: torch.dtype) -> torch.Tensor:
    draw = torch.randn(len(scales), size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (draw * torch.tensor(scales, dtype=torch.float64)[:, None]).to(dtype)


def assert_close(actual: Matrix, exact: Matrix, norms: Matrix) -> None:
    assert actual.dtype == np.float64 and np.isfinite(actual).all()
    assert (np.abs(actual - exact) <= 1e-6 * norms).all()
    assert ((actual == 0.0) == (exact == 0.0)).all()


FLOAT32 = [
    [1e-25],
    [1e25],
    [1e-40],
    [1e-25, 1.0],
    [1e-25, 1e25, 0.0],
    [1e-12, 1.0, 1e12, 1e-21],
    [1e-25] * 5,
    [0.0, 0.0],
]
HALF = [[1.0], [200.0, 1.0], [1e-6, 100.0, 0.0], [200.0] * 4, [1e-7, 1e-3, 1.0, 100.0, 0.0]]


@pytest.mark.parametrize(
    ("dtype", "scales"),
    [(dtype, scales) for dtype in (torch.float32, torch.bfloat16) for scales in FLOAT32]
    + [(torch.float16, scales) for scales in HALF],
)
@pytest.mark.parametrize("size", [1, 20, 61])
def test_products_of_tiny_and_huge_gradients(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, scales: list[float], size: int
) -> None:
    monkeypatch.setattr("mtlbench.solvers.inner_products.BLOCK", 7)
    monkeypatch.setattr("mtlbench.solvers.inner_products.CONVERTED", 2)
    rows, others = scaled(1, scales, size, dtype), scaled(2, scales, size, dtype)
    exact = oracle(rows, rows)
    lengths = np.sqrt(np.diagonal(exact))
    actual = gram(rows)
    assert_close(actual, exact, np.outer(lengths, lengths))
    nonzero = lengths > 0.0
    assert (np.diagonal(cosines(actual))[nonzero] == pytest.approx(1.0)) and np.isnan(cosines(actual)[~nonzero]).all()
    first, middle = size // 4, size // 2
    part = torch.cat([rows[:, :first], rows[:, middle:]], dim=1)
    assert_close(gram(rows, [(0, first), (middle, size)]), oracle(part, part), np.outer(lengths, lengths))
    other_lengths = np.sqrt(np.diagonal(oracle(others, others)))
    assert_close(gram_between(rows, others), oracle(rows, others), np.outer(lengths, other_lengths))


def test_half_precision_is_summed_in_single_precision() -> None:
    """In float16, 300² and in bfloat16, 256 + 1 do not exist."""
    assert gram(torch.tensor([[300.0, 1.0]], dtype=torch.float16)).tolist() == [[90001.0]]
    assert gram(torch.ones(1, 257, dtype=torch.bfloat16)).tolist() == [[257.0]]
    assert gram_between(torch.ones(1, 257, dtype=torch.bfloat16), torch.ones(2, 257).bfloat16()).tolist() == [
        [257.0] * 2
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_gradient_that_is_not_finite_stays_so_and_spoils_no_other(dtype: torch.dtype, bad: float) -> None:
    rows = scaled(0, [1e25, 1.0, 0.0, 1e-25], 9, dtype)
    rows[1, 4] = bad
    exact = oracle(rows[[0, 2, 3]], rows[[0, 2, 3]])
    actual = gram(rows)
    assert actual[np.ix_([0, 2, 3], [0, 2, 3])] == pytest.approx(exact, rel=1e-3, abs=0.0)
    assert not np.isfinite(actual[1, [0, 1, 3]]).any()
    assert not np.isfinite(gram_between(rows, rows)[1, [0, 1, 3]]).any()


@pytest.mark.parametrize("scales", [[1.0, 1e-6, 1e6], [1e-10, 1e10], [1.0, 0.0, 0.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ordinary_products_keep_the_bits_of_plain_blocks(
    monkeypatch: pytest.MonkeyPatch, scales: list[float], dtype: torch.dtype
) -> None:
    monkeypatch.setattr("mtlbench.solvers.inner_products.BLOCK", 7)
    rows = scaled(3, scales, 40, dtype)
    blocks = rows[:, :35].reshape(len(rows), 5, 7).transpose(0, 1)
    plain = torch.bmm(blocks, blocks.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    plain += (rows[:, 35:] @ rows[:, 35:].T).double()
    assert products(rows).numpy().tobytes() == plain.numpy().tobytes()
    assert gram(rows).tobytes() == as_gram(plain).tobytes()
    between = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for start in range(0, 40, 7):
        between += (rows[:, start : start + 7] @ rows.flip(0)[:, start : start + 7].T).double()
    assert gram_between(rows, rows.flip(0)).tobytes() == between.numpy().tobytes()


def test_ordinary_gradients_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms are taken only where a product is too small or too large; orthogonal gradients need them, too."""
    asked: list[torch.dtype] = []

    def counted(values: torch.Tensor, **options: Any) -> torch.Tensor:
        asked.append(values.dtype)
        return norm(values, **options)

    norm = torch.linalg.vector_norm
    monkeypatch.setattr("torch.linalg.vector_norm", counted)
    rows = scaled(4, [1.0, 1e-8, 1e8], 50, torch.float32)
    gram(rows), gram_between(rows, rows.flip(0)), gram(torch.eye(3))
    gram(torch.eye(3, dtype=torch.float64) * 1e-200), gram_between(torch.eye(3).double(), torch.eye(3).double())
    assert not asked
    assert gram_between(torch.eye(3), torch.eye(3)).tolist() == np.eye(3).tolist()
    assert gram(torch.zeros(2, 5)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert len(asked) == 6 + 2


def test_products_do_not_wait_and_take_the_precision_that_is_asked() -> None:
    rows = torch.tensor([[1e-25, 1e25]])
    assert products(rows).tolist() == [[math.inf]] and products(rows, [(0, 1)]).tolist() == [[0.0]]
    assert products(rows, dtype=torch.float64).item() == pytest.approx(1e50)
    assert products(rows.to("meta")).device.type == "meta"  # a tensor without numbers: nothing can wait for them
    assert products(rows, []).tolist() == [[0.0]]


def test_gradients_in_parts_are_computed_again_as_a_whole() -> None:
    rows = scaled(5, [1e-25, 1.0, 1e25], 30, torch.float32)
    pieces: list[Part] = [(rows[:, :10], [(0, 10)]), (rows[:, 10:].clone(), [(0, 5), (5, 20)])]
    calls = []

    def parts() -> list[Part]:
        calls.append(len(calls))
        return pieces

    assert gram_of_parts(parts) == pytest.approx(oracle(rows, rows), rel=1e-6, abs=1e-30)
    assert calls == [0, 1, 2]


def test_task_gradients_of_tiny_losses_have_their_inner_products() -> None:
    shared = torch.nn.Parameter(torch.zeros(3))
    gradients = TaskGradients([shared[0] * 1e-25, (shared[0] - shared[1]) * 1e-25], [shared])
    assert gradients.gram == pytest.approx(np.array([[1.0, 1.0], [1.0, 2.0]]) * 1e-50, rel=1e-6, abs=0.0)
    assert weights("pcgrad", gradients.gram).tolist() == [1.0, 1.0]
