"""Recommendations: each rule on made runs of the plain sum, in both directions, and on a real run that is short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problem_runs import train, workload_of
from test_diagnose import TASKS, Change, cell, codes, each, measured

import mtlbench
from mtlbench.diagnose import diagnose
from mtlbench.diagnose.map_evidence import in_errors, map_evidence, range_for
from mtlbench.diagnose.plain_sum import Measured
from mtlbench.diagnose.recommend import Advice, advise, recommend
from mtlbench.diagnose.rules import RULES
from mtlbench.diagnose.text import by_group, to_blocks, to_json
from mtlbench.plugins.registry import load_registry
from mtlbench.records.groups import collect
from mtlbench.records.store import Store
from mtlbench.report.text import render


def advice_on(*records: dict[str, Any]) -> list[Advice]:
    """Return the recommendations on a group."""
    (cells,) = collect(records)
    return recommend(cells)


def on_sum(folder: Path, *changes: Change) -> list[Advice]:
    """Return the recommendations on two runs of the plain sum, after changes of what they left behind."""

    def changed(made: dict[str, Any]) -> None:
        for change in changes:
            change(made)

    return advice_on(*(cell(folder, changed, method="sum", seed=seed) for seed in (0, 1)))


def rules(advice: list[Advice]) -> list[str]:
    return [one.code for one in advice]


def times(task: str, factor: float) -> Change:
    """Multiply a task's losses."""
    return each(lambda row: row["losses"].update({task: factor * row["losses"][task]}))


def halted(high: float, fall: float = 0.0) -> Change:
    """Let all losses fall to a share of their start within a tenth of the steps, and by another share afterwards."""

    def changed(row: dict[str, Any]) -> None:
        share = 1.0 if row["step"] <= 10 else high * (1.0 - fall * (row["step"] - 10) / 45)
        row["losses"] = dict.fromkeys(TASKS, share)

    return each(changed)


opposed = measured("cosines", {"mood|like": -0.7})


@pytest.mark.parametrize(("factor", "rule"), [(1.0, "equal-tasks"), (2.5, "equal-tasks"), (40.0, "unequal-tasks")])
def test_losses_of_unlike_scale_at_the_start(factor: float, rule: str, tmp_path: Path) -> None:
    (advice,) = on_sum(tmp_path, times("like", factor))
    assert advice.code == rule
    assert f"ratio {max(1.0, factor):.2g}, bound 3" in advice.measured and "(like)" in advice.measured
    assert (advice.gain, advice.families[0]) == {
        "equal-tasks": ((0, 8), "step rule"),
        "unequal-tasks": ((20, 130), "normalize gradients"),
    }[rule]
    assert advice.method == "sum" and advice.seeds == (0, 1)


def test_a_task_that_is_learned_early_is_not_one_of_small_scale(tmp_path: Path) -> None:
    learned = each(lambda row: row["losses"].update(mood=1e-4) if row["step"] > 10 else None)
    assert rules(on_sum(tmp_path, learned)) == ["equal-tasks"]


def test_more_classes_are_not_a_larger_scale(tmp_path: Path) -> None:
    """The first loss of 50 classes is ln(50) = 3.9 nats, that of standardised numbers 1."""

    def changed(made: dict[str, Any]) -> None:
        times("mood", np.log(50) / np.log(3))(made)
        labels = made["outputs"]["mood"][1]
        made["outputs"]["mood"] = (np.random.default_rng(0).normal(size=(len(labels), 50)), labels)

    assert rules(on_sum(tmp_path, changed)) == ["equal-tasks"]
    no_predictions = on_sum(tmp_path, times("mood", np.log(50) / np.log(3)))
    assert rules(no_predictions) == ["unequal-tasks"]  # three classes do not begin at 3.9 nats


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_losses_without_a_ratio_are_left_out(bad: float, tmp_path: Path) -> None:
    (advice,) = on_sum(tmp_path, each(lambda row: row["losses"].update(mood=bad)))
    assert advice.code == "equal-tasks" and "losses at the start not measured" in advice.measured
    assert "unequal-tasks" in advice.undecided["losses of a known kind"]


