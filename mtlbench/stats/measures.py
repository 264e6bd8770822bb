"""Descriptive measures over seeds and tasks: Δm, interquartile mean, win rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from mtlbench.stats.base import CONFIDENCE, Vector


@dataclass(frozen=True)
class WinRate:
    """Number of seeds in which a candidate beat a baseline, with the rate and its interval."""

    wins: int
    losses: int
    ties: int
    rate: float | None
    """wins / (wins + losses), without ties; ``None`` if all seeds are ties."""
    low: float | None
    high: float | None
    """Clopper & Pearson's exact interval of the rate, whose coverage is never below the nominal level."""
    probability_of_improvement: float
    """(wins + ties / 2) / n: estimated probability that the candidate is better in a new seed."""


def win_rate(differences: Vector, confidence: float = CONFIDENCE) -> WinRate:
    """Count the seeds that the candidate won.

    :param differences: (n,) paired differences, positive is better; rounding noise already set to zero.
    :param confidence: of the two-sided interval of the rate.
    """
    d = np.asarray(differences, dtype=np.float64)
    wins, losses = int((d > 0).sum()), int((d < 0).sum())
    ties, decided = len(d) - wins - losses, wins + losses
    rate, low, high = None, None, None
    if decided:
        # quantiles of beta distributions; scipy's binomtest(...).proportion_ci finds them by search, 3 ms per call
        tail = (1 - confidence) / 2
        low = float(special.betaincinv(wins, losses + 1, tail)) if wins else 0.0
        high = float(special.betaincinv(wins + 1, losses, 1 - tail)) if losses else 1.0
        rate = wins / decided
    return WinRate(wins, losses, ties, rate, low, high, (wins + ties / 2) / len(d))


def interquartile_mean(scores: Vector) -> float:
    """Return the mean of the middle half (Agarwal et al. 2021): a quarter, rounded down, is cut at each end.

    :param scores: (n,) scores; fewer than 4 are averaged uncut.
    """
    cut = len(scores) // 4
    middle = np.partition(scores, (cut, len(scores) - cut - 1))[cut : len(scores) - cut]
    return float(middle.mean())  # equals scipy's trim_mean, which takes fifty times as long


def delta_m(scores: Vector, single_task: Vector) -> Vector | None:
    """Return Δm of every seed, in percent, as an improvement (Maninis et al. 2019 print it as a drop).

    Δmₛ = 100 · meanₜ (Mₜₛ − STLₜₛ) / |mean over s of STLₜ|. The denominators are the same for all seeds, so that a
    lucky single-task seed does not rescale the measure.

    :param scores: (S, T) scores of a method, higher is better, one column per task. A task with several metrics has
        one column too (its primary metric); otherwise it would weigh more than the others.
    :param single_task: (S', T) scores of the single-task baseline: S' = S with the same seeds, or S' = 1.
    :returns: (S,) percentages, or ``None`` when a task's mean single-task score is zero.
    """
    size = np.abs(single_task.mean(axis=0))
    if (size == 0.0).any():
        return None
    return np.asarray(100.0 * ((scores - single_task) / size).mean(axis=-1), dtype=np.float64)
