"""Problems that fail: their rows are NaN from then on, the error is that of the single call, the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from stacks_of_grams import grams_of

from mtlbench import CellError, Method, Observation, SolverError, UsageError, Vector, get_method, weights
from mtlbench.batched import OneByOne, batched

GRAMS = grams_of(np.random.default_rng(4).normal(size=(4, 3, 5)))
LOSSES = np.random.default_rng(5).uniform(0.5, 2.0, (4, 3))

UNBALANCED = np.outer([3.0, 3.0, 2.0], [3.0, 3.0, 2.0]) * [[1.0, 0.0, 0.7], [0.0, 1.0, 0.7], [0.7, 0.7, 1.0]]
"""IMTL-G's β = (15, 15, −20) over the norms adds to 0: no weights sum to 1."""


def spoiled(values: np.ndarray, problem: int, value: Any) -> np.ndarray:
    copy = values.copy()
    copy[problem] = value
    return copy


CASES: list[tuple[str, np.ndarray, np.ndarray]] = [
    ("mgda", LOSSES, spoiled(GRAMS, 2, np.nan)),
    ("cagrad", LOSSES, spoiled(GRAMS, 2, np.inf)),
    ("pcgrad", LOSSES, spoiled(GRAMS, 2, [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])),
    ("nash-mtl", LOSSES, spoiled(GRAMS, 2, [[1.0, 0.5, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]])),
    ("nash-mtl", LOSSES, spoiled(GRAMS, 2, -np.eye(3))),
    ("gradnorm", spoiled(LOSSES, 2, np.nan), GRAMS),
    ("si", spoiled(LOSSES, 2, -1.0), GRAMS),
    ("uw", spoiled(LOSSES, 2, -1.0), GRAMS),
    ("imtl-l", spoiled(LOSSES, 2, -1.0), GRAMS),
    ("famo", spoiled(LOSSES, 2, -1.0), GRAMS),
    ("dwa[window=1]", spoiled(LOSSES, 2, -1.0), GRAMS),
    ("si", spoiled(LOSSES, 2, [1e-320, 1.0, 1.0]), GRAMS),
    ("log-mgda", spoiled(LOSSES, 2, np.inf), GRAMS),
    ("imtl-g", LOSSES, spoiled(GRAMS, 2, UNBALANCED)),
]


@pytest.mark.parametrize("form", [batched, OneByOne])
@pytest.mark.parametrize(("name", "losses", "grams"), CASES)
def test_a_failed_problem_is_nan_and_the_others_go_on(
    name: str, losses: np.ndarray, grams: np.ndarray, form: Callable[..., Any]
) -> None:
    whole, spared = form(get_method(name), range(4)), batched(get_method(name), [0, 1, 3])
    for given_losses, given in ((losses, grams), (LOSSES, GRAMS), (LOSSES, GRAMS)):
        got = whole.weights(given_losses, given)
        assert list(whole.failures) == [2] and np.isnan(got[2]).all()
        keep = [0, 1, 3]
        np.testing.assert_allclose(got[keep], spared.weights(given_losses[keep], given[keep]), rtol=1e-12)
        whole.after_step(LOSSES / 2)
        spared.after_step(LOSSES[keep] / 2)
    with pytest.raises((UsageError, SolverError, CellError)) as single, np.errstate(all="ignore"):
        weights(get_method(name), grams[2], losses=losses[2])
    assert type(whole.failures[2]) is single.type and str(whole.failures[2]) == str(single.value)


def test_losses_after_the_step_that_are_not_finite_fail_their_problem() -> None:
    form, oracle = batched(get_method("famo"), range(4)), OneByOne(get_method("famo"), range(4))
    for copies in (form, oracle):
        copies.weights(LOSSES)
        copies.after_step(spoiled(LOSSES, 1, np.inf))
        assert np.isnan(copies.weights(LOSSES)[1]).all()
    assert str(form.failures[1]) == str(oracle.failures[1])
    assert "after_step takes 3 finite losses" in str(form.failures[1])


