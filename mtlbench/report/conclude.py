"""Conclusions from single comparisons: primary test, adjustment within its family, equivalence and power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mtlbench import stats
from mtlbench.report.result import ALPHA, Difference


def conclude(differences: Sequence[Difference], margin: float | None) -> list[Difference]:
    """Fill in the fields that depend on the whole family of tests.

    :param differences: comparisons of one or more families.
    :param margin: margin of equivalence, in the scores' unit; not used for Δm, which is in percent.
    :returns: the completed differences, grouped by family in order of first occurrence.
    """
    concluded: list[Difference] = []
    for family in dict.fromkeys(d.family for d in differences):
        members = [d for d in differences if d.family == family]
        tests = sum(d.p is not None or d.exact_p is not None for d in members)
        tested = [_tested(d, max(tests, 1), None if family == "delta_m" else margin) for d in members]
        adjusted = stats.holm([fields["primary_p"] for fields in tested])
        equivalence = stats.holm([fields.get("equivalence_p") for fields in tested])
        concluded += [
            replace(d, **fields, p_adjusted=p, equivalence_p_adjusted=within)
            for d, fields, p, within in zip(members, tested, adjusted, equivalence, strict=True)
        ]
    return concluded


def _tested(d: Difference, tests: int, margin: float | None) -> dict[str, Any]:
    """Choose the primary test for this family size and compute what it could detect; return fields by name."""
    choice = stats.primary_test(d.n, tests, d.paired)
    chosen = {
        "family_size": tests,
        "primary_test": choice.test,
        "primary_reason": choice.reason,
        "primary_p": d.exact_p if choice.test == "sign flip" else d.p,
        "margin": margin,
    }
    if d.standard_error is None or d.df is None:
        if margin is None or d.ci_low is None:
            return chosen
        # two or more seeds without spread: the standard error is zero
        return {**chosen, "equivalence_p": stats.equivalence_p(d.mean_difference, 0.0, 1.0, margin)}
    low, high = stats.interval(d.mean_difference, d.standard_error, d.df, ALPHA / tests)
    noncentrality = stats.detectable_noncentrality(d.df, ALPHA / tests)
    target = abs(d.mean_difference) if margin is None else margin
    within = None if margin is None else stats.equivalence_p(d.mean_difference, d.standard_error, d.df, margin)
    return {
        **chosen,
        "simultaneous_low": low,
        "simultaneous_high": high,
        "detectable_in_family": None if noncentrality is None else noncentrality * d.standard_error,
        "seeds_needed": stats.seeds_needed(target / (d.standard_error * d.n**0.5), ALPHA) if d.paired else None,
        "seeds_needed_for": target if d.paired else None,
        "equivalence_p": within,
    }
