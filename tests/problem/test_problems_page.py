"""docs/problems.md: every block of code trains, and every command does what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import command_line
from sklearn.datasets import load_wine

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.default_suite import suite_of
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

PAGE = (Path(__file__).parents[2] / "docs" / "problems.md").read_text(encoding="utf-8")
FIRST, *LATER = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(SUITE,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^    (mtlbench .*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page's commands name: my.py with all of its blocks, a suite, and data."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "my.py").write_text("\n\n".join([FIRST, *LATER]))
    (folder / "wine.toml").write_text(SUITE)
    (folder / "data").mkdir()
    wine = load_wine()
    np.save(folder / "data" / "x.npy", wine.data[:, :12])
    np.save(folder / "data" / "y.npy", np.stack([wine.target, wine.data[:, 9]], axis=1))
    random = np.random.default_rng(0)
    rows = [f"{size},{size * 3 + random.normal():.3f},{int(size > 50)}" for size in random.integers(20, 90, size=80)]
    (folder / "homes.csv").write_text("\n".join(["size,price,sold", *rows]))
    return folder


def trained(folder: Path, name: str, methods: Sequence[str] = ("pcgrad",)) -> CellResult:
    registry = load_registry((str(folder / "my.py"),))
    suite = suite_of(registry.problem(name))
    recipe = suite.recipe({"steps": 3})
    workload = Workload.load(suite.name, recipe, registry, data_dir=folder / "data")
    workload.problem.check(workload.recipe)
    return train(workload, registry.method("pcgrad"), 0)


def test_the_first_block_is_short() -> None:
    assert len(FIRST.splitlines()) <= 60


def test_the_first_block_works_alone(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(FIRST)
    assert set(trained(tmp_path, "wine").scores["dev"]) == {"cultivar", "colour"}


@pytest.mark.parametrize("name", ["wine-gaps", "wine-separate", "wine-robust", "wine-disk"])
def test_every_later_block_trains(name: str, folder: Path) -> None:
    assert sum(f'name = "{name}"' in block for block in LATER) == 1 and len(LATER) == 4
    result = trained(folder, name)
    assert result.pairing["shared"] and set(result.scores["dev"]) == {"cultivar", "colour"}
    if name != "wine-disk":
        other = trained(folder, "wine")
        assert (result.history[0]["losses"] == other.history[0]["losses"]) is False


RUN = [command for command in COMMANDS if command.startswith("mtlbench run ")]


@pytest.mark.parametrize("command", RUN)
def test_every_run_of_the_page_is_a_grid(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    planned = command_line(*shlex.split(command)[1:], "--dry-run", "--results", tmp_path)
    assert planned.returncode == 0 and "seed 0: to run" in planned.stderr + planned.stdout


def test_the_other_commands_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert command_line(*shlex.split(RUN[0])[1:], "--methods", "sum", "--seeds", "1", "--steps", "9").returncode == 0
    others = [command for command in COMMANDS if command not in RUN]
    assert [command.split()[1] for command in others] == ["report", "diagnose", "check", "overfit"]
    for command in others:
        done = command_line(*shlex.split(command)[1:])
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert "cultivar" in command_line("report").stdout


def test_info_explains_the_problem_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shown = command_line("info", "wine", "--plugin", "my.py").stdout
    assert "cultivar: 3 classes; accuracy, macro_f1" in shown and "of its own: steps 150, batch_size 32" in shown
    assert "cannot" in shown and "method gradnorm reads gradients of the last shared layer" in shown
