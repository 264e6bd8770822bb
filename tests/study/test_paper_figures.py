"""Development scores with the paper's final scores."""

from __future__ import annotations

from mtlbench.study import paper_figures
from mtlbench.study.parts import StudyResult


def test_scores_have_the_papers_lines(whole: StudyResult) -> None:
    figure = paper_figures.scores(whole.suites[0], "figure-4-main")
    assert "sst5 0.520 and 0.436" in figure.description
    assert "paper, PCGrad 0.279" in figure.svg and "paper, single-task 0.696" in figure.svg