def test_gradients_of_unlike_length_alone_promise_less(tmp_path: Path) -> None:
    (advice,) = on_sum(tmp_path, measured("norms", {"like": 4.0}))
    assert advice.code == "unequal-gradients" and advice.gain == (0, 190)
    later = each(lambda row: row["norms"].update(mood=0.1) if "norms" in row and row["step"] > 20 else None)
    assert rules(on_sum(tmp_path, later)) == ["equal-tasks"]


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ((halted(0.6), opposed), True),
        ((halted(0.6),), False),
        ((halted(0.1), opposed), False),
        ((halted(0.6, fall=0.4), opposed), False),
    ],
    ids=["both", "not opposed", "low", "falling"],
)
def test_capacity(changes: tuple[Change, ...], given: bool, tmp_path: Path) -> None:
    first, *further = on_sum(tmp_path, *changes)
    assert first.code == "equal-tasks"
    assert rules(further) == (["capacity"] if given else [])
    if given:
        assert further[0].gain is None and further[0].families == ("widen the trunk",)
        assert "-0.70 (mood and like)" in further[0].measured


def test_the_course_of_a_run_that_goes_on_is_not_judged(tmp_path: Path) -> None:
    def changed(made: dict[str, Any]) -> None:
        halted(0.6)(made)
        opposed(made)

    record = cell(tmp_path, changed, method="sum")
    history = [json.loads(line) for line in (tmp_path / "sum-0.history.jsonl").read_text().splitlines()]
    assert rules(advice_on({**record, "status": "running", "history": history, "files": {}})) == ["equal-tasks"]


def made(**changes: Any) -> Measured:
    """Return measurements of two tasks of one scale, with noise."""
    same = {"a": 1.0, "b": 1.0}
    found = Measured(
        losses=same,
        norms=same,
        cosines={"a|b": 0.0},
        noise={"a": 2.0, "b": 2.5},
        remaining={"a": 0.1, "b": 0.1},
        falling={"a": 0.5, "b": 0.5},
        optimizer="adamw",
    )
    return replace(found, **changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "equal-tasks"),
        ({"noise": {"a": 2.0, "b": 20.0}}, "loud-task-is-noisier"),
        ({"noise": {"a": 2.0, "b": 20.0}, "losses": {"a": 1.0, "b": 30.0}}, "loud-task-is-noisier"),
        ({"noise": {"a": 2.0, "b": 20.0}, "losses": {"a": 1.0, "b": 0.4}}, "loud-task-is-noisier"),
        ({"noise": {"a": 2.0, "b": 20.0}, "losses": {"a": 1.0, "b": 0.03}}, "quiet-task-is-noisier"),
        ({"losses": {"a": 1.0, "b": 0.03}}, "unequal-tasks"),
        ({"losses": {"a": 1.0, "b": 0.03}, "optimizer": "sgd"}, "unequal-tasks-under-sgd"),
        ({"optimizer": "sgd"}, "equal-tasks"),
        ({"norms": {"a": 1.0, "b": 5.0}}, "unequal-gradients"),
    ],
)
def test_measured_noise_and_the_optimizer_decide(changes: Mapping[str, Any], rule: str) -> None:
    (advice,) = advise(made(**changes), 2)
    assert advice.code == rule and advice.undecided == {}


def test_what_was_not_measured_is_told() -> None:
    (advice,) = advise(made(noise={}), 2)
    assert advice.undecided == {
        "the noise of each task's gradient (two batches a step)": ("quiet-task-is-noisier", "loud-task-is-noisier")
    }
    (advice,) = advise(made(noise={}, losses={"a": 9.0, "b": 1.0}, optimizer=None), 2)
    assert advice.code == "unequal-tasks" and advice.undecided["the optimizer"] == ("unequal-tasks-under-sgd",)
    assert advise(made(losses={}, norms={}, noise={}, cosines={}), 2) == []
    assert advise(made(), 1) == []


@pytest.mark.parametrize(
    ("tasks", "gain", "trials"),
    [(2, (20, 130), "8 to 12"), (3, (20, 130), "8 to 12"), (4, (40, 50), "30 to 80"), (9, (15, 20), "30 to 80")],
)
def test_the_gain_and_the_trials_depend_on_the_number_of_tasks(
    tasks: int, gain: tuple[float, float], trials: str
) -> None:
    (advice,) = advise(made(losses={"a": 9.0, "b": 1.0}), tasks)
    assert advice.gain == gain and f"{trials} trials" in advice.fix


