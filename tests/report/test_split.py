"""A report on the test split has its scores, floors and predictions, and none of the development rows'."""

from __future__ import annotations

import pytest
from factory import failed, record

from mtlbench.errors import UsageError
from mtlbench.report.build import build
from mtlbench.report.split import on_test

TEST = {"rows": 50, "floors": {"accuracy": [{"name": "majority class", "value": 0.9}]}}


def with_test(**changes: object) -> dict[str, object]:
    records = record(**changes)
    records["test_scores"] = {task: dict.fromkeys(scores, 0.5) for task, scores in records["scores"].items()}
    records["tasks"] = {name: {**task, "test": TEST} for name, task in records["tasks"].items()}
    records["files"] = {"predictions": {"name": "dev"}, "test_predictions": {"name": "test"}}
    return records


def test_scores_and_floors_are_the_test_splits() -> None:
    report = build([with_test(seed=seed) for seed in range(3)], split="test")
    (group,) = report.groups
    assert group.split == "test" and {score.mean for score in group.scores} == {0.5}
    assert {score.floor for score in group.scores if score.metric == "accuracy"} == {0.9}
    (records,) = on_test([with_test()])
    assert records["files"] == {"predictions": {"name": "test"}} and records["tasks"]["sst5"]["dev"] == 50


def test_records_without_a_test_split_are_left_out_and_none_at_all_is_an_error() -> None:
    assert len(on_test([with_test(), record(seed=1)])) == 1
    with pytest.raises(UsageError, match="no record has a test split"):
        build([record()], split="test")
    assert build([record()]).groups[0].split == "dev"


def test_a_failed_cell_is_still_reported() -> None:
    lost = failed("sum", 1)
    lost["tasks"] = {name: {**task, "test": TEST} for name, task in record()["tasks"].items()}
    assert len(build([with_test(), lost], split="test").groups[0].failed) == 1
