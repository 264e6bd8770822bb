"""Shares of conflict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mtlbench.records.groups import collect
from mtlbench.report.figures.cosines import conflict_shares
from mtlbench.report.figures.traces import read


def test_conflict_is_the_share_of_negative_cosines(complete: list[dict[str, Any]]) -> None:
    frame = read(collect(complete)[0]).cosines
    shares = conflict_shares(frame)
    assert set(shares) == {"sum", "mgda", "pcgrad"}
    assert shares["sum"] == pytest.approx(np.mean(frame.loc[frame["method"] == "sum", "cosine"] < 0))
