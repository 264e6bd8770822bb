"""``mtlbench bench``: what it measures of the tiny workload, what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import cli
from mtlbench.bench import command
from mtlbench.bench.command import engines_of
from mtlbench.bench.contenders import Padded, PaddedModel, make_optimizer
from mtlbench.bench.job import BenchJob
from mtlbench.bench.result import PLAIN, BenchResult, ContenderResult
from mtlbench.bench.text import as_data, as_text
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.model_trial import Traits
from mtlbench.text.tokens import Tokenizer
from mtlbench.training.engines import Inputs, make_engine

Command = Callable[..., subprocess.CompletedProcess[str]]

RAISING = '''"""A method that fails."""
from dataclasses import dataclass
from mtlbench import Method

@dataclass
class Failing(Method):
    """Raises."""
    name = "failing"
    reads = "losses"

    def weights(self, seen):
        raise ArithmeticError("no\\nweights")
'''


@pytest.fixture(scope="module")
def bench(mtlbench: Command, suite_file: Path, data_dir: Path) -> Command:
    """Run ``mtlbench bench`` on the tiny suite."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return mtlbench("bench", "--suite", str(suite_file), "--data-dir", str(data_dir), *arguments)

    return call


def test_table_data_and_figures(bench: Command, tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(RAISING)
    plugin = ("--plugin", str(tmp_path / "raising.py"))
    done = bench("--methods", "pcgrad,failing", "--steps", "3", "--output", str(tmp_path / "out"), *plugin)
    assert done.returncode == 1, done.stderr  # because one method fails
    assert max(map(len, done.stdout.splitlines())) <= 80 and "\x1b" not in done.stdout
    told = "failing, packed; failing, loop: method failing: weights() raised ArithmeticError: no weights"
    assert told in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr
    data = json.loads((tmp_path / "out/bench.json").read_text())
    contenders = {(one["method"], one["engine"]): one for one in data["contenders"]}
    assert [*contenders] == [
        (PLAIN, None),
        *(("pcgrad", engine) for engine in ("packed", "lean", "loop")),
        *(("failing", engine) for engine in ("packed", "loop")),
    ]
    for (method, _), one in contenders.items():
        assert (one["error"] is not None) == (method == "failing")
        if one["error"] is None:
            assert len(one["seconds"]) == 3 and min(one["seconds"]) > 0.0
            assert one["peak_memory_bytes"] > 100e6 and one["time_by_plain"] > 0.0
    assert contenders[PLAIN, None]["time_by_plain"] == 1.0 == contenders[PLAIN, None]["memory_by_plain"]
    assert data["recipe"]["batch_size"] == 4 and data["recipe"]["steps"] == 3
    assert (tmp_path / "out/bench.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out/bench.svg").read_text()


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["mtlbench", "bench", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_json_and_the_suites_own_methods(
    suite_file: Path,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the processes: what they would tell is made up."""

    def made_up(job: BenchJob, found: ContenderResult, heard: Callable[[], object]) -> None:
        found.seconds += [0.5] * (job.recipe.steps or 0)
        found.peak = 10**9

    monkeypatch.setattr(command, "run_alone", made_up)
    tiny = ("--suite", str(suite_file), "--data-dir", str(data_dir), "--output", str(tmp_path), "--batch-size", "2")
    code, printed, _ = call(capsys, monkeypatch, *tiny, "--steps", "2", "--json")
    assert code == 0 and json.loads(printed) == json.loads((tmp_path / "bench.json").read_text())
    assert [one["engine"] for one in json.loads(printed)["contenders"]] == [None, "packed", "loop"]
    assert json.loads(printed)["contenders"][2]["seconds"] == [0.5, 0.5]
    _, table, _ = call(capsys, monkeypatch, *tiny)
    assert "sum                packed      500.0      1.00       1000      1.00" in table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--methods", "pcgrd"], "unknown method 'pcgrd'; did you mean pcgrad"),
        (["--methods", "stl"], "method stl trains a model per task, so it has no joint step to measure"),
        (["--methods", ","], "give at least one method"),
        (["--suite", "quik"], "unknown suite 'quik'; did you mean quick?"),
        (["--steps", "0"], "option steps=0 should be greater than or equal to 1"),
        (["--threads", "0"], "option threads=0 should be greater than or equal to 1"),
        (["--batch-size", "0"], "option batch_size=0 should be greater than or equal to 1"),
        (["--tasks", "sst6"], "unknown task 'sst6'; did you mean sst5?"),
        (["--model", "minilm[layer=2]"], "unknown parameter of model encoder: 'layer'; did you mean layers?"),
        (["--data-dir", "nowhere"], "data folder nowhere does not exist"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = call(capsys, monkeypatch, *arguments)
    assert code == 2 and expected in error and error.count("\n") == 1


def test_an_output_that_is_no_folder_is_refused_before_the_work(
    suite_file: Path,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    given = ("--suite", str(suite_file), "--data-dir", str(data_dir), "--output", str(tmp_path / "file"))
    code, _, error = call(capsys, monkeypatch, *given)
    assert code == 2 and "cannot write" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("method", "engines"),
    [
        ("sum", ["packed", "loop"]),
        ("pcgrad", ["packed", "lean", "loop"]),
        ("gradnorm", ["packed", "lean", "loop"]),
        ("mgda-ub", ["packed", "loop"]),
        ("graddrop", ["packed", "loop"]),
    ],
)
def test_engines_between_which_a_method_differs(method: str, engines: list[str]) -> None:
    assert engines_of(load_registry().method(method), Traits()) == engines
    assert engines_of(load_registry().method(method), Traits("another family")) == ["loop"]


def outcome(make_workload: Callable[..., Workload], found: list[ContenderResult]) -> BenchResult:
    return BenchResult("tiny", make_workload(steps=2).recipe, ("one", "two"), "a tiny BERT", found)


def test_ratios_are_medians_of_pairs(make_workload: Callable[..., Workload]) -> None:
    plain, ours = (
        ContenderResult(PLAIN, None, [1.0, 2.0, 4.0], 100),
        ContenderResult("mine", "packed", [2.0, 1.0, 2.0], 50),
    )
    assert ours.time_ratio(plain) == 0.5 and ours.memory_ratio(plain) == 0.5
    failed = ContenderResult("mine", "lean", [1.0], None, "stopped")
    assert failed.time_ratio(plain) is None and failed.memory_ratio(plain) is None
    whole = outcome(make_workload, [plain, ours, failed])
    assert whole.failed and as_data(whole)["contenders"][1]["time_by_plain"] == 0.5
    assert as_text(whole, width=80, color=False).splitlines()[-1] == "mine, lean: stopped"


def test_an_engine_that_is_not_possible_is_no_failure(make_workload: Callable[..., Workload]) -> None:
    impossible = ContenderResult(
        "sum", "packed", error="engine=packed is not possible: encoder family xlnet is not among bert"
    )
    assert not outcome(make_workload, [ContenderResult(PLAIN, None, [1.0], 1), impossible]).failed


@pytest.mark.parametrize("settings", ["", ",pooling=mean", ",pairs=apart", ",pooling=mean,pairs=apart"])
def test_the_padded_model_computes_what_ours_does(
    settings: str, make_workload: Callable[..., Workload], tiny_bert: Path
) -> None:
    """The plain sum that all is compared with has the gradients of our own sum, without dropout."""
    workload = make_workload(model=f"{tiny_bert}[layers=1{settings}]", engine="packed")
    tokenizer = Tokenizer(workload.encoder, workload.files, 32)
    data = [
        TaskData.prepare(task, replace(splits), tokenizer, seed=0, sizes=np.full(1, 4), batches=1, device="cpu")
        for task, splits in zip(workload.tasks, workload.splits, strict=True)
    ]
    given: Any = (workload.encoder, workload.files, workload.tasks, 0)
    ours, padded = MultiTaskModel(*given).eval(), PaddedModel(*given).eval()
    padded.fine_tuning.load_state_dict(ours.fine_tuning.state_dict())
    padded.heads.load_state_dict(ours.heads.state_dict())
    theirs = Padded(padded, make_optimizer(list(padded.parameters()), workload.recipe), data)
    theirs.step(0)
    engine = make_engine(ours, Inputs(ours, data, 0, "cpu"), workload.recipe)
    engine.step(load_registry().method("sum"), 0, measure=False)
    named = dict(padded.named_parameters())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, named[name].grad, rtol=1e-4, atol=1e-6)
