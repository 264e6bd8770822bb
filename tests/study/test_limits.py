"""The conclusions that a suite does not support."""

from __future__ import annotations

import numpy as np
from study_records import suite

from mtlbench.study import limits, paper
from mtlbench.study.parts import study_of


def test_unsupported_conclusions_follow_from_the_records() -> None:
    (part,) = study_of(suite("main", seeds=2, steps=534)).suites
    text = " ".join(limits.limits(part).items)
    assert "another encoder than all-MiniLM-L6-v2" in text and "How well qqp was learned" in text
    assert "at matched time: stl is matched in steps" in text
    assert "534 steps" in text and "sst5 1," in text and "all had 5e-05" in text
    score = paper.score_of(part, "sst5", "sum")
    assert score is not None and score.mean is not None
    assert f"{np.sqrt(score.mean * (1 - score.mean) / 1101):.3f} on sst5 (1,101 rows)" in text
