"""Statistics of method comparisons: pure functions on arrays of scores, one score per seed, higher is better.

Two conventions hold in every module. A quantity that the data do not determine is ``None``, never NaN and never an
exception. The sample consists of seeds, not of tasks: Demšar 2006 needs many independent tasks, and a suite has three.
"""

from mtlbench.stats.adjust import benjamini_hochberg, hochberg, holm
from mtlbench.stats.base import ALPHA, CONFIDENCE, FEWEST_SEEDS, NOISE, Vector, without_noise
from mtlbench.stats.choice import TestChoice, primary_test
from mtlbench.stats.crossed import Crossed, crossed_interval
from mtlbench.stats.exact import EXACT_UP_TO, sign_flip
from mtlbench.stats.measures import WinRate, delta_m, interquartile_mean, win_rate
from mtlbench.stats.pairs import Comparison, correlation, paired_comparison, unpaired_comparison, variance_ratio
from mtlbench.stats.power import POWER, detectable_effect, detectable_noncentrality, seeds_needed
from mtlbench.stats.ranks import Friedman, critical_difference, friedman, mean_ranks
from mtlbench.stats.student import equivalence_p, interval

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "EXACT_UP_TO",
    "FEWEST_SEEDS",
    "NOISE",
    "POWER",
    "Comparison",
    "Crossed",
    "Friedman",
    "TestChoice",
    "Vector",
    "WinRate",
    "benjamini_hochberg",
    "correlation",
    "critical_difference",
    "crossed_interval",
    "delta_m",
    "detectable_effect",
    "detectable_noncentrality",
    "equivalence_p",
    "friedman",
    "hochberg",
    "holm",
    "interquartile_mean",
    "interval",
    "mean_ranks",
    "paired_comparison",
    "primary_test",
    "seeds_needed",
    "sign_flip",
    "unpaired_comparison",
    "variance_ratio",
    "win_rate",
    "without_noise",
]
