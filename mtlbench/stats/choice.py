"""Choice of the test that decides a comparison, made from the design of the runs and not from their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mtlbench.stats.base import ALPHA, FEWEST_SEEDS
from mtlbench.stats.exact import EXACT_UP_TO

Test = Literal["none", "Welch t", "paired t", "sign flip"]

EXACT_FROM = 10
"""Fewest pairs for which the exact test may be the primary test: its smallest possible p is then .002."""
ROOM = 8
"""Smallest ratio of alpha to the exact test's Holm-corrected floor at which the exact test is the primary test.

With a lower ratio it loses power. At the effect that the t test detects with 80 % power, the exact test had 76 to 79 %
at ratios of 8 to 26, 75 % at 4 and 71 % at 2 (10 to 16 pairs, normal differences, 6,000 to 10,000 simulations each).
Below 1 it cannot reject at all."""


@dataclass(frozen=True)
class TestChoice:
    """The primary test and the reason for it."""

    test: Test
    reason: str


def primary_test(n: int, tests: int, paired: bool = True, alpha: float = ALPHA) -> TestChoice:
    """Choose the primary test of a difference over n seeds.

    ========  ==========  ==========================================================================
    pairing   n           primary test
    ========  ==========  ==========================================================================
    any       below 4     none
    unpaired  4 and up    Welch's t
    paired    4 to 9      paired t; the exact p and its floor are printed beside it
    paired    10 to 32    sign flip, if its floor × tests is at most alpha / 8; else paired t
    paired    above 32    paired t: the mean of so many differences is close to normal
    ========  ==========  ==========================================================================

    :param n: number of pairs; without pairing, size of the smaller sample.
    :param tests: size of the family that Holm's correction covers: methods × endpoints.
    :param paired: whether the runs of a seed are paired.
    :param alpha: level of the test.
    """
    floor = 2.0 / 2.0**n
    if n < FEWEST_SEEDS:
        return TestChoice(
            "none", f"{_seeds(n)} cannot show whether a test's assumptions hold, so no difference is claimed"
        )
    if not paired:
        return TestChoice("Welch t", "the runs are not paired, and no exact test is free of assumptions without pairs")
    if n < EXACT_FROM:
        return TestChoice(
            "paired t",
            f"with {n} seeds the exact sign-flip p cannot fall below {floor:.2g}, which leaves Student's t, whose "
            "assumption of normal differences so few seeds cannot check",
        )
    if n > EXACT_UP_TO:
        return TestChoice(
            "paired t", f"the mean of {n} differences is close to normal, and counting 2^{n} flips is long"
        )
    if floor * tests * ROOM > alpha:
        return TestChoice(
            "paired t",
            f"over {tests} tests Holm's correction lifts the sign-flip test's smallest p to "
            f"{min(1.0, floor * tests):.2g}, too near to {alpha:g} for it to find as much",
        )
    return TestChoice("sign flip", f"with {n} seeds the exact test can decide, and it needs no normal differences")


def _seeds(n: int) -> str:
    """Return the count with its noun."""
    return f"{n} seed" if n == 1 else f"{n} seeds"
