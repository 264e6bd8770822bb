"""Trimmed mean: TorchJD, and the median of three."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import jacobian
from torchjd import aggregation as torchjd

from mtlbench import UsageError, aggregate


@pytest.mark.parametrize(("trim", "tasks"), [(0, 1), (0, 4), (1, 3), (1, 6), (2, 5), (3, 16)])
def test_trimmed_mean_is_that_of_torchjd(trim: int, tasks: int) -> None:
    rows = jacobian(trim, tasks, 30, spread=2.0)
    wanted = torchjd.TrimmedMean(trim)(torch.from_numpy(rows)).numpy()
    assert aggregate("trimmed-mean", rows, trim=trim) == pytest.approx(wanted, rel=1e-12)


def test_trimmed_mean_of_three_is_the_median_in_every_block_of_columns() -> None:
    rows = jacobian(0, 3, 140_001)
    assert aggregate("trimmed-mean", rows) == pytest.approx(np.median(rows, axis=0), rel=1e-15)


@pytest.mark.parametrize(("spec", "tasks", "least"), [("trimmed-mean", 2, 3)])
def test_too_few_tasks_are_refused(spec: str, tasks: int, least: int) -> None:
    with pytest.raises(UsageError, match=f"needs at least {least} tasks, got {tasks}"):
        aggregate(spec, jacobian(0, tasks, 5))
