"""STS-B: its targets and losses."""

from __future__ import annotations

import numpy as np
import pytest
from task_faults import make

from mtlbench.contract.task import Rows, Splits


class TestSimilarity:
    labels = np.array([0.0, 1.0, 5.0, 4.0])
    rows = Rows([("a", "b")] * 4, labels)
    splits = Splits(rows, rows, "here")

    def test_targets_are_standardised_or_raw(self) -> None:
        standardised = make("stsb").targets(self.splits, self.labels)
        assert standardised.mean() == pytest.approx(0, abs=1e-6) and standardised.std() == pytest.approx(1)
        raw = make("stsb[target=raw]").targets(self.splits, self.labels)
        assert raw.dtype == np.float32
        np.testing.assert_array_equal(raw, self.labels)

    def test_pearson_loss_is_one_minus_pearson(self) -> None:
        torch = pytest.importorskip("torch")
        outputs = torch.tensor([[0.3], [0.1], [2.0], [0.7]], dtype=torch.float64)
        expected = 1 - np.corrcoef(outputs[:, 0], self.labels)[0, 1]
        task = make("stsb[loss_function=pearson]")
        assert task.loss(outputs, torch.from_numpy(self.labels)).item() == pytest.approx(expected)
        assert task.loss(7 * outputs - 3, torch.from_numpy(self.labels)).item() == pytest.approx(expected)

    def test_pearson_loss_of_constant_outputs_and_of_one_row_is_finite(self) -> None:
        torch = pytest.importorskip("torch")
        task = make("stsb[loss_function=pearson]")
        for size in (1, 4):
            outputs = torch.ones(size, 1, requires_grad=True)
            loss = task.loss(outputs, torch.arange(size).float())
            (gradient,) = torch.autograd.grad(loss, outputs)
            assert loss.item() == 1.0 and torch.isfinite(gradient).all()

    def test_mse_loss(self) -> None:
        torch = pytest.importorskip("torch")
        assert make("stsb").loss(torch.zeros(2, 1), torch.tensor([1.0, 3.0])).item() == 5.0
