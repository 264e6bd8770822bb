"""What every module of the statistics shares: the levels, the type of a series, and the size of rounding noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of every interval."""
ALPHA = 0.05
"""The level of every test; written out, since 1 − .95 is not .05 in binary."""
FEWEST_SEEDS = 4
"""Below this many seeds no difference is claimed: three numbers cannot show whether the t test's assumption of
normality holds, and the exact test can reach p = .25 at best."""
NOISE = 1e-12
"""Differences below this share of the scores' size are rounding of the last bits, and count as zero."""


def noise(a: Vector, b: Vector) -> float:
    """Return the size of rounding noise in differences of these scores."""
    return NOISE * float(max(np.abs(a).max(), np.abs(b).max()))


def without_noise(a: Vector, b: Vector) -> Vector:
    """Return a − b with rounding noise set to zero, so that bit-level dust is not taken for a difference."""
    d = a - b
    return np.where(np.abs(d) <= noise(a, b), 0.0, d)
