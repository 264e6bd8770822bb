"""The plain sum: a published value, and TorchJD."""

from __future__ import annotations

import pytest
from families import PUBLISHED, SIZES, jacobian
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import aggregate


def test_published_value() -> None:
    assert aggregate("sum", PUBLISHED, losses=[1.0, 1.0]) == pytest.approx([2.0, 2.0, 2.0], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_sum_is_torchjd(seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, 20)
    assert aggregate("sum", rows) == pytest.approx(peer(torchjd.Sum(), rows), rel=1e-12)
