"""The examples in docs/tasks.md, run unchanged on small files with the columns of the data sets that they name."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtlbench.contract.spec import split_specs
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.metrics import METRICS
from mtlbench.recipe.suite import Suite, load_suite
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

datasets = pytest.importorskip("datasets")

WORDS = ["the", "film", "dog", "cat", "good", "bad", "runs", "sleeps", "slowly", "red", "blue", "house"]
PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
SUITES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
TEXT = datasets.Value("string")
PAIR = {"sentence1": TEXT, "sentence2": TEXT}
TWO = datasets.ClassLabel(num_classes=2)
COLUMNS: dict[tuple[str, str | None], dict[str, Any]] = {
    ("nyu-mll/glue", "mrpc"): {**PAIR, "label": TWO},
    ("nyu-mll/glue", "rte"): {**PAIR, "label": TWO},
    ("nyu-mll/glue", "stsb"): {**PAIR, "label": datasets.Value("float32")},
    ("google-research-datasets/go_emotions", "simplified"): {
        "text": TEXT,
        "labels": datasets.Sequence(datasets.ClassLabel(num_classes=28)),
    },
    ("dair-ai/emotion", "split"): {
        "text": TEXT,
        "label": datasets.ClassLabel(names=["sadness", "joy", "love", "anger", "fear", "surprise"]),
    },
    ("SetFit/amazon_reviews_multi_en", None): {"text": TEXT, "label": datasets.Value("int64")},
    ("mteb/amazon_counterfactual", "en"): {"text": TEXT, "label": datasets.Value("int32")},
}
"""Data set and configuration → its columns."""


def drawn(feature: Any, random: np.random.Generator) -> Any:
    """Return a value that a column may hold."""
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return [int(one) for one in np.flatnonzero(random.random(inner.num_classes) < 0.1)]
    if feature == TEXT:
        return " ".join(random.choice(WORDS, size=5))
    return int(random.integers(getattr(feature, "num_classes", None) or 2))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer for the hub with small parquet files, which the real ``datasets`` reads."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    load = datasets.load_dataset

    def load_dataset(path: str, config: str | None, revision: str | None) -> Any:
        columns, random = COLUMNS[path, config], np.random.default_rng(0)
        folder = tmp_path / path.replace("/", "-") / str(config)
        folder.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "test"):
            rows = {name: [drawn(feature, random) for _ in range(24)] for name, feature in columns.items()}
            made = datasets.Dataset.from_dict(rows, features=datasets.Features(columns))
            made.to_parquet(folder / f"{split}.parquet")
        return load(str(folder))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def trained(workload: Workload) -> CellResult:
    return train(workload, load_registry().method("pcgrad"), 0)


@pytest.mark.parametrize("text", SUITES, ids=lambda text: tomllib.loads(text)["description"])
def test_every_suite_of_the_page_trains(text: str, hub: None, tmp_path: Path, tiny_bert: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)
    suite: Suite = load_suite(str(tmp_path / "suite.toml"))
    recipe = suite.recipe({"model": f"{tiny_bert}[layers=1]", "steps": 2, "batch_size": 4, "max_length": 32})
    workload = Workload.load(suite.name, recipe, load_registry())
    outcome = trained(workload)
    assert {task.key: tuple(outcome.scores["dev"][task.key]) for task in workload.tasks} == {
        task.key: task.metrics for task in workload.tasks
    }


def test_the_command_of_the_page_trains_on_partial_labels(
    make_workload: Callable[..., Workload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"^    (mtlbench run --tasks '.*?')$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    tasks = tuple(split_specs(shlex.split(found[1])[-1]))
    random = np.random.default_rng(0)
    lines = ["review,mood,topics,stars"]
    for row in range(120):
        words = " ".join(random.choice(WORDS, size=7))
        mood, topics = random.choice(["bad", "good"]), "|".join(random.choice(["plot", "music", "cast"], 2, False))
        lines.append(f"{words},{mood if row % 2 else ''},{topics if row % 3 else ''},{row % 5 + 1 if row % 4 else ''}")
    (tmp_path / "r.csv").write_text("\n".join(lines))
    tasks = tuple(task.replace("r.csv", str(tmp_path / "r.csv")) for task in tasks)
    assert set(trained(make_workload(tasks=tasks)).scores["dev"]) == {"mood", "topics", "stars"}


def test_the_task_in_python_of_the_page_trains(
    make_workload: Callable[..., Workload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "regression", dict(METRICS["regression"]))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "length.py").write_text(code)
    registry = load_registry((str(tmp_path / "length.py"),))
    recipe = make_workload().recipe.model_copy(update={"tasks": ("length",)})
    workload = Workload.load("own", recipe, registry)
    assert set(trained(workload).scores["dev"]["length"]) == {"closeness", "spearman"}
