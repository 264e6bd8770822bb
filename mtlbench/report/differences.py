"""What a report holds of two methods beside each other: what was compared, and what the statistics say of it."""

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
    """A comparison, what it was of, and what its family of tests makes of it."""

    family: str
    """``"primary"``, ``"secondary"`` or ``"delta_m"``: what Holm's adjustment ran over."""
    p_adjusted: float | None = None
    """Holm's adjustment within the family of this endpoint: primary metrics, other metrics, or Δm."""
    family_size: int = 1
    """Tests in the family."""
    primary_test: str = "none"
    """The test that draws the conclusion, chosen from n, pairing and family size: ``"none"``, ``"paired t"``,
    ``"sign flip"`` or ``"Welch t"``."""
    primary_reason: str = ""
    """Why that one, in words."""
    primary_p: float | None = None
    """Its p; what ``p_adjusted`` adjusts. With too few seeds for any claim, that of the t test."""
    simultaneous_low: float | None = None
    simultaneous_high: float | None = None
    """Interval at level α / family size: all intervals of the family hold at once (Bonferroni)."""
    detectable_in_family: float | None = None
    """The true difference found with 80 % power at α / family size, the strictest step of Holm's adjustment."""
    seeds_needed: int | None = None
    """Seeds for 80 % power in one t test, if the truth is what ``seeds_needed_for`` says and the SD what was seen.
    ``None``: unpaired, no spread, or more than 10,000."""
    seeds_needed_for: float | None = None
    """The declared margin, or without one the difference seen."""
    wins: int | None = None
    losses: int | None = None
    ties: int | None = None
    win_rate: float | None = None
    win_rate_low: float | None = None
    win_rate_high: float | None = None
    """Seeds won of those not tied, with Clopper & Pearson's interval; pairs only."""
    probability_of_improvement: float | None = None
    margin: float | None = None
    """The declared margin of equivalence, in the score's unit; only then is "within the margin" ever said."""
    equivalence_p: float | None = None
    equivalence_p_adjusted: float | None = None
    """Two one-sided tests of the margin, and Holm's adjustment in the family."""

    @property
    def verdict(self) -> str:
        """``"higher"``, ``"lower"``, ``"not separable"`` (never "equal"), or ``"too few seeds"`` to claim anything."""
        if self.n < FEWEST_SEEDS:
            return "too few seeds"
        if self.p_adjusted is None or self.p_adjusted >= ALPHA:
            return "not separable"
        return "higher" if self.mean_difference > 0 else "lower"

    @property
    def within_margin(self) -> bool:
        """Whether a declared margin is shown to hold the difference: the one ground for "no difference"."""
        p = self.equivalence_p_adjusted
        return self.n >= FEWEST_SEEDS and p is not None and p < ALPHA

    @property
    def separable(self) -> bool:
        return self.verdict in ("higher", "lower")


@dataclass(frozen=True, kw_only=True)
class ExampleInterval(Crossed, Endpoint):
    """A primary difference with an interval over seeds and development rows, both taken as samples."""
