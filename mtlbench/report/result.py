"""What a report holds: plain frozen values that every format is rendered from. ``None``: the data cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field

from mtlbench.records.groups import Floor as Floor
from mtlbench.records.groups import ScoredTask as ScoredTask
from mtlbench.report.differences import Difference as Difference
from mtlbench.report.differences import ExampleInterval as ExampleInterval
from mtlbench.stats import ALPHA as ALPHA
from mtlbench.stats import CONFIDENCE as CONFIDENCE
from mtlbench.stats import FEWEST_SEEDS as FEWEST_SEEDS


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
class GroupReport:
    """Cells with the same tasks, data, model, budget and recipe: the only ones that are compared."""

    group: str
    suite: str
    heading: str
    """The suite, and what sets this group apart from the report's other groups."""
    encoder: str
    recipe: dict[str, object]
    tasks: tuple[ScoredTask, ...]
    methods: tuple[str, ...]
    """Single-task baseline first, then the baseline of the comparison, then by name."""
    seeds: tuple[int, ...]
    baseline: str | None
    """``None`` when this group has no such method."""
    split: str = "dev"
    """The rows that the scores are of: ``dev``, or ``test``."""
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
    groups: tuple[GroupReport, ...]
    damaged: tuple[tuple[str, str], ...] = field(default=())
    """Path and reason of every record that could not be read."""
