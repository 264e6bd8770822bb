"""The ladder: paired differences, and the findings of every rung."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from study_records import suite

from mtlbench import stats
from mtlbench.diagnose import diagnose_group
from mtlbench.report.blocks import Bullets, Table
from mtlbench.report.figures.figure import Unavailable
from mtlbench.study import ladder
from mtlbench.study.paper_figures import scores
from mtlbench.study.parts import StudyResult, study_of

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from left_out_files import without


def test_differences_are_paired_by_seed(whole: StudyResult) -> None:
    last, before = whole.rungs[3], whole.rungs[1]
    assert last.before is not None and last.before.name == before.name
    descriptions, table, largest, _ = ladder.tables(whole.rungs)
    assert isinstance(table, Table) and isinstance(descriptions, Bullets)
    row = next(row.cells for row in table.sections[3].rows if row.cells[0] == "sst5 accuracy")
    pcgrad, plain, earlier = (
        np.array(list(rung.part.cells.series(method, "sst5", "accuracy").values()))
        for rung, method in ((last, "pcgrad"), (last, "sum"), (before, "sum"))
    )
    expected = stats.paired_comparison(pcgrad, plain)
    assert row[5].startswith(f"{expected.mean_difference:+.3f} [{expected.ci_low:+.3f}")
    assert row[6].startswith(f"{(plain - earlier).mean():+.3f}")
    assert table.sections[0].rows[0].cells[6] == "-"
    assert descriptions.items[3].endswith("; against 5-sqrt: lr 5e-05 → 0.0001")
    assert f"sst5 accuracy, {(plain - earlier).mean():+.3f}" in largest.text and "(6-warmup) and +0.0" in largest.text


def test_every_rung_has_the_findings_of_the_doctor(whole: StudyResult) -> None:
    *_, findings = ladder.tables(whole.rungs)
    assert isinstance(findings, Bullets)
    for rung, item in zip(whole.rungs, findings.items, strict=True):
        codes = {finding.code for finding in diagnose_group(rung.part.cells) if finding.severity != "note"}
        name, _, text = item.partition(": ")
        assert name == rung.name and codes == {code.partition(" (")[0] for code in text.split("; ")}


def test_a_rung_whose_side_files_were_left_out_says_so() -> None:
    slim = without(suite("ladder-1-paper"), "history", "predictions")
    *_, findings = ladder.tables(study_of(slim).rungs)
    assert isinstance(findings, Bullets)
    assert findings.items[0].endswith("; 9 cells hold no histories or predictions, left out when they were merged")
    with pytest.raises(Unavailable, match="Scores over steps: 9 cells hold no histories"):
        scores(study_of(slim).rungs[0].part, "figure-4")


def test_a_rung_without_a_method_has_a_dash() -> None:
    rungs = study_of(suite("ladder-1-paper", {"sum": 0.0}, 1)).rungs
    assert ladder.tables(rungs)[1].sections[0].rows[0].cells[1:6] == ("-", "0.399", "-", "-", "-")
    assert ladder.figure(rungs).svg
