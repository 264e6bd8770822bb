"""Shared definitions: confidence and test levels, the type of a series, and the threshold for rounding noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

CONFIDENCE = 0.95
"""Confidence level of every interval."""
ALPHA = 0.05
"""Level of every test; written out because 1 − .95 is not .05 in binary."""
FEWEST_SEEDS = 4
"""Fewest seeds for which a difference is claimed. Three differences cannot show whether the t test's assumption of
normality holds, and the exact test reaches p = .25 at best."""
NOISE = 1e-12
"""Relative size of rounding noise: differences below this share of the largest score count as zero."""


def noise(a: Vector, b: Vector) -> float:
    """Return the threshold below which a difference of these scores is rounding noise.

    :param a: (n,) scores.
    :param b: (m,) scores.
    """
    return NOISE * float(max(np.abs(a).max(), np.abs(b).max()))


def without_noise(a: Vector, b: Vector) -> Vector:
    """Return a − b with rounding noise set to zero.

    :param a: (n,) scores.
    :param b: (n,) scores.
    :returns: (n,) differences.
    """
    difference = a - b
    return np.where(np.abs(difference) <= noise(a, b), 0.0, difference)
