"""The scale of losses in float16."""

from __future__ import annotations

import pytest

from mtlbench.engine.scaling import FIRST, GROWTH_STEPS, MOST_SKIPPED, LossScale
from mtlbench.errors import CellError


def test_the_scale_halves_on_overflow_and_grows_after_many_good_steps() -> None:
    scale = LossScale()
    scale.overflowed()
    assert scale.value == FIRST / 2.0
    for _ in range(GROWTH_STEPS - 1):
        scale.fitted()
    assert scale.value == FIRST / 2.0
    scale.fitted()
    assert scale.value == FIRST
    for _ in range(GROWTH_STEPS - 1):
        scale.fitted()
    scale.overflowed()  # the count begins again
    scale.fitted()
    assert scale.value == FIRST / 2.0


def test_twenty_skips_are_borne_and_no_more() -> None:
    scale = LossScale()
    for _ in range(MOST_SKIPPED):
        scale.overflowed()
    scale.fitted()
    for _ in range(MOST_SKIPPED):
        scale.overflowed()
    with pytest.raises(CellError, match=r"overflowed float16 21 steps in a row.*use precision=bfloat16 or float32"):
        scale.overflowed()
