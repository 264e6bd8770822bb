"""The front of scalarization, of a suite and of a tuning."""

from __future__ import annotations

import pytest

from mtlbench.grid.tuned_file import SELECTION, StudyEntry, TrialEntry, Tuned
from mtlbench.report.figures.figure import Unavailable
from mtlbench.study import front
from mtlbench.study.parts import StudyResult


def test_the_front_is_of_scalarizations_alone(whole: StudyResult) -> None:
    figure = front.front(whole.suites[0])
    assert "4 constant weightings" in figure.description and "stl" in figure.description
    assert figure.svg.count('id="front"') == 3
    with pytest.raises(Unavailable, match="fixed"):
        front.front(whole.rungs[0].part)


def test_the_front_of_a_tuning_has_every_trial_of_constant_weights_and_the_best_of_others(whole: StudyResult) -> None:
    main = whole.suites[0]
    names = [task.name for task in main.cells.tasks]

    def study(method: str, *scores: tuple[float, float, float]) -> StudyEntry:
        trials = [
            TrialEntry(
                number=number, spec=f"{method}[base_lr={number}]", values={"base_lr": number}, status="done", reason="",
                score=sum(one) / 3, scores=dict(zip(names, one, strict=True)), keys={},
            )
            for number, one in enumerate(scores)
        ]  # fmt: skip
        return StudyEntry(method=method, space={}, best=len(scores) - 1, edges={}, trials=trials)

    def tuned(suite: str, *studies: StudyEntry) -> Tuned:
        return Tuned(
            suite=suite, group="g", lr=1e-4, steps=9, selection=SELECTION, sampler="halton", tuning_seed=0,
            seeds=[1_000_000], trials=2, studies=list(studies),
        )  # fmt: skip

    constant = study("sum", (0.1, 0.4, 0.1)), study("fixed", (0.2, 0.3, 0.2), (0.4, 0.1, 0.15))
    figure = front.tuned_front(tuned("main", *constant, study("pcgrad", (0.9, 0.9, 0.9), (0.3, 0.1, 0.3))), main)
    assert "3 trials" in figure.description and figure.svg.count('id="front"') == 3
    assert f"{names[0]} and {names[1]}: beyond the front no method." in figure.description
    assert f"{names[0]} and {names[2]}: beyond the front pcgrad[base_lr=1] (0.300, 0.300)." in figure.description
    with pytest.raises(Unavailable, match="records of suite other"):
        front.tuned_front(tuned("other", *constant), main)
    with pytest.raises(Unavailable, match="three weightings"):
        front.tuned_front(tuned("main", constant[1]), main)