@dataclass
class Sulking(Method):
    """Refuses some problems, and answers NaN to others: a method without a batched form."""

    name = "sulking"

    def weights(self, observation: Observation) -> Vector:
        if observation.gram[0, 0] > 50.0:
            raise RuntimeError("too long")
        return np.full(observation.tasks, np.nan if observation.gram[0, 0] > 20.0 else 2.0)


def test_a_foreign_method_is_called_one_by_one() -> None:
    grams = np.stack([np.eye(2) * factor for factor in (1.0, 30.0, 60.0)])
    form = batched(Sulking(), [0, 1, 2])
    assert type(form) is OneByOne
    assert form.weights(gram=grams)[0].tolist() == [2.0, 2.0]
    assert "returned weights [nan, nan], not 2 finite numbers" in str(form.failures[1])
    assert "sulking: weights() raised RuntimeError: too long" in str(form.failures[2])
    assert all(isinstance(error, CellError) for error in form.failures.values())


WHOLE: list[tuple[str, Callable[[], Any], str]] = [
    ("losses", lambda: batched(get_method("si"), [0]).weights(), "method si reads the losses: give losses"),
    ("gram", lambda: batched(get_method("mgda"), [0]).weights(np.ones((1, 2))), "method mgda reads the Gram matrix"),
    ("nothing", lambda: batched(get_method("sum"), [0]).weights(), "method sum: give losses or gram"),
    (
        "problems",
        lambda: batched(get_method("si"), [0, 1]).weights(np.ones((3, 2))),
        "method si: losses must be of shape (2, 2), not (3, 2)",
    ),
    ("tasks", lambda: batched(get_method("krum"), [0]).weights(gram=np.ones((1, 2, 2))), "needs at least 4 tasks"),
    ("main", lambda: batched(get_method("cosine-gate[main=5]"), [0]).weights(gram=np.ones((1, 2, 2))), "main=5 counts"),
    ("main", lambda: batched(get_method("metabalance[main=5]"), [0]).weights(gram=np.ones((1, 2, 2))), "main=5 counts"),
    ("fixed", lambda: batched(get_method("fixed[w=1:2]"), [0]).weights(np.ones((1, 3))), "2 numbers for 3 tasks"),
    ("gradients", lambda: batched(get_method("graddrop"), [0]), "method graddrop reads gradients; only methods that"),
    ("two batches", lambda: batched(get_method("modo"), [0]), "method modo reads cross_gram; only methods that"),
]


@pytest.mark.parametrize(("case", "call", "words"), WHOLE, ids=[case for case, _, _ in WHOLE])
def test_what_is_wrong_for_all_problems_is_one_line(case: str, call: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_number_of_tasks_is_fixed_by_the_first_step() -> None:
    form = batched(get_method("pcgrad"), [0])
    form.weights(gram=np.eye(2)[None])
    with pytest.raises(UsageError, match=r"gram must be of shape \(1, 2, 2\), not \(1, 3, 3\)"):
        form.weights(gram=np.eye(3)[None])
    with pytest.raises(UsageError, match=r"of the shape of those before it, \(1, 2\), not \(1, 3\)"):
        form.after_step(np.ones((1, 3)))


@pytest.mark.parametrize("form", [batched, OneByOne])
def test_famo_needs_the_losses_after_every_step(form: Callable[..., Any]) -> None:
    famo = form(get_method("famo"), [0])
    with pytest.raises(UsageError, match="losses after the step must be of the shape of those before it"):
        famo.after_step(np.ones((1, 2)))
    famo.weights(np.ones((1, 2)))
    if form is batched:
        with pytest.raises(UsageError, match=r"call method\.after_step"):
            famo.weights(np.ones((1, 2)))
    famo.after_step(np.ones((1, 2)))
    assert not famo.failures
