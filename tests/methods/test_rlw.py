"""RLW: the distribution of the drawn weights."""

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


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_drawn_weights(tasks: int) -> None:
    assert_draws_on_the_simplex("rlw", tasks)


def test_distribution() -> None:
    """At K = 2 the logit of softmax(z) is N(0, 2)."""
    from scipy import stats

    w = first_weights("rlw")
    assert stats.kstest(np.log(w / (1 - w)), stats.norm(scale=math.sqrt(2)).cdf).pvalue > 0.001


def test_draws_follow_the_seed() -> None:
    assert_draws_follow_the_seed("rlw")


def test_generator_is_saved_and_restored() -> None:
    assert_generator_is_saved_and_restored("rlw")
