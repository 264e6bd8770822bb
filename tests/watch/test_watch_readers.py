"""What the doctor and the report make of a watched run: what was measured, and no comparison."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from own_training import TASKS, Model, train

import mtlbench
from mtlbench.diagnose import CHECKS, NOT_MEASURED, diagnose
from mtlbench.diagnose.text import by_group, to_blocks, to_json
from mtlbench.records.group_names import headings
from mtlbench.records.groups import collect
from mtlbench.records.store import Store
from mtlbench.records.watched_log import watched_logs
from mtlbench.report import FORMATS, gallery, render
from mtlbench.report.build import build
from mtlbench.report.text import render as as_text
from mtlbench.study.parts import study_of
from mtlbench.upkeep.clean import leftovers
from mtlbench.upkeep.export import export
from mtlbench.upkeep.merge import merge
from mtlbench.upkeep.status import read_status

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a finished run, and one that was stopped, of a training with a planted imbalance."""
    folder = tmp_path_factory.mktemp("results")

    def watched(model: Model) -> mtlbench.Watch:
        watches.append(mtlbench.Watch(model.encoder, TASKS, folder, every=5, methods=["pcgrad", "mgda"]))
        return watches[0]

    watches: list[mtlbench.Watch] = []
    train(60, watched)
    watches[0].score("mood", 0.5, "accuracy", step=30)
    watches[0].score("mood", 0.7, "accuracy")
    watches[0].close()
    stopped = mtlbench.Watch(torch.nn.Linear(2, 2), TASKS, folder, every=1, name="stopped")
    shared = stopped._shared.source
    for _ in range(3):
        stopped([shared(torch.ones(2))[task % 2] for task in range(3)])
    assert stopped._log is not None
    stopped._log.release()
    return folder


def records_of(folder: Path) -> list[dict[str, Any]]:
    records = [dict(record) for record in Store(folder).scan().records]
    return [*records, *watched_logs(folder, lambda line: pytest.fail(line))]


def test_the_doctor_names_the_planted_faults(folder: Path) -> None:
    finished, stopped = diagnose(records_of(folder))
    findings = {finding.code: finding for finding in finished[1]}
    assert findings["loss-scale"].tasks[0] in ("mood", "same") and "same" in findings["loss-scale"].what
    assert findings["dominated"].tasks == ("same",)
    assert findings["conflict"].tasks == ("mood", "like")
    text = as_text(to_blocks([finished, stopped]))
    assert "Own training, watched: 60 steps, gradients at 12 of them; " in text
    assert "Own training, watched, stopped: 3 steps, gradients at 3 of them; " in text
    assert text.count("Not measured in a watched run") == 2
    assert "cells" not in text.replace("-- cells", "") and "own training: " not in text


def test_what_is_not_measured_is_not_found_either(folder: Path) -> None:
    unknown = {code for codes in NOT_MEASURED.values() for code in codes}
    content = json.loads(to_json(diagnose(records_of(folder))))
    assert all(set(group["not_measured"]) == unknown for group in content["groups"])
    assert not unknown & {finding["code"] for finding in content["findings"]}
    documented = {
        line.split("`")[1] for line in (ROOT / "docs/diagnose.md").read_text().splitlines() if line.startswith("| `")
    }
    sources = "".join(
        (ROOT / "mtlbench/diagnose" / file.name).read_text() for file in (ROOT / "mtlbench/diagnose").glob("*.py")
    )
    assert unknown < documented and len(CHECKS) > 0
    assert all(f'"{code}"' in sources for code in unknown)


def test_a_sound_run_has_no_finding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = torch.nn.Linear(8, 8)
    heads = [torch.nn.Linear(8, 1) for _ in range(2)]
    optimizer = torch.optim.Adam([*shared.parameters(), *heads[0].parameters(), *heads[1].parameters()], lr=0.01)
    inputs = torch.randn(64, 8)
    with mtlbench.Watch(shared, ["a", "b"], tmp_path) as watch:
        for _ in range(200):
            losses = [
                (head(shared(inputs)).squeeze(1) - inputs[:, task]).square().mean() for task, head in enumerate(heads)
            ]
            watch(losses)
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
    ((_, findings),) = diagnose(records_of(tmp_path))
    assert [finding.code for finding in findings if finding.severity != "note"] == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_doctor_tells_of_numbers_that_are_not_finite(bad: float, tmp_path: Path) -> None:
    shared = torch.nn.Parameter(torch.ones(3))
    with mtlbench.Watch([shared], ["a", "b"], tmp_path, every=1) as watch:
        for step in range(40):
            watch([shared.sum(), shared.sum() * (bad if step >= 25 else 1.0)])
    records = records_of(tmp_path)
    ((_, findings),) = diagnose(records)
    (finding,) = [finding for finding in findings if finding.code == "not-finite"]
    assert finding.tasks == ("b",) and finding.evidence == "first at step 26; at 15 of the recorded steps"
    assert "b: loss or gradient not finite at 15 recorded steps" in render(build(records))


