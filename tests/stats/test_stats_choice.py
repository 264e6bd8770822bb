"""The choice of the primary test."""

from __future__ import annotations

import pytest

from mtlbench import stats


@pytest.mark.parametrize(("n", "tests", "paired", "chosen", "words"), [
    (1, 1, True, "none", "1 seed cannot"),
    (3, 1, True, "none", "3 seeds cannot"),
    (3, 1, False, "none", "no difference is claimed"),
    (4, 9, True, "paired t", "cannot fall below 0.12"),
    (5, 9, True, "paired t", "cannot fall below 0.062"),
    (9, 9, True, "paired t", "cannot check"),
    (10, 3, True, "sign flip", "needs no normal"),
    (10, 4, True, "paired t", "smallest p to 0.0078"),
    (10, 26, True, "paired t", "smallest p to 0.051"),  # Holm could never reject
    (14, 30, True, "sign flip", "needs no normal"),
    (32, 9, True, "sign flip", "needs no normal"),
    (33, 9, True, "paired t", "close to normal"),
    (20, 9, False, "Welch t", "not paired"),
])  # fmt: skip
def test_the_primary_test_and_its_reason(n: int, tests: int, paired: bool, chosen: str, words: str) -> None:
    choice = stats.primary_test(n, tests, paired)
    assert choice.test == chosen
    assert words in choice.reason
