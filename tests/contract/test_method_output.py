"""Return values of a method: accepted forms, and errors that name the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from linear_model import (
    Linear,
    Median,
    ReadsGradients,
    ReadsGram,
    ReadsTwoBatches,
    Recorder,
    gradient_of,
)

from mtlbench import Observation
from mtlbench.errors import CellError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda update: update[:-1], r"update of shape \(10,\), not \(11,\)"),
        (lambda update: update[None], r"update of shape \(1, 11\), not \(11,\)"),
        (lambda update: update * torch.nan, "update that is not finite"),
        (lambda update: update / 0.0, "update that is not finite"),
        (lambda update: update.numpy(), "update that is not a torch tensor: ndarray"),
    ],
)
def test_a_bad_update_names_the_method(change: Callable[[torch.Tensor], Any], words: str) -> None:
    model = Linear()
    with pytest.raises(CellError, match=f"method median returned an {words}"):
        model.step(Median(change=change))
    assert all(parameter.grad is None for parameter in model.shared)


@pytest.mark.parametrize("method", [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches])
@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0]])
def test_bad_weights_name_the_method(method: type[Recorder], bad: Any) -> None:
    model = Linear()
    with pytest.raises(CellError, match=f"method {method.name} returned weights .*, not 3 finite numbers"):
        model.step(method(answer=bad))
    assert all(parameter.grad is None for parameter in model.shared)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "returned weights None, not 3 finite numbers"),
        ("abc", "returned weights 'abc', not 3"),
        (["1", "2", "3"], r"returned weights \['1', '2', '3'\], not 3"),
        ([1.0, [2.0], 3.0], "returned weights"),
        ({"a": 1.0}, r"returned weights \{'a': 1.0\}, not 3"),
        (np.ones(3) * 1j, r"returned weights array\(\[0.\+1.j"),
        (torch.ones(3, requires_grad=True), "returned weights tensor"),
        (torch.ones(3, dtype=torch.complex64), "returned weights tensor"),
        (ZeroDivisionError("division by zero"), r"weights\(\) raised ZeroDivisionError: division by zero"),
        (NotImplementedError(), r"weights\(\) raised NotImplementedError$"),
        (IndexError("task 3\nof 3"), r"weights\(\) raised IndexError: task 3 of 3"),
    ],
)
def test_any_bad_answer_names_the_method(bad: Any, words: str) -> None:
    class Answering(Recorder):
        def weights(self, observation: Observation) -> Any:
            if isinstance(bad, Exception):
                raise bad
            return bad

    with pytest.raises(CellError, match=f"^method recorder:? {words}") as caught:
        Linear().step(Answering())
    assert "\n" not in str(caught.value)
    assert not isinstance(bad, Exception) or caught.value.__cause__ is bad


@pytest.mark.parametrize("good", [[1, 2, 3], (True, False, True), torch.tensor([1.0, 2.0, 3.0]), np.float32([1, 2, 3])])
def test_numbers_of_any_kind_are_weights(good: Any) -> None:
    class Answering(Recorder):
        def weights(self, observation: Observation) -> Any:
            return good

    weights = Linear().step(Answering()).weights
    assert weights is not None and weights.tolist() == [float(value) for value in good]


@pytest.mark.parametrize(
    "change", [lambda update: update.to(torch.complex64), lambda update: 1 / 0, lambda update: None]
)
def test_any_bad_kind_of_update_names_the_method(change: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(
        CellError, match=r"^method median(: update\(\) raised Zero| returned an update (of|that is not))"
    ):
        Linear().step(Median(change=change))


def test_an_update_with_a_graph_is_taken_without_it() -> None:
    model = Linear()
    model.step(Median(change=lambda update: update.clone().requires_grad_() * 2.0))
    assert all(not gradient_of(parameter).requires_grad for parameter in model.shared)
