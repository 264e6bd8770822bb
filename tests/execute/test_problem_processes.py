"""Cells of problems in their processes: stopped and resumed, spread over processes, from a plugin file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from problem_runs import APART, PLUGIN, bits, cells_of, run, train, workload_of, write_suite

from mtlbench.execute.executor import Event
from mtlbench.plan.cells import modules_of
from mtlbench.plugins.registry import load_registry
from mtlbench.records.store import Store

DROPOUT = "points[unlabelled=0.3,dropout=0.2,norm=true]"


def stopped_at(*steps: int) -> Callable[[Event], None]:
    def heard(event: Event) -> None:
        if event.kind == "step" and event.done in steps:
            os.kill(os.getpid(), signal.SIGTERM)

    return heard


@pytest.mark.parametrize(
    ("problem", "method", "fields"),
    [
        (DROPOUT, "gradnorm", {}),
        (DROPOUT, "stl", {}),
        (DROPOUT, "modo", {}),
        (APART, "famo", {"sampling": "sqrt"}),
    ],
)
def test_a_stopped_cell_goes_on_to_the_same_bits(
    problem: str, method: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    workload = workload_of(problem, **fields)
    (cell,) = cells_of(workload, [method])
    assert run(tmp_path / "whole", workload, cell).kind == "done"
    for step in (1, 3):
        assert run(tmp_path / "stopped", workload, cell, stopped_at(step)).kind == "lost"
    assert run(tmp_path / "stopped", workload, cell).kind == "done"
    whole, resumed = (Store(tmp_path / name).scan().records[0] for name in ("whole", "stopped"))
    assert resumed["resumed"] == [1, 3] and whole["resumed"] == []
    assert bits(resumed) == bits(whole)
    assert whole["engine"] == {"name": "surgery", "reason": None} and whole["cut"] == {}


def test_a_cell_of_two_processes_takes_the_steps_of_two_parts(tmp_path: Path) -> None:
    """From the command line, with a problem of a plugin file, which the cells' processes import."""
    suite = write_suite(tmp_path, "points[dropout=0.2]")

    def call(folder: str, *more: str) -> subprocess.CompletedProcess[str]:
        grid = ("run", "--suite", suite, "--methods", "pcgrad", "--plugin", PLUGIN, "--jobs", "1")
        return command_line(*grid, "--results", tmp_path / folder, *more)

    done = call("spread", "--processes-per-cell", "2")
    assert done.returncode == 0, done.stderr
    assert "problem points[dropout=0.2], SHA-256" in done.stderr and "model" not in done.stderr
    workload = workload_of("points[dropout=0.2]", accumulate=2)
    (parts,) = train(tmp_path / "parts", workload, ["pcgrad"], [0])
    (spread,) = Store(tmp_path / "spread").scan().records
    for task, scores in parts["scores"].items():
        assert spread["scores"][task] == pytest.approx(scores, abs=1e-5)
    assert spread["seen"] == parts["seen"]


def test_a_cells_process_does_not_try_the_model_or_describe_the_rows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = workload_of()
    (cell,) = cells_of(workload, ["pcgrad"])
    assert cell.trial == workload.problem.trial

    def again(*arguments: Any) -> None:
        raise AssertionError("the planner has tried it")

    workload.problem.describe()
    monkeypatch.setattr("mtlbench.problem.loaded.probe", again)
    monkeypatch.setattr("mtlbench.problem.loaded.describe", again)
    assert run(tmp_path, workload, cell).kind == "done"


def test_cells_of_problems_import_no_transformers() -> None:
    assert modules_of(workload_of().recipe) == ()
    script = (
        "import sys, mtlbench.execute.worker, mtlbench.bench.measure\n"
        "from problem_runs import workload_of\n"
        "workload_of().problem.trial\n"
        "print([name for name in ('transformers', 'datasets', 'sympy') if name in sys.modules])\n"
        "print('mtlbench.problems.digits' in sys.modules, 'mtlbench.methods.pcgrad' in sys.modules)"
    )
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[0] != "" and "transformers" not in done.stdout and "datasets" not in done.stdout
    assert done.stdout.splitlines()[1] == "True True"
    assert load_registry().broken == []
