"""Cosine gate: values by hand, and its guarantee for the main task."""

from __future__ import annotations

import numpy as np
import pytest
from assertions import assert_refuses_unknown_main_task
from families import jacobian

from mtlbench import aggregate, weights


def test_cosine_gate_by_hand() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 0.0], [-1.0, -1.0], [-4.0, 3.0], [0.0, 0.0]])
    gram = rows @ rows.T
    assert weights("cosine-gate", gram).tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert weights("cosine-gate[weighted=true]", gram) == pytest.approx([1.0, 0.6, 0.0, 0.0, 0.0])
    assert weights("cosine-gate[main=2]", gram).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert weights("cosine-gate[main=4,weighted=true]", gram).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("main", range(5))
def test_cosine_gate_never_opposes_the_main_task(main: int, weighted: bool) -> None:
    for seed in range(20):
        rows = jacobian(seed, 5, 6, spread=2.0)
        update = aggregate("cosine-gate", rows, main=main, weighted=weighted)
        assert rows[main] @ update >= rows[main] @ rows[main] * (1 - 1e-12)


def test_a_main_task_that_does_not_exist_is_refused() -> None:
    assert_refuses_unknown_main_task("cosine-gate")
