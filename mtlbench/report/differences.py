"""Comparisons of two methods as a report holds them: the endpoint and the results of its tests."""

from __future__ import annotations

from dataclasses import dataclass

from mtlbench.stats import ALPHA, FEWEST_SEEDS, Comparison, Crossed


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A method against the baseline on one metric of one task."""

    task: str
    metric: str
    method: str
    baseline: str


@dataclass(frozen=True, kw_only=True)
class Difference(Comparison, Endpoint):
    """A comparison, its endpoint, and the results that depend on its family of tests."""

    family: str
    """Family of Holm's adjustment: ``"primary"``, ``"secondary"``, ``"delta_m"`` or ``"pairs"``."""
    p_adjusted: float | None = None
    """``primary_p`` adjusted by Holm within the family."""
    family_size: int = 1
    """Number of tests in the family."""
    primary_test: str = "none"
    """The test that decides the comparison, chosen from n, pairing and family size: ``"none"``, ``"paired t"``,
    ``"sign flip"`` or ``"Welch t"``."""
    primary_reason: str = ""
    """Reason for the choice of the primary test, in words."""
    primary_p: float | None = None
    """p of the primary test, which ``p_adjusted`` adjusts; with too few seeds for any claim, p of the t test."""
    simultaneous_low: float | None = None
    simultaneous_high: float | None = None
    """Interval at level α / family size: all intervals of the family hold at once (Bonferroni)."""
    detectable_in_family: float | None = None
    """True difference detected with 80 % power at α / family size, the strictest step of Holm's adjustment."""
    seeds_needed: int | None = None
    """Seeds for 80 % power in one t test, if the true difference is ``seeds_needed_for`` and the SD is the observed
    one. ``None``: unpaired, no spread, or more than 10,000."""
    seeds_needed_for: float | None = None
    """The declared margin, or without a margin the observed difference."""
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    win_rate: float | None = None
    win_rate_low: float | None = None
    win_rate_high: float | None = None
    """Share of seeds won among those not tied, with Clopper & Pearson's interval; pairs only."""
    probability_of_improvement: float | None = None
    margin: float | None = None
    """The declared margin of equivalence, in the score's unit; without it the report makes no claim of equivalence."""
    equivalence_p: float | None = None
    equivalence_p_adjusted: float | None = None
    """p of two one-sided tests of the margin, adjusted by Holm within the family."""

    @property
    def verdict(self) -> str:
        """``"higher"``, ``"lower"``, ``"not separable"`` (never "equal") or ``"too few seeds"`` for a claim."""
        if self.n < FEWEST_SEEDS:
            return "too few seeds"
        if self.p_adjusted is None or self.p_adjusted >= ALPHA:
            return "not separable"
        return "higher" if self.mean_difference > 0 else "lower"

    @property
    def within_margin(self) -> bool:
        """Whether the difference is shown to lie within the declared margin: the only ground for "no difference"."""
        p = self.equivalence_p_adjusted
        return self.n >= FEWEST_SEEDS and p is not None and p < ALPHA

    @property
    def separable(self) -> bool:
        """Whether the verdict is ``"higher"`` or ``"lower"``."""
        return self.verdict in ("higher", "lower")


@dataclass(frozen=True, kw_only=True)
class ExampleInterval(Crossed, Endpoint):
    """A primary difference with an interval over seeds and development rows, both treated as samples."""