def test_the_evidence_is_of_the_rules_and_names_methods_that_exist() -> None:
    evidence, names = map_evidence(), load_registry().methods.keys()
    assert evidence.rules.keys() == {rule.code for rule in RULES}
    for rule in RULES:
        assert set(rule.methods) <= names and evidence.rules[rule.code].observed
        for numbers in evidence.rules[rule.code].gain:
            assert numbers.low <= numbers.high
    assert range_for(evidence.trials, 1) is None
    assert in_errors((20, 130)) == "20 to 130 points, that is errors lower by 18% to 73%"


def test_other_numbers_may_replace_the_packaged_ones() -> None:
    evidence = map_evidence()
    strict = replace(evidence, thresholds=replace(evidence.thresholds, ratio=1.2))
    found = made(losses={"a": 1.5, "b": 1.0})
    assert [advise(found, 2)[0].code, advise(found, 2, strict)[0].code] == ["equal-tasks", "unequal-tasks"]


def test_there_is_advice_on_runs_of_the_sum_only(tmp_path: Path) -> None:
    others = [cell(tmp_path, times("like", 40.0), method=method) for method in ("stl", "pcgrad")]
    assert advice_on(*others) == [] and "advice" not in render(to_blocks(diagnose(others)))
    assert rules(advice_on(*others, cell(tmp_path, times("like", 40.0), method="sum"))) == ["unequal-tasks"]


def test_of_several_sums_that_with_the_most_runs_is_measured(tmp_path: Path) -> None:
    def renamed(made: dict[str, Any]) -> None:
        times("like", 40.0)(made)
        made["record"]["method"]["name"] = "sum"

    lone = cell(tmp_path, method="sum")
    tuned = [cell(tmp_path, renamed, method="sum[base_lr=0.1]", seed=seed) for seed in (0, 1)]
    (advice,) = advice_on(lone, *tuned)
    assert (advice.method, advice.code) == ("sum[base_lr=0.1]", "unequal-tasks")


def test_advice_makes_no_healthy_run_unhealthy(tmp_path: Path) -> None:
    records = [cell(tmp_path, method="sum", seed=seed) for seed in (0, 1)]
    assert codes(records, notes=True) == set()
    text = " ".join(render(to_blocks(diagnose(records))).split())
    assert "nothing is wrong with them" in text and "advice equal-tasks: sum: no weights will gain much" in text
    assert "expected gain: 0 to 8 points, that is errors lower by 0% to 8%" in text
    assert "R²): 0.55 from losses" in text and "not which method wins" in text
    content = json.loads(to_json(diagnose(records)))
    assert content["findings"] == []
    (row,) = content["advice"]
    assert (row["code"], row["group"], row["gain"], row["r2"]["losses"]) == ("equal-tasks", "a" * 64, [0, 8], 0.55)
    (blocks,) = by_group(records).values()  # for the report's page
    assert [block.title for block in blocks if block.title.startswith("advice equal-tasks")]  # type: ignore[union-attr]


def test_a_watched_run_is_judged_by_its_norms(tmp_path: Path) -> None:
    """The kind of its losses is not known: their sizes could be those of many classes."""
    weight = torch.nn.Parameter(torch.ones(3))
    with mtlbench.Watch([weight], ["a", "b"], tmp_path, every=2) as watch:
        for step in range(60):
            watch([weight.sum() / (1 + step), 50 * weight[0] / (1 + step)])
    (advice,) = advice_on(*Store(tmp_path).scan().records)
    assert advice.code == "unequal-gradients" and "optimizer not known" in advice.measured
    assert set(advice.undecided) == {
        "the noise of each task's gradient (two batches a step)",
        "losses of a known kind",
        "the optimizer",
    }
    text = render(to_blocks(diagnose(Store(tmp_path).scan().records)))
    assert "advice unequal-gradients: the gradients" in text and "own training: " not in text


def test_a_real_run_with_a_loss_that_is_summed_over_pixels(tmp_path: Path) -> None:
    workload = workload_of(
        "digits[width=16,rows=600,dev_rows=60]",
        tasks=("left", "right", "sum", "reconstruction"),
        steps=40,
        lr=5e-3,
        measure_every=4,
    )
    (advice,) = advice_on(*train(tmp_path, workload, ["sum"], [0]))
    assert advice.code == "unequal-tasks" and advice.gain == (40, 50)
    assert "(reconstruction), ratio 3" in advice.measured  # 30 to 39: the loss is a sum over 32 pixels
