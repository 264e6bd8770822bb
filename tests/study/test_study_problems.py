"""The study page on a problem: what is about encoders is left out, with one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
from problem_runs import POINTS, train, workload_of

from mtlbench import UsageError
from mtlbench.report.text import render
from mtlbench.study.architecture import architecture
from mtlbench.study.limits import limits
from mtlbench.study.parts import study_of


def test_a_problem_has_limits_and_no_encoder(tmp_path: Path) -> None:
    (part,) = study_of(train(tmp_path, workload_of(POINTS), ["sum", "stl"], [0])).suites
    text = " ".join(render([limits(part)]).split())
    assert "How methods compare on another problem than points[unlabelled=0.3]" in text and "encoder" not in text
    with pytest.raises(UsageError, match="only encoders are drawn"):
        architecture(part)
