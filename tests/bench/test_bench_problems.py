"""``mtlbench bench`` on a problem: the plain step is the same sum of losses, and refusals come before the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import command_line
from problem_runs import APART, PLUGIN, POINTS, workload_of, write_suite

from mtlbench.bench import command
from mtlbench.bench.job import BenchJob
from mtlbench.bench.problem_contenders import PlainSteps, SessionSteps, problem_contender
from mtlbench.bench.result import PLAIN_STEP, ContenderResult
from mtlbench.engine.library import get_method


@pytest.mark.parametrize(
    ("problem", "fields"), [(POINTS, {}), (APART, {"sampling": "sqrt"}), ("points[double=true]", {})]
)
def test_the_plain_step_is_that_of_the_sum(problem: str, fields: dict[str, Any]) -> None:
    workload = workload_of(problem, **fields)
    plain, ours = (problem_contender(workload, method, 3, 0) for method in (None, get_method("sum")))
    assert isinstance(plain, PlainSteps) and isinstance(ours, SessionSteps)
    for step in range(3):
        losses = ours.session.step(ours.method, step, measure=False).losses
        expected = sum(loss for loss in losses)
        assert float(plain.loss(step).detach()) == pytest.approx(expected, rel=1e-5)
        ours.optimizer.step()
        plain.step(step)
    pairs = zip(plain.session.model.parameters(), ours.session.model.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_a_method_that_reads_losses_after_the_step_is_timed_with_them() -> None:
    ours = problem_contender(workload_of(), get_method("famo"), 2, 0)
    before = ours.method.state_dict()  # type: ignore[attr-defined]
    ours.step(0)
    assert str(ours.method.state_dict()) != str(before)  # type: ignore[attr-defined]


def test_table_and_data(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    arguments = ("--suite", suite, "--plugin", PLUGIN, "--methods", "pcgrad", "--steps", "3", "--output", tmp_path)
    done = command_line("bench", *arguments)
    assert done.returncode == 0, done.stderr
    assert "4 tasks × 16 rows, points[unlabelled=0.3], 1 thread" in done.stdout
    assert "Hugging Face" not in done.stdout and "one backward of the summed losses" in " ".join(done.stdout.split())
    data = json.loads((tmp_path / "bench.json").read_text())
    plain, ours = data["contenders"]
    assert (plain["method"], plain["engine"]) == (PLAIN_STEP, None)
    assert (ours["method"], ours["engine"]) == ("pcgrad", "surgery")
    for contender in (plain, ours):
        assert contender["error"] is None and len(contender["seconds"]) == 3
        assert contender["peak_memory_bytes"] > 50e6 and contender["time_by_plain"] > 0.0
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_each_method_has_one_engine_and_the_plain_sum_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[BenchJob] = []

    def invent(job: BenchJob, result: ContenderResult, on_step: Any) -> None:
        jobs.append(job)
        result.seconds += [0.5] * (job.recipe.steps or 0)
        result.peak = 10**9

    monkeypatch.setattr(command, "run_alone", invent)
    suite = write_suite(tmp_path)
    done = command_line("bench", "--suite", suite, "--plugin", PLUGIN, "--methods", "sum,mgda-ub", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [job.method for job in jobs] == [None, "sum", "mgda-ub"] and {job.recipe.engine for job in jobs} == {"auto"}


def test_a_method_that_the_problem_cannot_train_is_refused_before_the_work(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, APART)
    done = command_line("bench", "--suite", suite, "--plugin", PLUGIN, "--methods", "mgda-ub", "--output", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "method mgda-ub reads gradients of a representation" in done.stderr
    assert not (tmp_path / "bench.json").exists()
