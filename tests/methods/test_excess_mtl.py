"""ExcessMTL: TorchJD, and values by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from assertions import answer
from families import jacobians
from oracles import softmax
from torchjd import aggregation as torchjd

from mtlbench import aggregate, get_method


@pytest.mark.parametrize("tasks", [1, 2, 5])
@pytest.mark.parametrize("step_size", [0.01, 1.0])
def test_excess_mtl_is_k_times_torchjd_with_a_baseline_of_one_step(tasks: int, step_size: float) -> None:
    """Gradients of length ~10⁴, so that their 10⁻⁷ does not matter."""
    ours = get_method("excess-mtl", step_size=step_size)
    theirs = torchjd.ExcessMTLWeighting(step_size, n_warmup_steps=1)
    for rows in jacobians(2, tasks, 40):
        wanted = tasks * theirs(torch.from_numpy(1e4 * rows)).numpy()
        assert answer(ours, torch.from_numpy(1e4 * rows)) == pytest.approx(wanted, rel=1e-6)


def test_excess_mtl_second_step_by_hand() -> None:
    """E(0) = Σ|g|: 1 and 2. Then g = (1, 0): 1/√2 over 1; and g = (0, 4): 16/√(4 + 16) over 2."""
    method = get_method("excess-mtl[step_size=2]")
    assert aggregate(method, np.array([[1.0, 0.0], [0.0, 2.0]])).tolist() == [1.0, 2.0]
    raised = np.exp(2.0 * np.array([1 / np.sqrt(2), 16 / np.sqrt(20) / 2]))
    assert aggregate(method, np.array([[1.0, 0.0], [0.0, 4.0]])) == pytest.approx(
        2 * raised / raised.sum() * [1.0, 4.0], rel=1e-12
    )


def test_excess_mtl_weights_do_not_depend_on_the_scale_of_a_loss() -> None:
    factors = np.array([[1e-10], [1.0], [1e12]])
    one, other = get_method("excess-mtl[step_size=1]"), get_method("excess-mtl[step_size=1]")
    for rows in jacobians(3, 3, 20):
        wanted = answer(one, torch.from_numpy(rows))
        found = answer(other, torch.from_numpy(factors * rows))
        assert found == pytest.approx(wanted, rel=1e-12)


def test_excess_mtl_takes_the_first_gradient_that_is_not_zero_for_its_baseline() -> None:
    method, rows = get_method("excess-mtl[step_size=1]"), np.array([[1.0, 2.0], [0.0, 0.0]])
    found = [answer(method, torch.from_numpy(rows)) for _ in range(2)]
    ratio = 1 / np.sqrt(2)
    assert found[0].tolist() == [1.0, 1.0] and found[1] == pytest.approx(2 * softmax(np.array([ratio, 0.0])))
    rows = np.array([[0.0, 0.0], [0.0, 3.0]])
    assert answer(method, torch.from_numpy(rows)) == pytest.approx(2 * softmax(np.array([ratio, 1.0])))