def test_tasks_that_never_meet_in_a_batch(tmp_path: Path) -> None:
    """No step has all gradients: no cosine, no share, no weights, and nothing fails for lack of them."""
    shared = torch.nn.Linear(2, 2)
    with mtlbench.Watch(shared, ["a", "b", "c"], tmp_path, every=4, methods=["pcgrad"]) as watch:
        for step in range(80):
            loss = shared(torch.ones(2)).sum()
            watch([loss if step % 2 == task else None for task in range(3)])
    records = records_of(tmp_path)
    ((cells, findings),) = diagnose(records)
    assert {finding.code for finding in findings} <= {"not-learned"}  # its losses stay where they were
    text = render(build(records))
    assert "pcgrad: no weights at 40 of 40 measured steps" in text
    assert "point apart" not in text and "Weights that" not in text
    assert cells.records[0]["watched"]["tasks"]["c"]["looks"] == 0
    reasons = " ".join(omission.reason for omission in gallery(build(records), records).omitted)
    assert "Cosines" in reasons and "Task weights" in reasons


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"csv"}))
def test_every_format_reports_it(format: str, folder: Path) -> None:
    records = records_of(folder)
    findings = by_group(records)
    text = render(build(records), format, records=records, findings=findings)
    if format == "json":
        content = json.loads(text)
        jsonschema.validate(content, json.loads((ROOT / "docs/report.schema.json").read_text()))
        assert [row["task"] for row in content["watched"]] == TASKS * 2
        assert [row["spec"] for row in content["watched_methods"]] == ["pcgrad", "mgda"]
        assert content["summary"] == content["comparisons"] == content["cost"] == []
    else:
        assert "own training, watched" in text and "pcgrad" in text and "compared with nothing" in text


def test_a_line_per_method_and_score_is_refused(folder: Path) -> None:
    with pytest.raises(
        mtlbench.UsageError, match="watched runs have no scores of methods, so no CSV; use --format json"
    ):
        render(build(records_of(folder)), "csv")


def test_it_never_enters_a_comparison(folder: Path) -> None:
    """A grid in the same folder has the report that it has alone, and another watched run the same."""
    cells = [
        dict(record) for record in Store(ROOT / "results/reference").scan().records if record["suite"] == "cs224n-small"
    ]
    watched = records_of(folder)
    alone, both = build(cells), build([*watched, *cells])
    headed = {group.group: group for group in both.groups}
    for group in alone.groups:
        assert headed.pop(group.group) == group
    assert len(headed) == 2
    for group in headed.values():
        assert not (group.scores or group.comparisons or group.costs or group.rankings or group.pairs or group.delta_m)
        assert group.baseline is None and group.watched
    groups = collect([*watched, *cells])
    assert "training (own training, watched)" in headings(groups)
    assert [title for title in headings(groups) if "own" not in title] == headings(collect(cells))


@pytest.mark.parametrize("to", ["csv", "tensorboard", "mlflow"])
def test_its_history_is_exported(to: str, folder: Path, tmp_path: Path) -> None:
    if to != "csv":
        pytest.importorskip("mlflow" if to == "mlflow" else "tensorboard", reason=f"the export to {to} needs it")
    records = Store(folder).scan().records
    exported = export(records, to, tmp_path)
    assert exported.cells == 1 and exported.left_out == []
    if to == "csv":
        lines = (tmp_path / "history.csv").read_text().splitlines()
        counts = Counter(line.split(",")[6] for line in lines[1:])
        assert counts == {
            "loss": 180,
            "norm": 36,
            "cosine": 36,
            "weight by pcgrad": 36,
            "weight by mgda": 36,
            "accuracy": 2,
        }


def test_other_verbs_pass_over_it(folder: Path, tmp_path: Path) -> None:
    merged = merge([folder], tmp_path)
    assert len(merged.copied) == 1 and not merged.left
    assert leftovers(tmp_path, damaged=True, failed=True) == []
    (cell,) = read_status(tmp_path).cells
    assert (cell.method, cell.status) == ("own training", "done")
    with pytest.raises(mtlbench.UsageError, match="no records to report on"):
        study_of(Store(tmp_path).scan().records)


def test_a_grid_needs_its_baseline_whatever_was_watched(folder: Path) -> None:
    assert build(records_of(folder), baseline="pcgrad").groups[0].watched


def test_the_figures_are_of_the_history(folder: Path) -> None:
    records = records_of(folder)
    drawn = gallery(build(records), records)
    names = [figure.name for figure in drawn.figures if figure.group.startswith("training")]
    assert names == ["losses", "cosines", "norm-ratios", "weights", "scores-by-step"]
    weights = next(figure for figure in drawn.figures if figure.name == "weights")
    assert weights.title.startswith("Weights that methods would give") and "own training" not in weights.description
    assert {figure.name for figure in drawn.figures if figure.group.startswith("stopped")} >= {"losses", "cosines"}
    assert all(np.isfinite(figure.draw().get_figwidth()) for figure in drawn.figures)
