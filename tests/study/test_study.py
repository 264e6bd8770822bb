"""The page of a results folder: every number on it comes from the records, and what these cannot give is left out."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from factory import grid
from histories import with_histories

from mtlbench import cli, stats
from mtlbench.diagnose import diagnose_group
from mtlbench.engine.library import aggregate
from mtlbench.errors import UsageError
from mtlbench.grid.tuned_file import SELECTION, StudyEntry, TrialEntry, Tuned, write_tuned
from mtlbench.plan.cells import Workload
from mtlbench.plan.suite import packaged_suites
from mtlbench.records.store import Store
from mtlbench.report.blocks import Bullets, Table
from mtlbench.report.figures.figure import Unavailable
from mtlbench.study import architecture, front, ladder, limits, page, paper, paper_figures, projection
from mtlbench.study.parts import StudiedSuite, StudyResult, study_of
from mtlbench.text.model import MultiTaskModel

GAINS = {"stl": 0.02, "sum": 0.0, "pcgrad": 0.01}


def suite(name: str, gains: dict[str, float] = GAINS, seeds: int = 3, **recipe: Any) -> list[dict[str, Any]]:
    """Return a grid of a suite of its own."""
    group = hashlib.sha256(f"{name} {recipe}".encode()).hexdigest()
    return [
        one | {"suite": name, "group": group, "key": f"{name}-{one['key']}", "recipe": one["recipe"] | recipe}
        for one in grid(gains, seeds)
    ]


def climbed() -> list[dict[str, Any]]:
    """Return four rungs: the second is one of two beside each other."""
    return [
        *suite("ladder-1-paper", {m: gain - 0.1 for m, gain in GAINS.items()}, model="minilm[pairs=apart]"),
        *suite("ladder-5-sqrt", model="minilm", sampling="sqrt"),
        *suite("ladder-5-annealed", model="minilm", sampling="annealed"),
        *suite(
            "ladder-6-warmup", {m: gain + 0.15 for m, gain in GAINS.items()}, model="minilm", sampling="sqrt", lr=1e-4
        ),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """A ladder, and a suite with scalarizations."""
    weights = {"fixed[w=2:1:1]": -0.01, "fixed[w=1:2:1]": 0.0, "fixed[w=1:1:2]": 0.005}
    records = [*climbed(), *suite("main", GAINS | weights, 5)]
    return study_of(with_histories(records, tmp_path_factory.mktemp("histories")))


def text_of(blocks: Any) -> str:
    return page.markdown(blocks)


# --- parts


def test_rungs_stand_in_order_and_change_what_their_recipes_say() -> None:
    rungs = study_of(climbed()).rungs
    assert [rung.name for rung in rungs] == ["1-paper", "5-sqrt", "5-annealed", "6-warmup"]
    assert [rung.before and rung.before.name for rung in rungs] == [None, "1-paper", "1-paper", "5-sqrt"]
    assert rungs[1].changes == ("model minilm[pairs=apart] → minilm", "sampling uniform → sqrt")
    assert rungs[3].changes == ("lr 5e-05 → 0.0001",)


def test_packaged_rungs_each_have_one_before_that_their_file_names() -> None:
    names = [name for name in packaged_suites() if name.startswith("ladder-")]
    for name in names:
        first = packaged_suites()[name].read_text().splitlines()[0]
        if first.startswith("# Changes one thing against "):
            assert first.removeprefix("# Changes one thing against ").partition(":")[0] in names


def test_of_several_groups_of_a_suite_the_newest_counts() -> None:
    newer = [one | {"started": one["started"].replace("2026", "2027")} for one in suite("main", lr=1e-4)]
    (part,) = study_of([*newer, *suite("main", lr=1e-5)]).suites
    assert part.cells.recipe["lr"] == 1e-4


def test_the_suite_with_most_cells_comes_first() -> None:
    study = study_of([*suite("a", seeds=2), *suite("b", seeds=4)])
    assert [part.suite for part in study.suites] == ["b", "a"] and not study.rungs and not study.tested


# --- the paper's numbers


def test_a_number_of_the_paper_fits_what_always_answering_yes_scores() -> None:
    records = suite("main", seeds=2)
    for record in records:
        record["tasks"]["qqp"]["floors"]["accuracy"].append({"name": "all positive", "value": 0.3753})
        record["tasks"]["qqp"]["dev"] = 40_429
    table, readings, drop = paper.table_2(study_of(records))
    rows = {row.cells[0]: row.cells for row in table.sections[0].rows}
    assert rows["qqp accuracy, PCGrad"][1] == "0.373" and rows["qqp accuracy, PCGrad"][-2] == "all positive (0.375)"
    assert rows["stsb pearson, PCGrad"][-2] == "nothing here"
    assert len(rows) == len(readings.items) == 6
    assert "† our encoder was tuned" in text_of([table])
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


def test_what_cannot_be_concluded_is_worked_out() -> None:
    (part,) = study_of(suite("main", seeds=2, steps=534)).suites
    told = " ".join(limits.limits(part).items)
    assert "another encoder than all-MiniLM-L6-v2" in told and "How well qqp was learned" in told
    assert "at matched time: stl is matched in steps" in told
    assert "534 steps" in told and "sst5 1," in told and "all had 5e-05" in told
    score = paper.score_of(part, "sst5", "sum")
    assert score is not None and score.mean is not None
    assert f"{np.sqrt(score.mean * (1 - score.mean) / 1101):.3f} on sst5 (1,101 rows)" in told


# --- the ladder


def test_differences_are_paired_by_seed(whole: StudyResult) -> None:
    last, before = whole.rungs[3], whole.rungs[1]
    assert last.before is not None and last.before.name == before.name
    told, table, weighed, _ = ladder.tables(whole.rungs)
    assert isinstance(table, Table) and isinstance(told, Bullets)
    row = next(row.cells for row in table.sections[3].rows if row.cells[0] == "sst5 accuracy")
    pcgrad, plain, earlier = (
        np.array(list(rung.part.cells.series(method, "sst5", "accuracy").values()))
        for rung, method in ((last, "pcgrad"), (last, "sum"), (before, "sum"))
    )
    expected = stats.paired_comparison(pcgrad, plain)
    assert row[5].startswith(f"{expected.mean_difference:+.3f} [{expected.ci_low:+.3f}")
    assert row[6].startswith(f"{(plain - earlier).mean():+.3f}")
    assert table.sections[0].rows[0].cells[6] == "-"
    assert told.items[3].endswith("; against 5-sqrt: lr 5e-05 → 0.0001")
    assert f"sst5 accuracy, {(plain - earlier).mean():+.3f}" in weighed.text and "(6-warmup) and +0.0" in weighed.text


def test_the_doctor_is_heard_of_every_rung(whole: StudyResult) -> None:
    *_, findings = ladder.tables(whole.rungs)
    assert isinstance(findings, Bullets)
    for rung, told in zip(whole.rungs, findings.items, strict=True):
        codes = {one.code for one in diagnose_group(rung.part.cells) if one.severity != "note"}
        name, _, found = told.partition(": ")
        assert name == rung.name and codes == {one.partition(" (")[0] for one in found.split("; ")}


def test_a_rung_without_a_method_has_a_dash() -> None:
    rungs = study_of(suite("ladder-1-paper", {"sum": 0.0}, 1)).rungs
    assert ladder.tables(rungs)[1].sections[0].rows[0].cells[1:6] == ("-", "0.399", "-", "-", "-")
    assert ladder.figure(rungs).svg


# --- figures


def test_projections_are_pcgrads_own() -> None:
    apart, together = (projection.project(pair) for pair in projection.PAIRS)
    first, second = apart.gradients
    np.testing.assert_allclose(apart.projected[0], first - first @ second / (second @ second) * second)
    np.testing.assert_allclose(apart.projected[1], second - first @ second / (first @ first) * first)
    np.testing.assert_allclose(apart.update, apart.projected.sum(axis=0))
    np.testing.assert_allclose(apart.update, aggregate("pcgrad", apart.gradients))
    assert apart.cosine < 0 < together.cosine
    np.testing.assert_array_equal(together.projected, together.gradients)


def test_boxes_are_the_models(make_workload: Any) -> None:
    workload: Workload = make_workload()
    model = MultiTaskModel(workload.encoder, workload.files, workload.tasks, seed=0)
    shared = architecture.shared_boxes(model)
    heads = architecture.head_boxes(model, [task.key for task in workload.tasks])
    assert [box.name for box in shared[1:3]] == ["embeddings", "1 Transformer layer"]
    assert [box.shape for box in heads] == ["linear 32 → 3", "linear 32 → 2", "linear 32 → 1"]
    assert sum(box.parameters for box in (*shared, *heads)) == sum(p.numel() for p in model.parameters())


def test_the_architecture_is_built_from_a_record(tiny_bert: Path) -> None:
    spec = f"{tiny_bert}[layers=1,pairs=apart]"
    records = suite("main", {"sum": 0.0}, 1, model=spec)
    records[0]["encoder"]["spec"] = spec
    figure = architecture.architecture(study_of(records).suites[0])
    assert "linear 64 → 5" in figure.description and "vectors joined" in figure.description
    assert "1 Transformer layer" in figure.svg
    records[0]["encoder"]["spec"] = "/nowhere"
    with pytest.raises(UsageError):
        architecture.architecture(study_of(records).suites[0])


def test_scores_have_the_papers_lines(whole: StudyResult) -> None:
    figure = paper_figures.scores(whole.suites[0], "figure-4-main")
    assert "sst5 0.520 and 0.436" in figure.description
    assert "paper, PCGrad 0.279" in figure.svg and "paper, single-task 0.696" in figure.svg


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


# --- the page


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
def test_what_was_not_run_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = saved(tmp_path / "results", suite("main", {"sum": 0.0}, 1))
    assert run(monkeypatch, "--results", results, "--output", tmp_path / "page") == 0
    text = (tmp_path / "page" / "README.md").read_text()
    assert "*Left out:* No ladder here" in text and "*Left out:* No cell was scored on a test split" in text
    assert "*Left out:* model 'minilm' is not installed" in text
    assert "*Left out:* No front of scalarizations" in text and not (tmp_path / "page/figures/ladder.svg").exists()


@pytest.mark.usefixtures("quick")
def test_how_methods_were_tuned_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    given = ("--results", results, "--output", tmp_path / "page")
    assert run(monkeypatch, *given, "--tuned", write_tuned(tuned, tmp_path)) == 0
    text = (tmp_path / "page" / "README.md").read_text()
    assert "| pcgrad | 2/2 | 0 | 0.5000 | 0.6250 | base_lr=0.0002↑ |" in text and "on the edge of its space" in text
    assert run(monkeypatch, *given) == 0
    assert "*Left out:* No tuning was given" in (tmp_path / "page" / "README.md").read_text()


def test_no_records_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert run(monkeypatch, "--results", tmp_path, "--output", tmp_path / "page") == 2
    assert capsys.readouterr().err.startswith(f"mtlbench: no records in {tmp_path}")


def test_test_scores_have_tables_of_their_own() -> None:
    records = suite("main")
    for record in records:
        record["test_scores"] = {task: {m: v + 0.001 for m, v in s.items()} for task, s in record["scores"].items()}
        for task in record["tasks"].values():
            task["test"] = {"rows": 100, "floors": task["floors"]}
    (part,) = study_of(records).tested
    assert isinstance(part, StudiedSuite) and part.group.split == "test"
