"""Bands of the curves over training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mtlbench.report.figures import curves


def test_bands_are_t_intervals() -> None:
    import pandas as pd

    values = [0.1, 0.4, 0.3, 0.25]
    band = curves.band(pd.DataFrame({"x": [1] * 4, "value": values})).iloc[0]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (band["low"], band["high"]) == pytest.approx(expected)
    single = curves.band(pd.DataFrame({"x": [1], "value": [0.1]})).iloc[0]
    assert math.isnan(single["low"])
