"""``run``, ``tune`` and ``check`` called from Python train, resume and fail as the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from problem_runs import PLUGIN, POINTS, write_suite

import mtlbench
from mtlbench.host.terminal import console


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(tmp_path_factory.mktemp("suite"))


def run(suite: Path, folder: Path, *methods: str, **options: Any) -> mtlbench.Results:
    return mtlbench.run(suite, methods, plugin=PLUGIN, results=folder, **options)  # type: ignore[arg-type]


def test_a_grid_is_trained_once_and_cells_are_those_of_the_command_line(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = run(suite, tmp_path, "sum", "pcgrad", seeds=[1])
    assert first.complete and set(first.scores.task) == {"side", "sum", "signs", "place"}
    assert "2 done, 0 failed" in capfd.readouterr().err
    again = run(suite, tmp_path, "sum", seeds=[1], quiet=True)
    assert again.records[0]["started"] == first.cells.set_index("method").started["sum"]
    assert list(again.cells.method) == ["sum"] and capfd.readouterr().err == "" and not console.quiet
    words = ["--suite", suite, "--methods", "sum,pcgrad", "--seeds", "1,", "--plugin", PLUGIN, "--results", tmp_path]
    assert "2 cells, 2 done, 0 to run" in command_line("run", *words, "--dry-run").stderr


def test_a_dry_run_names_the_cells_that_are_missing(suite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    planned = run(suite, folder, "sum", "stl", seeds=2, steps=9, tasks=["sum", "side"], dry_run=True, quiet=True)
    assert planned.cells[["method", "seed", "status"]].values.tolist() == [
        ["sum", 0, "missing"], ["stl", 0, "missing"], ["sum", 1, "missing"], ["stl", 1, "missing"]
    ]  # fmt: skip
    assert not planned.complete and planned.scores.empty and not folder.exists()
    assert planned.planned is not None
    recipe = planned.planned[0].recipe
    assert recipe.steps == 9 and recipe.tasks == ("sum", "side")


def test_a_failed_cell_raises_nothing(suite: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "faulty.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom mtlbench import Method\n\n\n@dataclass\nclass Raises(Method):\n"
        '    """Raises."""\n\n    name = "raises"\n\n    def weights(self, observation):\n'
        '        raise ValueError("no")\n'
    )
    results = mtlbench.run(
        suite, ["sum", "raises"], seeds=1, plugin=[plugin, PLUGIN], results=tmp_path / "results", quiet=True
    )  # type: ignore[call-overload, unused-ignore, arg-type]
    cells = results.cells.set_index("method")
    assert dict(cells.status) == {"sum": "done", "raises": "failed"} and not results.complete
    assert "no" in cells.error["raises"] and set(results.scores.method) == {"sum"}


def test_the_best_of_a_tuning_can_be_run(suite: Path, tmp_path: Path) -> None:
    tuned = mtlbench.tune(
        problem=POINTS, methods=["sum"], trials=2, lr=(1e-3, 1e-1), plugin=PLUGIN, results=tmp_path, quiet=True, steps=3
    )
    assert tuned.complete and len(tuned.studies[0].trials) == 2 and (tmp_path / "tuned.json").is_file()
    chosen = tuned.studies[0].chosen
    assert chosen is not None
    methods = f"@{tmp_path / 'tuned.json'}"
    planned = mtlbench.run(
        problem=POINTS,
        methods=methods,
        seeds=1,
        plugin=PLUGIN,
        results=tmp_path / "r",
        steps=3,
        dry_run=True,
        quiet=True,
    )
    assert list(planned.cells.method) == [chosen.spec]


def test_checking_leaves_the_threads_of_this_process_alone() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        checked = mtlbench.check("mean", matrices=1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    assert checked.passed and [certificate.method for certificate in checked.methods] == ["mean"]
