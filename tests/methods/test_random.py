"""RGW: the distributions of the drawn weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from assertions import (
    assert_draws_follow_the_seed,
    assert_draws_on_the_simplex,
    assert_generator_is_saved_and_restored,
    first_weights,
)
from families import LOSSES

from mtlbench import UsageError, get_method, weights


@pytest.mark.parametrize("spec", ["random", "random[distribution=dirichlet]"])
@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_drawn_weights(spec: str, tasks: int) -> None:
    assert_draws_on_the_simplex(spec, tasks)


def test_distributions() -> None:
    """At K = 2 the logit of softmax(z) is N(0, 2), and a Dirichlet weight is uniform on (0, 1)."""
    from scipy import stats

    w = first_weights("random")
    assert stats.kstest(np.log(w / (1 - w)), stats.norm(scale=math.sqrt(2)).cdf).pvalue > 0.001
    assert stats.kstest(first_weights("random[distribution=dirichlet]"), "uniform").pvalue > 0.001


@pytest.mark.parametrize("spec", ["random", "random[distribution=dirichlet]"])
def test_draws_follow_the_seed(spec: str) -> None:
    assert_draws_follow_the_seed(spec)


@pytest.mark.parametrize("spec", ["random", "random[distribution=dirichlet]"])
def test_generator_is_saved_and_restored(spec: str) -> None:
    assert_generator_is_saved_and_restored(spec)


def test_rlw_draws_other_weights() -> None:
    assert not np.allclose(weights("rlw", losses=LOSSES), weights("random", losses=LOSSES))
    assert get_method("rlw").heads == "weighted" and get_method("random").heads == "plain"


def test_parameters_out_of_range() -> None:
    with pytest.raises(UsageError, match="method random: parameter"):
        get_method("random[distribution=uniform]")
