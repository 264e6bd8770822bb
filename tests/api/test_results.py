"""Frames say what the records and the command line say."""

from __future__ import annotations

import csv
import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import command_line
from report import factory

import mtlbench
from mtlbench.api.results import Results
from mtlbench.records.store import Store
from mtlbench.report.figures import Gallery


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON has them."""
    rows: list[dict[str, Any]] = json.loads(
        json.dumps(frame.astype(object).where(frame.notna(), None).to_dict("records"))
    )
    return rows


def test_scores_are_those_of_the_records(trained: Path) -> None:
    scores = mtlbench.load_results(trained).scores
    assert list(scores.columns) == ["suite", "group", "method", "seed", "task", "metric", "split", "value"]
    for record in Store(trained).scan().records:
        own = scores[(scores.method == record["method"]["spec"]) & (scores.seed == record["seed"])]
        for split, part in (("dev", record["scores"]), ("test", record["test_scores"])):
            assert part
            expected = {
                (task, metric): value for task, by_metric in part.items() for metric, value in by_metric.items()
            }
            rows = own[own.split == split]
            assert dict(zip(zip(rows.task, rows.metric, strict=True), rows.value, strict=True)) == pytest.approx(
                expected
            )
    assert len(scores) == 2 * 6 * sum(len(by_metric) for by_metric in record["scores"].values())


@pytest.mark.parametrize(("options", "words"), [
    ({}, []),
    ({"baseline": "pcgrad", "margin": 0.05}, ["--baseline", "pcgrad", "--margin", "0.05"]),
    ({"split": "test"}, ["--split", "test"]),
])  # fmt: skip
def test_comparisons_are_those_of_the_report(trained: Path, options: dict[str, Any], words: list[str]) -> None:
    told = json.loads(command_line("report", "--results", trained, "--format", "json", *words).stdout)
    expected = told["comparisons"] + told["delta_m_comparisons"] + told["pairs"]
    assert expected and plain(mtlbench.load_results(trained).compare(**options)) == expected
    assert {row["family"] for row in expected} >= {"primary", "delta_m"}


def test_comparisons_without_arguments_are_with_the_sum(trained: Path) -> None:
    results = mtlbench.load_results(trained)
    pd.testing.assert_frame_equal(results.comparisons, results.compare("sum"))
    assert {"p", "p_adjusted", "ci_low", "ci_high", "verdict", "family"} <= set(results.comparisons.columns)


def test_history_is_what_export_writes(trained: Path, tmp_path: Path) -> None:
    history = mtlbench.load_results(trained).history
    assert mtlbench.export(tmp_path, results=trained).cells == 6
    written = pd.read_csv(tmp_path / "history.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(history, written, check_exact=False)


def test_findings_are_those_of_the_doctor(trained: Path) -> None:
    told = json.loads(command_line("diagnose", "--results", trained, "--json").stdout)["findings"]
    assert told and plain(mtlbench.load_results(trained).findings) == told
    assert plain(mtlbench.diagnose(trained)) == told


def test_cells_are_those_of_status(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "results")
    record = next(folder.glob("*/pcgrad/seed-1-*.json"))
    record.unlink()
    cells = mtlbench.load_results(folder).cells
    told = json.loads(command_line("status", "--results", folder, "--json").stdout)["cells"]
    names = ["suite", "group", "method", "seed", "status"]
    assert plain(cells[names]) == [{name: cell[name] for name in names} for cell in told]
    assert [cell.status for cell in mtlbench.status(folder).cells] == list(cells.status)
    (missing,) = plain(cells[cells.status == "missing"])
    assert (missing["method"], missing["seed"], missing["key"]) == ("pcgrad", 1, None)
    done = cells[cells.status == "done"]
    assert done.seconds_per_step.gt(0).all() and done.key.str.len().eq(64).all()
    assert done[done.method != "stl"].conflict_share.between(0, 1).all()
    results = mtlbench.load_results(folder)
    assert not results.complete and repr(results) == f"Results of 6 cells in {folder}: 5 done, 1 missing"


def test_the_newest_record_of_a_cell_counts(tmp_path: Path) -> None:
    older = factory.record(started="2026-01-01T00:00:00Z", gain=0.0)
    newer = factory.record(started="2026-01-02T00:00:00Z", gain=0.1)
    results = Results(tmp_path, [newer, older])  # type: ignore[list-item]
    values = results.scores[results.scores.metric == "pearson"].value
    assert values.tolist() == [newer["scores"]["stsb"]["pearson"]] and len(results.cells) == 1


def test_failed_cells_have_their_error_and_no_scores(tmp_path: Path) -> None:
    records = [factory.record(), factory.failed("mgda", 0)]
    results = Results(tmp_path, records)  # type: ignore[arg-type]
    assert set(results.scores.method) == {"sum"} and not results.complete
    assert results.cells.set_index("method").error["mgda"] == "step 3: loss of task sst5 is nan"


def test_frames_without_rows_have_their_columns(tmp_path: Path) -> None:
    one = Results(tmp_path, [factory.record()])  # type: ignore[list-item]
    assert one.comparisons.empty and "p_adjusted" in one.comparisons.columns
    nothing = Results(tmp_path, [])
    assert nothing.scores.empty and "metric" in nothing.scores.columns
    assert nothing.history.empty and nothing.cells.empty and "code" in nothing.findings.columns


def test_damaged_records_and_histories_are_left_out_with_a_warning(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "results")
    next(folder.glob("*/sum/seed-0-*.json")).write_text("{}")
    history = next(folder.glob("*/sum/seed-1-*.history.jsonl"))
    history.write_bytes(history.read_bytes()[::-1])
    with pytest.warns(UserWarning, match=r"left out: .*seed-0.*: record schema None"):
        results = mtlbench.load_results(folder)
    assert len(results.cells) == 6 and len(results.damaged) == 1
    with pytest.warns(UserWarning, match=r"left out: .*seed-1.*history"):
        assert set(results.history.method) == {"stl", "pcgrad"}


def test_a_folder_of_damaged_records_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "quick" / "sum").mkdir(parents=True)
    (tmp_path / "quick" / "sum" / "seed-0-abc.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out"):
        results = mtlbench.load_results(tmp_path)
    with pytest.raises(mtlbench.UsageError, match=r"no records to report on \(1 damaged"):
        results.compare()


@pytest.mark.parametrize("format", ["text", "markdown", "csv", "json", "latex", "html"])
def test_the_report_is_that_of_the_command_line(
    trained: Path, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtlbench.report.gallery", lambda report, records: Gallery((), ()))  # drawing takes seconds
    words = ["report", "--results", trained, "--format", format, "--examples", "--output", tmp_path / "theirs"]
    assert command_line(*words).returncode == 0
    text = mtlbench.report(trained, format=format, examples=True, output=tmp_path / "sub" / "ours")
    assert text == (tmp_path / "theirs").read_text() == (tmp_path / "sub" / "ours").read_text()
    assert mtlbench.report(mtlbench.load_results(trained), format=format, examples=True) == text
    assert ("What the doctor says" in text) == (format == "html")


def test_figures_are_written_as_the_command_line_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    drawn = Gallery((), ())
    monkeypatch.setattr("mtlbench.report.gallery", lambda report, records: drawn)
    monkeypatch.setattr("mtlbench.report.figures.save.save_figures", lambda *given: saved.append(given) or [])
    mtlbench.report(trained, figures=tmp_path)
    assert command_line("report", "--results", trained, "--figures", tmp_path).returncode == 0
    assert saved == [((), tmp_path), ((), tmp_path)]


def test_two_folders(trained: Path, tmp_path: Path) -> None:
    other = shutil.copytree(trained, tmp_path / "other")
    told = command_line("report", "--compare", trained, other, "--format", "csv").stdout
    text = mtlbench.report(compare=(trained, other), format="csv")
    assert text == told and "sum (other)" in {row["method"] for row in csv.DictReader(StringIO(text))}


def test_merging_copies_records_and_names_conflicts(trained: Path, tmp_path: Path) -> None:
    planned = mtlbench.merge(trained, into=tmp_path / "into", dry_run=True)
    assert len(planned.copied) == 6 and not (tmp_path / "into").exists()
    assert len(mtlbench.merge([trained], into=tmp_path / "into").copied) == 6
    assert mtlbench.merge([trained, trained], into=tmp_path / "into").present == 12
