"""The batched controls equal single calls, with zero, tiny, huge and cancelling gradients."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench import get_method
from mtlbench.batched import OneByOne, batched, has_form


@pytest.mark.parametrize("tasks", [2, 3, 8])
@pytest.mark.parametrize(
    "name",
    ["log-sum", "unit-step-sum", *(f"unit-gradients[length={length}]" for length in ("one", "mean", "max", "sum"))],
)
def test_a_control_equals_single_calls(name: str, tasks: int) -> None:
    random = np.random.default_rng(tasks)
    gradients = random.normal(size=(40, tasks, 5)) * 10.0 ** random.uniform(-3.0, 3.0, size=(40, tasks, 1))
    gradients[0] = 0.0
    gradients[1:6, 0] = 0.0
    gradients[6:9, 1] = -gradients[6:9, 0]
    gradients[6:9, 2:] = 0.0
    gradients[9] *= 1e-150
    gradients[10] *= 1e150
    gram = np.einsum("bkp,blp->bkl", gradients, gradients)
    losses = random.uniform(0.1, 10.0, size=(40, tasks))
    method = get_method(name)
    assert has_form(method)
    expected = OneByOne(method, range(40)).weights(losses, gram)
    np.testing.assert_allclose(batched(method, range(40)).weights(losses, gram), expected, rtol=1e-9, atol=0.0)
    cancelled = expected[7]
    assert cancelled.any() != (name in ("unit-step-sum", "unit-gradients[length=sum]"))
