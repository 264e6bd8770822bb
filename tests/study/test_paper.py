"""The paper's numbers, and the numbers of ours that they fit."""

from __future__ import annotations

import pytest
from study_records import suite

from mtlbench.report.figures.figure import Unavailable
from mtlbench.report.markdown import render
from mtlbench.study import paper
from mtlbench.study.parts import study_of


def test_a_number_of_the_paper_fits_the_score_of_always_answering_yes() -> None:
    records = suite("main", seeds=2)
    for record in records:
        record["tasks"]["qqp"]["floors"]["accuracy"].append({"name": "all positive", "value": 0.3753})
        record["tasks"]["qqp"]["dev"] = 40_429
    table, readings, drop = paper.table_2(study_of(records))
    rows = {row.cells[0]: row.cells for row in table.sections[0].rows}
    assert rows["qqp accuracy, PCGrad"][1] == "0.373" and rows["qqp accuracy, PCGrad"][-2] == "all positive (0.375)"
    assert rows["stsb pearson, PCGrad"][-2] == "nothing here"
    assert len(rows) == len(readings.items) == 6
    assert "† our encoder was tuned" in render([table])
    assert "16.6 passes over SST-5 and 23.4 over STS" in drop.text


def test_sampling_errors_are_the_textbooks() -> None:
    assert paper.sampling_error("accuracy", 0.5, 100) == pytest.approx(0.05)
    assert paper.sampling_error("pearson", 0.6, 100) == pytest.approx(0.064)


def test_other_tasks_have_no_table_of_the_paper() -> None:
    records = suite("main", seeds=1, tasks=["mine"])
    for record in records:
        record["tasks"] = {"mine": record["tasks"]["sst5"] | {"spec": "mine"}}
        record["scores"] = {"mine": record["scores"]["sst5"]}
    with pytest.raises(Unavailable, match="one of the paper's tasks"):
        paper.table_2(study_of(records))
