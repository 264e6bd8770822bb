"""A study with a ladder and a suite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from study_records import GAINS, climbed, suite

from mtlbench.study.parts import StudyResult, study_of

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from histories import with_histories


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """Return a study with a ladder, and a suite with scalarizations."""
    weights = {"fixed[w=2:1:1]": -0.01, "fixed[w=1:2:1]": 0.0, "fixed[w=1:1:2]": 0.005}
    records = [*climbed(), *suite("main", GAINS | weights, 5)]
    return study_of(with_histories(records, tmp_path_factory.mktemp("histories")))
