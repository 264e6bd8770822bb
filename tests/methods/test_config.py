"""ConFIG: a published value, TorchJD, and equal cosines."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import distance, lengths
from families import PUBLISHED, SIZES, jacobian
from oracles import peer
from torchjd import aggregation as torchjd

from mtlbench import aggregate


def test_published_value() -> None:
    assert aggregate("config", PUBLISHED) == pytest.approx([0.1588, 2.0706, 2.0706], abs=1e-4)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [3, 20])
def test_config_is_torchjd(size: int, seed: int, tasks: int) -> None:
    rows = jacobian(seed, tasks, size, spread=1.0)
    assert distance(aggregate("config", rows), peer(torchjd.ConFIG(), rows)) < 1e-7


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_config_has_equal_cosines(tasks: int) -> None:
    rows = jacobian(7, tasks, 20, spread=2.0)
    update = aggregate("config", rows)
    cosines = rows / lengths(rows)[:, None] @ update / np.linalg.norm(update)
    assert cosines == pytest.approx(np.full(tasks, cosines.mean()), rel=1e-9) and cosines.min() > 0.0
    assert np.linalg.norm(update) == pytest.approx(float((rows @ update).sum() / np.linalg.norm(update)), rel=1e-9)
