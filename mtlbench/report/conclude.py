"""From single comparisons to conclusions: the primary test, the adjustment in its family, equivalence, and power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mtlbench import stats
from mtlbench.report.result import ALPHA, Difference


def conclude(differences: Sequence[Difference], margin: float | None) -> list[Difference]:
    """Fill in what depends on the whole family, family by family, in the given order of families.

    :param margin: of equivalence, in the scores' unit; not used for Δm, which is in percent.
    """
    concluded: list[Difference] = []
    for family in dict.fromkeys(d.family for d in differences):
        members = [d for d in differences if d.family == family]
        tests = sum(d.p is not None or d.exact_p is not None for d in members)
        found = [_tested(d, max(tests, 1), None if family == "delta_m" else margin) for d in members]
        adjusted = stats.holm([one["primary_p"] for one in found])
        equivalence = stats.holm([one.get("equivalence_p") for one in found])
        concluded += [
            replace(d, **one, p_adjusted=p, equivalence_p_adjusted=within)
            for d, one, p, within in zip(members, found, adjusted, equivalence, strict=True)
        ]
    return concluded


def _tested(d: Difference, tests: int, margin: float | None) -> dict[str, Any]:
    """Choose the primary test of a family of so many tests, and say what it could have found: fields by name."""
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
        # no spread in two seeds or more: the difference is known as exactly as these seeds can tell it
        return {**chosen, "equivalence_p": stats.equivalence_p(d.mean_difference, 0.0, 1.0, margin)}
    low, high = stats.interval(d.mean_difference, d.standard_error, d.df, ALPHA / tests)
    noncentrality = stats.detectable_noncentrality(d.df, ALPHA / tests)
    wanted = abs(d.mean_difference) if margin is None else margin
    within = None if margin is None else stats.equivalence_p(d.mean_difference, d.standard_error, d.df, margin)
    return {
        **chosen,
        "simultaneous_low": low,
        "simultaneous_high": high,
        "detectable_in_family": None if noncentrality is None else noncentrality * d.standard_error,
        "seeds_needed": stats.seeds_needed(wanted / (d.standard_error * d.n**0.5), ALPHA) if d.paired else None,
        "seeds_needed_for": wanted if d.paired else None,
        "equivalence_p": within,
    }
