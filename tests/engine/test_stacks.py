"""mtlbench.weights on many matrices at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import Method, Observation, SolverError, UsageError, Vector, get_method, weights
from mtlbench.engine.library import _registry

DRAW = np.random.default_rng(3)
ROWS = DRAW.normal(size=(2, 3, 4, 6))
GRAMS = ROWS @ ROWS.swapaxes(-1, -2)
LOSSES = DRAW.uniform(0.2, 2.0, (2, 3, 4))
PLACES = list(np.ndindex(2, 3))
STATE = {"cr-mogm-pcgrad", "dwa", "famo", "gradnorm", "gradvac", "imtl-l", "metabalance", "pcd", "stch", "uw"}
"""Methods of inner products or losses that keep state between steps."""


def names(reads: str) -> list[str]:
    methods = [_registry().method(name) for name in _registry().catalogue()]
    return [method.name for method in methods if method.reads == reads and method.returns == "weights"]


@pytest.mark.parametrize("name", sorted({*names("gram"), *names("losses")} - STATE))
def test_each_row_is_that_of_a_call_of_its_own(name: str) -> None:
    gram = GRAMS if name in names("gram") else None
    got = weights(name, gram, losses=LOSSES)
    assert got.shape == LOSSES.shape and got.dtype == np.float64
    for place in PLACES:
        single = weights(name, None if gram is None else gram[place], losses=LOSSES[place])
        np.testing.assert_allclose(got[place], single, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(STATE))
def test_methods_with_state_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError) as error:
        weights(name, GRAMS, losses=LOSSES)
    assert str(error.value) == (
        f"method {name} keeps state between steps, so each matrix needs a method of its own: give one matrix at a "
        "time, each to its own object from get_method, or use mtlbench.batched.batched"
    )


def test_one_seed_for_all_or_one_for_each() -> None:
    same = weights("rlw", losses=LOSSES, seed=5)
    assert (same == weights("rlw", losses=LOSSES[0, 0], seed=5)).all()
    for seeds in (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]):
        each = weights("pcgrad", GRAMS - 0.5, seed=seeds)  # type: ignore[arg-type]
        for number, place in enumerate(PLACES):
            np.testing.assert_allclose(each[place], weights("pcgrad", GRAMS[place] - 0.5, seed=number), rtol=1e-12)


def test_an_object_that_draws_is_called_in_turn() -> None:
    method, other = get_method("rlw", seed=2), get_method("rlw", seed=2)
    got = weights(method, losses=LOSSES)
    assert got.tolist() == [[weights(other, losses=row).tolist() for row in rows] for rows in LOSSES]
    assert (weights(method, losses=LOSSES) != got).all()


@dataclass
class Counting(Method):
    """Weighs the n-th call by n: a method without a batched form, whose state is not declared."""

    name = "counting"
    calls = 0

    def weights(self, observation: Observation) -> Vector:
        self.calls += 1
        return np.full(observation.tasks, float(self.calls))


def test_a_method_of_ones_own() -> None:
    assert weights(Counting(), GRAMS)[..., 0].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize("method", ["mgda", get_method("mgda"), "rlw", get_method("rlw"), Counting()])
def test_no_matrices_at_all(method: Any) -> None:
    assert weights(method, np.empty((0, 3, 3)), losses=np.empty((0, 3))).shape == (0, 3)


def test_tensors_and_lists() -> None:
    graph = torch.tensor(GRAMS, dtype=torch.float64, requires_grad=True)
    np.testing.assert_array_equal(weights("mgda", graph), weights("mgda", GRAMS))
    np.testing.assert_array_equal(weights("mgda", GRAMS.tolist()), weights("mgda", GRAMS))
    losses = [torch.tensor([1.0, 2.0]), torch.tensor([4.0, 0.0])]
    assert weights("si", losses=losses).tolist() == [[1.0, 0.5], [0.25, 1e8]]


BAD = GRAMS.copy()
BAD[1, 2, 0, 0] = np.nan
UNBALANCED = np.outer([3.0, 3.0, 2.0], [3.0, 3.0, 2.0]) * [[1.0, 0.0, 0.7], [0.0, 1.0, 0.7], [0.7, 0.7, 1.0]]
REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("nan", lambda: weights("mgda", BAD), UsageError, r"^gram\[1, 2\]: method mgda: gram must be finite, got"),
    ("nan in turn", lambda: weights(Counting(), BAD), UsageError, r"^gram\[1, 2\]: method counting: gram must be"),
    ("loss", lambda: weights("si", losses=[[1.0], [-1.0]]), UsageError, r"^losses\[1\]: method si takes logarithms"),
    (
        "no solution",
        lambda: weights("imtl-g", np.stack([np.eye(3), UNBALANCED])),
        SolverError,
        r"^gram\[1\]: imtl-g: no weights that sum to 1 have equal projections",
    ),
    ("wide", lambda: weights("mgda", np.ones((2, 3, 4))), UsageError, r"gram must be K × K matrices, got shape \(2, 3"),
    (
        "rows",
        lambda: weights("mgda", GRAMS, losses=LOSSES[0]),
        UsageError,
        r"losses of shape \(3, 4\) do not fit gram: give \(…, K\) losses, one row per matrix",
    ),
    (
        "one matrix",
        lambda: weights("mgda", GRAMS[0, 0], losses=LOSSES),
        UsageError,
        r"gram must be K × K matrices, as many as there are rows of losses, got shape \(4, 4\)",
    ),
    (
        "seeds",
        lambda: weights("rlw", losses=LOSSES, seed=[1, 2]),
        UsageError,
        r"the seed must be a whole number, or one for each matrix, of shape \(2, 3\), not \[1, 2\]",
    ),
    (
        "half seeds",
        lambda: weights("rlw", losses=LOSSES[0], seed=[0.5, 1.5, 2.5]),  # type: ignore[list-item]
        UsageError,
        "the seed must be a whole number, or one for each matrix",
    ),
    ("object", lambda: weights(get_method("rlw"), losses=LOSSES[0], seed=[1, 2, 3]), UsageError, "already a method"),
    ("few", lambda: weights("krum", GRAMS[..., :2, :2]), UsageError, "method krum needs at least 4 tasks, got 2"),
    ("two batches", lambda: weights("modo", GRAMS), UsageError, "method modo reads cross_gram"),
    ("rank", lambda: weights("graddrop", GRAMS), UsageError, "method graddrop reads whole gradients"),
]


@pytest.mark.parametrize(("case", "call", "error", "words"), REFUSED, ids=[case for case, *_ in REFUSED])
def test_what_is_wrong_is_one_line(case: str, call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert re.search(words, str(caught.value)) and "\n" not in str(caught.value)
    assert type(caught.value) is error
