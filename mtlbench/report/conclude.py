"""From single comparisons to conclusions: the primary test, the adjustment in its family, equivalence, and power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mtlbench import stats
from mtlbench.report.model import ALPHA, Difference


def conclude(differences: Sequence[Difference], margin: float | None) -> list[Difference]:
    """Fill in what depends on the whole family, family by family, in the given order of families.

    :param margin: of equivalence, in the scores' unit; not used for Δm, which is in percent.
    """
    concluded: list[Difference] = []
    for family in dict.fromkeys(d.family for d in differences):
        members = [d for d in differences if d.family == family]
        tests = sum(d.p is not None or d.exact_p is not None for d in members)
        members = [_tested(d, max(tests, 1), None if family == "delta_m" else margin) for d in members]
        adjusted = stats.holm([d.primary_p for d in members])
        equivalence = stats.holm([d.equivalence_p for d in members])
        concluded += [
            replace(d, p_adjusted=p, equivalence_p_adjusted=within)
            for d, p, within in zip(members, adjusted, equivalence, strict=True)
        ]
    return concluded


def _tested(d: Difference, tests: int, margin: float | None) -> Difference:
    """Choose the primary test of a family of so many tests, and say what it could have found."""
    choice = stats.primary_test(d.n, tests, d.paired)
    d = replace(
        d,
        family_size=tests,
        primary_test=choice.test,
        primary_reason=choice.reason,
        primary_p=d.exact_p if choice.test == "sign flip" else d.p,
        margin=margin,
    )
    if d.standard_error is None or d.df is None:
        if margin is None or d.ci_low is None:
            return d
        # no spread in two seeds or more: the difference is known as exactly as these seeds can tell it
        return replace(d, equivalence_p=stats.equivalence_p(d.mean_difference, 0.0, 1.0, margin))
    low, high = stats.interval(d.mean_difference, d.standard_error, d.df, ALPHA / tests)
    noncentrality = stats.detectable_noncentrality(d.df, ALPHA / tests)
    wanted = abs(d.mean_difference) if margin is None else margin
    return replace(
        d,
        simultaneous_low=low,
        simultaneous_high=high,
        detectable_in_family=None if noncentrality is None else noncentrality * d.standard_error,
        seeds_needed=stats.seeds_needed(wanted / (d.standard_error * d.n**0.5), ALPHA) if d.paired else None,
        seeds_needed_for=wanted if d.paired else None,
        equivalence_p=None
        if margin is None
        else stats.equivalence_p(d.mean_difference, d.standard_error, d.df, margin),
    )
