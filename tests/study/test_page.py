"""The page of a results folder: every number comes from the records, and missing results are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from study_records import climbed, suite

from mtlbench import UsageError, cli
from mtlbench.grid.tuned_file import SELECTION, StudyEntry, TrialEntry, Tuned, write_tuned
from mtlbench.records.store import Store
from mtlbench.study import page
from mtlbench.study.parts import StudiedSuite


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the toy problem's many steps, and a model that may not be installed."""

    def drawn(file: Path) -> str:
        file.write_text("<svg/>")
        return "Two ways."

    def built(part: StudiedSuite) -> None:
        raise UsageError("model 'minilm' is not installed")

    monkeypatch.setattr(page, "trajectories", drawn)
    monkeypatch.setattr(page, "architecture", built)


def saved(folder: Path, records: list[dict[str, Any]]) -> Path:
    Store(folder).prepare()
    for record in records:
        Store(folder).save(record, {})
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mtlbench", "study", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.usefixtures("quick")
def test_the_same_records_give_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = saved(tmp_path / "results", [*climbed(), *suite("main")])
    for output in (tmp_path / "a", tmp_path / "b"):
        assert run(monkeypatch, "--results", results, "--output", output) == 0
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    assert one == other and {Path("README.md"), Path("figures/ladder.svg")} <= one.keys()
    text = one[Path("README.md")].decode()
    for path in one.keys() - {Path("README.md")}:
        assert f"]({path})" in text
    assert "../" not in text and "None" not in text and "nan" not in text.lower().split()


@pytest.mark.usefixtures("quick")
def test_missing_results_are_left_out_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = saved(tmp_path / "results", suite("main", {"sum": 0.0}, 1))
    assert run(monkeypatch, "--results", results, "--output", tmp_path / "page") == 0
    text = (tmp_path / "page" / "README.md").read_text()
    assert "*Left out:* No ladder here" in text and "*Left out:* No cell was scored on a test split" in text
    assert "*Left out:* model 'minilm' is not installed" in text
    assert "*Left out:* No front of scalarizations" in text and not (tmp_path / "page/figures/ladder.svg").exists()


@pytest.mark.usefixtures("quick")
def test_the_page_has_the_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [
        TrialEntry(
            number=number, spec=f"pcgrad[base_lr={lr}]", values={"base_lr": lr}, status="done", score=score,
            scores={"a": score}, reason="", keys={1_000_000: f"k{number}"},
        )
        for number, (lr, score) in enumerate(((1e-4, 0.5), (2e-4, 0.625)))
    ]  # fmt: skip
    study = StudyEntry(
        method="pcgrad", space={"base_lr": "1e-5:2e-4"}, best=1, edges={"base_lr": "high"}, trials=trials
    )
    tuned = Tuned(
        suite="main", group="g", lr=1e-4, steps=9, selection=SELECTION, sampler="halton", tuning_seed=0,
        seeds=[1_000_000], trials=2, studies=[study],
    )  # fmt: skip
    results = saved(tmp_path / "results", suite("main", seeds=2))
    options = ("--results", results, "--output", tmp_path / "page")
    assert run(monkeypatch, *options, "--tuned", write_tuned(tuned, tmp_path)) == 0
    text = (tmp_path / "page" / "README.md").read_text()
    assert "| pcgrad | 2/2 | 0 | 0.5000 | 0.6250 | base_lr=0.0002↑ |" in text and "on the edge of its space" in text
    assert run(monkeypatch, *options) == 0
    assert "*Left out:* No tuning was given" in (tmp_path / "page" / "README.md").read_text()


def test_no_records_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert run(monkeypatch, "--results", tmp_path, "--output", tmp_path / "page") == 2
    assert capsys.readouterr().err.startswith(f"mtlbench: no records in {tmp_path}")
