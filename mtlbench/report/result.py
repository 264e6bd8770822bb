"""Contents of a report: frozen values that every format is rendered from. ``None``: the data do not determine it."""

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
    """Number of seeds with a score."""
    seeds: int
    """Number of seeds requested for any method of the group."""
    mean: float | None
    std: float | None
    """Sample standard deviation over seeds (n − 1)."""
    floor: float | None
    floor_name: str | None
    below_floor: bool
    """Whether the mean is not above the floor."""
    seeds_below_floor: int
    """Number of seeds whose score is not above the floor."""
    tuned_corpus: str | None
    interquartile_mean: float | None = None
    """Mean of the middle half of the seeds; from 4 seeds up, insensitive to a single outlier."""


@dataclass(frozen=True)
class Cost:
    """A method's cost: median over seeds of the time, maximum over seeds of the memory."""

    method: str
    n: int
    seconds_per_step: float | None
    peak_memory_bytes: int | None
    conflict_share: float | None
    """Mean share of conflicting pairs of task gradients, over steps and seeds; not a cost, but measured with it."""


@dataclass(frozen=True)
class DeltaM:
    """Δm over seeds: mean relative improvement over the single-task baseline on the primary metrics."""

    method: str
    n: int
    mean: float
    std: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str = "percent"


@dataclass(frozen=True)
class MeanRank:
    """A method's rank among the joint methods, averaged over every seed of every task; 1 is best."""

    method: str
    mean_rank: float
    seeds: int
    """Number of seeds that every method finished; only these are ranked."""
    methods: int


@dataclass(frozen=True)
class Ranking:
    """Ranking of all joint methods by one number per seed, with Friedman's test of their ranks."""

    score: str
    """Name of the number that is ranked in every seed."""
    methods: tuple[str, ...]
    seeds: int
    mean_ranks: tuple[float, ...]
    """In the order of the methods."""
    chi_squared: float
    f: float | None
    p: float
    """Permutation p of Friedman's test over seeds."""
    exact: bool
    resolution: float
    """Smallest p possible with this number of permutations."""
    critical_difference: float
    """Nemenyi's critical difference of two mean ranks at α = .05: for illustration, not for claims."""


@dataclass(frozen=True)
class WatchedTask:
    """A task of a watched run: a user's own training, measured by mtlbench.Watch and compared with nothing."""

    task: str
    looks: int
    """Number of steps at which the task's gradient was measured."""
    norm: float | None
    """Median norm of the gradient over the watched parameters."""
    share: float | None
    """Median share of the plain sum of the gradients."""
    first_loss: float | None
    """Mean loss over the first tenth of the steps."""
    last_loss: float | None
    """Mean loss over the last tenth of the steps."""
    scores: dict[str, float | None] = field(default_factory=dict)
    """Metric → the last score that the training reported."""


@dataclass(frozen=True)
class WatchedMethod:
    """The weights that a method would have given in a watched run. It did not train the model."""

    spec: str
    looks: int
    """Number of measured steps with weights."""
    shares: dict[str, float]
    """Task → median share of the sum of absolute weights."""


@dataclass(frozen=True)
class Missing:
    """A cell without a record, although other cells of its method or seed have one."""

    method: str
    seed: int


@dataclass(frozen=True)
class Failed:
    """A cell that stopped with an error."""

    method: str
    seed: int
    message: str


@dataclass(frozen=True)
class GroupReport:
    """Report on one group: cells with the same tasks, data, model, budget and recipe, which may be compared."""

    group: str
    suite: str
    heading: str = field(default="", kw_only=True)
    """The suite, and what distinguishes this group from the report's other groups."""
    name: str = field(default="", kw_only=True)
    """Short form of the heading: what distinguishes this group from the other groups of its suite."""
    encoder: str
    """The encoder, or the problem, whose model is its own."""
    recipe: dict[str, object]
    tasks: tuple[ScoredTask, ...]
    methods: tuple[str, ...]
    """Single-task baseline first, then the baseline of the comparison, then from best to worst by mean rank."""
    seeds: tuple[int, ...]
    baseline: str | None
    """Spec of the baseline method; ``None`` when the group has no such method."""
    differs: dict[str, str] = field(default_factory=dict)
    """Settings in which the groups of the report differ, with this group's values."""
    problem: str | None = None
    """Spec of the problem; null for tasks on texts."""
    split: str = "dev"
    """Rows that were scored: ``dev`` or ``test``."""
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
    """Differences between compared cells besides the method: device, processor, library versions, code, recipe."""
    rankings: tuple[Ranking, ...] = ()
    """One ranking, or none where fewer than three joint methods share two seeds."""
    pairs: tuple[Difference, ...] = ()
    """Every two methods of the ranking compared on the ranked numbers, as the Holm family ``"pairs"``."""
    example_intervals: tuple[ExampleInterval, ...] = ()
    """Empty unless the caller supplied scores by row."""
    watched: tuple[WatchedTask, ...] = ()
    """The tasks of a watched run, which is a group of its own; empty for cells. Such a group has no other results."""
    watched_methods: tuple[WatchedMethod, ...] = ()


@dataclass(frozen=True)
class Report:
    """A report on all groups: a pure function of the records."""

    baseline: str
    groups: tuple[GroupReport, ...]
    damaged: tuple[tuple[str, str], ...] = field(default=())
    """Path and reason of every unreadable record."""
