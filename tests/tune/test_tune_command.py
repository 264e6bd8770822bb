"""The whole way: tuning in processes of its own on a tiny but real BERT, resumed, and reported on other seeds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher

from mtlbench.plugins.registry import load_registry
from mtlbench.records.store import Store

Done = subprocess.CompletedProcess[str]
Call = Callable[..., Done]

FAILING = '''
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Fragile(Method):
    """Fails unless its learning rate is the recipe's."""
    name = "fragile"
    reads = "losses"
    search = {"c": "1:2"}
    c: float = 1.5
    def weights(self, observation: Observation):
        return np.full(observation.tasks, np.nan if self.base_lr else self.c)

@dataclass
class Broken(Method):
    """Always fails."""
    name = "broken"
    reads = "losses"
    def weights(self, observation: Observation):
        raise RuntimeError("no weights today")
'''


@pytest.fixture(scope="module")
def tune(mtlbench: Call, suite_file: Path, data_dir: Path) -> Call:
    """Run ``mtlbench tune`` on the tiny suite."""

    def call(*arguments: str) -> Done:
        return mtlbench("tune", "--suite", str(suite_file), "--data-dir", str(data_dir), *arguments)

    return call


@pytest.fixture(scope="module")
def tuned(tune: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("tuning")
    return folder, tune("--methods", "sum,cagrad", "--trials", "3", "--results", str(folder))


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tuned.json").read_text())


def test_every_method_had_its_trials_and_all_are_told(tuned: tuple[Path, Done]) -> None:
    folder, done = tuned
    assert done.returncode == 0, done.stderr
    assert "6 cells, 0 done, 6 to run" in done.stderr and "6 done, 0 failed" in done.stderr
    found = content(folder)
    assert [(one["method"], len(one["trials"])) for one in found["studies"]] == [("sum", 3), ("cagrad", 3)]
    keys = {key for one in found["studies"] for trial in one["trials"] for key in trial["keys"].values()}
    assert keys == {record["key"] for record in Store(folder).scan().records}
    for one in found["studies"]:
        scores = [trial["score"] for trial in one["trials"]]
        assert scores[one["best"]] == max(scores) >= scores[0]
        assert f"{max(scores):.4f}" in done.stdout
    assert found["seeds"] == [1_000_000]
    assert "<svg" in (folder / "tuning.svg").read_text()
    assert "report it on other seeds" in done.stdout


def test_scores_are_the_records_own(tuned: tuple[Path, Done]) -> None:
    records = {record["key"]: record for record in Store(tuned[0]).scan().records}
    for one in content(tuned[0])["studies"]:
        for trial in one["trials"]:
            record = records[trial["keys"]["1000000"]]
            primary = {name: record["scores"][name][task["metrics"][0]] for name, task in record["tasks"].items()}
            assert trial["scores"] == primary and trial["spec"] == record["method"]["spec"]
            assert trial["score"] == pytest.approx(sum(primary.values()) / 3)


def test_the_second_time_nothing_is_trained_and_the_file_is_the_same(tuned: tuple[Path, Done], tune: Call) -> None:
    before = (tuned[0] / "tuned.json").read_bytes(), (tuned[0] / "tuning.svg").read_bytes()
    again = tune("--methods", "sum,cagrad", "--trials", "3", "--results", str(tuned[0]))
    assert again.returncode == 0 and "6 done, 0 to run" in again.stderr
    assert ((tuned[0] / "tuned.json").read_bytes(), (tuned[0] / "tuning.svg").read_bytes()) == before
    assert again.stdout == tuned[1].stdout


def test_a_bigger_budget_keeps_the_trials_there_are(tuned: tuple[Path, Done], tune: Call) -> None:
    more = tune("--methods", "sum,cagrad", "--trials", "4", "--results", str(tuned[0]), "--dry-run")
    assert "8 cells, 6 done, 2 to run" in more.stderr
    assert [line.rsplit(": ", 1)[1] for line in more.stdout.splitlines()] == ["done"] * 3 + ["open"] + ["done"] * 3 + [
        "open"
    ]


def test_killed_in_the_middle_it_goes_on_to_the_same_end(
    tuned: tuple[Path, Done], tune: Call, launch: Launcher, suite_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    arguments = ["--methods", "sum,cagrad", "--trials", "3", "--jobs", "1", "--results", str(tmp_path)]
    process = launch("tune", "--suite", suite_file, "--data-dir", data_dir, *arguments)
    end = time.monotonic() + 120.0
    while not list(tmp_path.glob("*/*/seed-*.json")) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = len(Store(tmp_path).scan().records)
    assert 1 <= found < 6
    done = tune(*arguments)
    assert done.returncode == 0 and f"6 cells, {found} done" in done.stderr
    assert content(tmp_path) == content(tuned[0])


def test_the_best_of_each_method_runs_on_other_seeds(tuned: tuple[Path, Done], mtlbench: Call, tmp_path: Path) -> None:
    file = tuned[0] / "tuned.json"
    done = mtlbench("run", "--methods", f"@{file}", "--seeds", "2", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "tuned on another" not in done.stderr
    records = Store(tmp_path).scan().records
    found = content(tuned[0])["studies"]
    assert {r["method"]["spec"] for r in records} == {one["trials"][one["best"]]["spec"] for one in found}
    assert len({record["group"] for record in records} | {content(tuned[0])["group"]}) == 1
    assert {record["seed"] for record in records} == {0, 1}
    report = json.loads(mtlbench("report", "--results", str(tmp_path), "--format", "json").stdout)
    assert {row["method"] for row in report["summary"]} == {record["method"]["spec"] for record in records}


def test_seeds_that_were_tuned_on_are_refused(tuned: tuple[Path, Done], mtlbench: Call, tmp_path: Path) -> None:
    done = mtlbench(
        "run", "--methods", f"@{tuned[0] / 'tuned.json'}", "--seeds", "0,1000000", "--results", str(tmp_path)
    )
    assert done.returncode == 2 and "seed 1000000 was tuned on" in done.stderr and done.stderr.count("\n") == 1


def test_another_recipe_is_told(tuned: tuple[Path, Done], mtlbench: Call, tmp_path: Path) -> None:
    file = f"@{tuned[0] / 'tuned.json'}"
    done = mtlbench("run", "--methods", file, "--seeds", "1", "--steps", "8", "--dry-run", "--results", str(tmp_path))
    assert done.returncode == 0 and "tuned on another recipe" in done.stderr


def test_a_trial_that_fails_counts_and_is_not_repeated(tune: Call, mtlbench: Call, tmp_path: Path) -> None:
    plugin = tmp_path / "failing.py"
    plugin.write_text(FAILING)
    arguments = (
        "--plugin",
        str(plugin),
        "--methods",
        "fragile,broken",
        "--trials",
        "3",
        "--results",
        str(tmp_path / "out"),
    )
    done = tune(*arguments)
    assert done.returncode == 1  # no trial of one method succeeded
    fragile, broken = content(tmp_path / "out")["studies"]
    assert [trial["status"] for trial in fragile["trials"]] == ["done", "failed", "failed"]
    assert fragile["best"] == 0 and broken["best"] is None
    assert "RuntimeError: no weights today" in done.stdout and "not 3 finite numbers" in done.stdout
    again = tune(*arguments)
    assert again.returncode == 1 and again.stdout == done.stdout and "6 done" not in again.stderr.split("\n", 1)[1]
    refused = mtlbench("run", "--plugin", str(plugin), "--methods", f"@{tmp_path / 'out' / 'tuned.json'}")
    assert refused.returncode == 2 and "no trial of broken succeeded" in refused.stderr


def test_tpe_looks_at_results_and_ends_with_the_same_budget(tune: Call, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs Optuna: pip install 'mtlbench[tune]'")
    arguments = ("--methods", "sum,mgda", "--trials", "4", "--sampler", "tpe", "--results", str(tmp_path))
    done = tune(*arguments)
    assert done.returncode == 0, done.stderr
    assert [len(one["trials"]) for one in content(tmp_path)["studies"]] == [4, 4]
    before = content(tmp_path)
    again = tune(*arguments)
    assert "0 to run" in again.stderr and content(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "sum[base_lr=1e-4]"), "base_lr is tuned; leave it out"),
        (("--methods", "sum,sum"), "method sum is named twice"),
        (("--methods", "sum", "--space", "cagrad[c=0.1:0.5]"), "--space tunes cagrad, which is not one of --methods"),
        (("--methods", "cagrad", "--space", "cagrad"), "write METHOD[parameter=LOW:HIGH]"),
        (("--methods", "cagrad", "--space", "cagrad[c=0:1],cagrad[c=0:2]"), "--space names cagrad twice"),
        (("--methods", "cagrad", "--space", "cagrad[base_lr=1:2]"), "--lr LOW:HIGH"),
        (("--methods", "cagrad[c=0.2]", "--space", "cagrad[c=0.1:0.3]"), "fixes c, and --space tunes it"),
        (("--methods", "cagrad", "--space", "cagrad[c=0.5:0.6]"), "0.4 is not between 0.5 and 0.6"),
        (("--methods", "sum", "--lr", "1e-3:1e-2"), "0.0001 is not between 0.001 and 0.01"),
        (("--methods", "sum", "--lr", "1e-3"), "write LOW:HIGH"),
        (("--methods", "sum", "--sampler", "random"), "unknown sampler 'random'"),
        (("--methods", "sum", "--seeds", "0"), "the number of tuning seeds must be 1 to 10000, not 0"),
        (("--methods", "sum", "--tuning-seed", "-1"), "the tuning seed must be from 0 up"),
        (("--methods", "sum", "--trials", "0"), "trials"),
        (("--methods", "sun"), "unknown method 'sun'"),
        (("--methods", ","), "give at least one method"),
    ],
)
def test_a_bad_request_is_one_line(tune: Call, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = tune(*arguments, "--results", str(tmp_path / "out"))
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_declaration_of_a_space_is_no_part_of_a_methods_code(tmp_path: Path) -> None:
    from mtlbench.plugins.fingerprint import source_fingerprint

    prints = []
    for name, text in (
        ("a", FAILING),
        ("b", FAILING.replace('{"c": "1:2"}', '{"c": "1:9"}')),
        ("c", FAILING.replace("1.5", "1.6")),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        registry = load_registry((str(tmp_path / f"{name}.py"),))
        prints.append(source_fingerprint(registry.method_class("fragile")))
    assert prints[0] == prints[1] != prints[2]
