"""What a report holds: plain frozen values that every format is rendered from. ``None``: the data cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field

from mtlbench.stats import ALPHA as ALPHA
from mtlbench.stats import CONFIDENCE as CONFIDENCE
from mtlbench.stats import FEWEST_SEEDS as FEWEST_SEEDS


@dataclass(frozen=True)
class Floor:
    """A score that a trivial predictor reaches, such as the majority class."""

    name: str
    value: float


@dataclass(frozen=True)
class Task:
    """A task as the records describe it."""

    name: str
    metrics: tuple[str, ...]
    """The primary metric first. All of them: higher is better."""
    floors: dict[str, tuple[Floor, ...]]
    """By metric."""
    tuned_corpus: str | None = None
    """The task's corpus, if the encoder had been tuned on it before."""

    @property
    def primary(self) -> str:
        return self.metrics[0]

    def floor(self, metric: str) -> Floor | None:
        """Return the highest floor of a metric: the one a score has to beat."""
        return max(self.floors.get(metric, ()), key=lambda floor: floor.value, default=None)


@dataclass(frozen=True)
class Score:
    """One method on one metric of one task, over its finished seeds."""

    method: str
    task: str
    metric: str
    primary: bool
    n: int
    """Seeds with a score."""
    seeds: int
    """Seeds that any method of the group was asked for."""
    mean: float | None
    std: float | None
    """Sample standard deviation over seeds (n − 1)."""
    floor: float | None
    floor_name: str | None
    below_floor: bool
    """Whether the mean is not above the floor."""
    seeds_below_floor: int
    """How many single seeds are not above the floor."""
    tuned_corpus: str | None
    interquartile_mean: float | None = None
    """Mean of the middle half of the seeds: what an outlier cannot move, from 4 seeds up."""


@dataclass(frozen=True)
class Cost:
    """What a method costs. Median over seeds, but for the memory: its maximum."""

    method: str
    n: int
    seconds_per_step: float | None
    peak_memory_bytes: int | None
    conflict_share: float | None
    """Mean share of conflicting pairs of task gradients, over steps and seeds; not a cost, but measured beside it."""


@dataclass(frozen=True)
class DeltaM:
    """Δm: mean relative improvement over the single-task baseline on the primary metrics, over seeds."""

    method: str
    n: int
    mean: float
    std: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str = "percent"


@dataclass(frozen=True)
class MeanRank:
    """A method's rank among the joint methods, 1 is best, averaged over every seed of every task."""

    method: str
    mean_rank: float
    seeds: int
    """Seeds that every method finished: only those can be ranked."""
    methods: int


@dataclass(frozen=True)
class Difference:
    """A method against the baseline on one metric of one task; see :class:`mtlbench.stats.Comparison`."""

    task: str
    metric: str
    method: str
    baseline: str
    n: int
    mean_difference: float
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_adjusted: float | None
    """Holm's adjustment within the family of this endpoint: primary metrics, other metrics, or Δm."""
    test: str
    exact_p: float | None
    exact_floor: float | None
    paired: bool
    rho: float | None
    effect_size: float | None
    minimum_detectable_effect: float | None
    family: str
    """``"primary"``, ``"secondary"`` or ``"delta_m"``: what Holm's adjustment ran over."""
    standard_error: float | None = None
    df: float | None = None
    variance_ratio: float | None = None
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


@dataclass(frozen=True)
class Ranking:
    """All joint methods against each other in one number per seed: are their ranks more than chance?"""

    score: str
    """What is ranked in every seed, in words."""
    methods: tuple[str, ...]
    seeds: int
    mean_ranks: tuple[float, ...]
    """In the order of the methods."""
    chi_squared: float
    f: float | None
    p: float
    """Friedman's test over seeds, by permutation."""
    exact: bool
    resolution: float
    """The smallest p that the way of counting can give."""
    critical_difference: float
    """Nemenyi's, of two mean ranks at α = .05: for a picture, not for claims."""


@dataclass(frozen=True)
class ExampleInterval:
    """A primary difference with an interval over seeds and development rows, both taken as samples."""

    task: str
    metric: str
    method: str
    baseline: str
    seeds: int
    examples: int
    mean_difference: float
    ci_low: float
    ci_high: float
    df: float
    example_share: float
    """Share of the variance that the choice of rows contributes."""


@dataclass(frozen=True)
class Missing:
    """A cell that has no record, though others of its method or of its seed have."""

    method: str
    seed: int


@dataclass(frozen=True)
class Failed:
    """A cell that could not go on."""

    method: str
    seed: int
    message: str


@dataclass(frozen=True)
class Group:
    """Cells with the same tasks, data, model, budget and recipe: the only ones that are compared."""

    group: str
    suite: str
    heading: str
    """The suite, and what sets this group apart from the report's other groups."""
    encoder: str
    recipe: dict[str, object]
    tasks: tuple[Task, ...]
    methods: tuple[str, ...]
    """Single-task baseline first, then the baseline of the comparison, then by name."""
    seeds: tuple[int, ...]
    baseline: str | None
    """``None`` when this group has no such method."""
    headline: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    costs: tuple[Cost, ...] = ()
    delta_m: tuple[DeltaM, ...] = ()
    mean_ranks: tuple[MeanRank, ...] = ()
    comparisons: tuple[Difference, ...] = ()
    delta_m_comparisons: tuple[Difference, ...] = ()
    missing: tuple[Missing, ...] = ()
    failed: tuple[Failed, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    """What sets the compared cells apart besides the method: device, processor, versions of libraries, code, recipe."""
    rankings: tuple[Ranking, ...] = ()
    """One, or none where fewer than three joint methods share two seeds."""
    pairs: tuple[Difference, ...] = ()
    """Every two methods of the ranking, on what it ranks; a Holm family of their own, ``"pairs"``."""
    example_intervals: tuple[ExampleInterval, ...] = ()
    """Where the caller handed in scores by row."""


@dataclass(frozen=True)
class Report:
    """The whole report: a pure function of the records."""

    baseline: str
    groups: tuple[Group, ...]
    damaged: tuple[tuple[str, str], ...] = field(default=())
    """Path and reason of every record that could not be read."""
