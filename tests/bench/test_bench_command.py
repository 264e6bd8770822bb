"""``mtlbench bench``: what it measures of the tiny workload, what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import command_line

from mtlbench.bench import command
from mtlbench.bench.command import engines_of
from mtlbench.bench.job import BenchJob
from mtlbench.bench.result import PLAIN, ContenderResult
from mtlbench.plugins.registry import load_registry
from mtlbench.text.model_trial import Traits

Command = Callable[..., subprocess.CompletedProcess[str]]

RAISING = '''"""A method that fails."""
from dataclasses import dataclass
from mtlbench import Method

@dataclass
class Failing(Method):
    """Raises."""
    name = "failing"
    reads = "losses"

    def weights(self, observation):
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
    note = "failing, packed; failing, loop: method failing: weights() raised ArithmeticError: no weights"
    assert note in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr
    data = json.loads((tmp_path / "out/bench.json").read_text())
    contenders = {(contender["method"], contender["engine"]): contender for contender in data["contenders"]}
    assert [*contenders] == [
        (PLAIN, None),
        *(("pcgrad", engine) for engine in ("packed", "lean", "loop")),
        *(("failing", engine) for engine in ("packed", "loop")),
    ]
    for (method, _), contender in contenders.items():
        assert (contender["error"] is not None) == (method == "failing")
        if contender["error"] is None:
            assert len(contender["seconds"]) == 3 and min(contender["seconds"]) > 0.0
            assert contender["peak_memory_bytes"] > 100e6 and contender["time_by_plain"] > 0.0
    assert contenders[PLAIN, None]["time_by_plain"] == 1.0 == contenders[PLAIN, None]["memory_by_plain"]
    assert data["recipe"]["batch_size"] == 4 and data["recipe"]["steps"] == 3
    assert (tmp_path / "out/bench.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out/bench.svg").read_text()


def test_json_and_the_suites_own_methods(
    suite_file: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without processes: their results are invented."""

    def invent(job: BenchJob, result: ContenderResult, on_step: Callable[[], object]) -> None:
        result.seconds += [0.5] * (job.recipe.steps or 0)
        result.peak = 10**9

    monkeypatch.setattr(command, "run_alone", invent)
    tiny = ("--suite", str(suite_file), "--data-dir", str(data_dir), "--output", str(tmp_path), "--batch-size", "2")
    done = command_line("bench", *tiny, "--steps", "2", "--json")
    printed = done.stdout
    assert done.returncode == 0 and json.loads(printed) == json.loads((tmp_path / "bench.json").read_text())
    assert [contender["engine"] for contender in json.loads(printed)["contenders"]] == [None, "packed", "loop"]
    assert json.loads(printed)["contenders"][2]["seconds"] == [0.5, 0.5]
    table = command_line("bench", *tiny).stdout
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
def test_bad_input_is_one_line(arguments: list[str], expected: str) -> None:
    done = command_line("bench", *arguments)
    assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1


def test_an_output_that_is_no_folder_is_refused_before_the_work(
    suite_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ("--suite", str(suite_file), "--data-dir", str(data_dir), "--output", str(tmp_path / "file"))
    done = command_line("bench", *arguments)
    assert done.returncode == 2 and "cannot write" in done.stderr and done.stderr.count("\n") == 1


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
