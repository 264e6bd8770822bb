"""What a user sees who mistypes: one line that says what is wrong and what to do, and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench import cli
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["mtlbench", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--methods", "pcgrd"], "unknown method 'pcgrd'; did you mean pcgrad"),
        (["run", "--methods", "cagrad[k=1]"], "method cagrad: 'k'; known: base_lr, c, reduction, rescale"),
        (["run", "--methods", "cagrad[c=-1]"], "method cagrad: parameter c=-1 should be greater than or equal to 0"),
        (["run", "--methods", "cagrad[c"], "cannot read 'cagrad[c'; write NAME or NAME[parameter=value,...]"),
        (["run", "--methods", ","], "give at least one method"),
        (["run", "--suite", "quik"], "unknown suite 'quik'; did you mean quick?"),
        (["run", "--suite", "none.toml"], "suite file none.toml does not exist"),
        (["run", "--tasks", "sst6"], "unknown task 'sst6'; did you mean sst5?"),
        (["run", "--tasks", "sst5,sst5", "--data-dir", "."], "task sst5 is named twice"),
        (["run", "--seeds", "five"], "seeds must be a number (5 means 0 to 4) or a list such as 0,3,7, not 'five'"),
        (["run", "--seeds", "0"], "the number of seeds must be 1 to 10000, not 0"),
        (["run", "--steps", "0"], "option steps=0 should be greater than or equal to 1"),
        (["run", "--steps", "many"], "Invalid value for '--steps'"),
        (["run", "--update-norm", "mean"], "option update_norm=mean should be 'native' or 'sum'"),
        (["run", "--lr", "-1"], "option lr=-1.0 should be greater than 0"),
        (["run", "--data-dir", "nowhere"], "data folder nowhere does not exist"),
        (["run", "--device", "abacus"], "device 'abacus' is not known; give cpu, cuda or cuda:N"),
        (["run", "--device", "cuda:77"], "device cuda:77 is not available here"),
        (["run", "--plugin", "nowhere.py"], "plugin file nowhere.py does not exist"),
        (["run", "--config", "nowhere.toml"], "cannot read config nowhere.toml"),
        (["run", "--stps", "3"], "No such option: --stps"),
        (["run", "--model", "minilm[layer=2]"], "unknown parameter of model encoder: 'layer'; did you mean layers?"),
        (["report", "--results", "nowhere"], "no records in nowhere; run mtlbench run first"),
        (["report", "--format", "pdf"], "unknown format 'pdf'"),
        (["list", "method"], "unknown list: 'method'; did you mean methods?"),
        (["info", "pcgrd"], "unknown name 'pcgrd'; did you mean pcgrad"),
        (["status", "--results", "nowhere"], "results folder nowhere does not exist"),
        (["rn"], "No such command 'rn'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, monkeypatch, *arguments)
    assert code == 2
    assert not out
    assert len(err.strip().splitlines()) == 1, err
    assert expected in err
    assert err.startswith("mtlbench: ")
    assert not list(tmp_path.iterdir())


def test_a_results_folder_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    data_dir: Path,
    suite_file: Path,
) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = call(
        capsys,
        monkeypatch,
        "run",
        "--suite",
        str(suite_file),
        "--data-dir",
        str(data_dir),
        "--results",
        str(tmp_path / "file"),
    )
    assert code == 2
    assert "cannot write to results folder" in err.splitlines()[-1]


def test_a_config_file_sets_options_below_environment_and_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('methods = ["from-file"]\nbatch-size = 4\n')
    assert "'from-file'" in call(capsys, monkeypatch, "run", "--config", str(config))[2]
    monkeypatch.setenv("MTLBENCH_METHODS", "from-environment")
    assert "'from-environment'" in call(capsys, monkeypatch, "run", "--config", str(config))[2]
    line = call(capsys, monkeypatch, "run", "--config", str(config), "--methods", "from-command-line")[2]
    assert "'from-command-line'" in line


def test_an_unknown_key_in_a_config_file_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("stepz = 3\n")
    code, _, err = call(capsys, monkeypatch, "run", "--config", str(config))
    assert code == 2
    assert "unknown key in config config.toml: 'stepz'; did you mean steps" in err


@pytest.mark.parametrize("what", ["methods", "tasks", "suites"])
def test_lists_are_tables_and_json(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"methods": "pcgrad", "tasks": "stsb", "suites": "cs224n-small"}[what]
    assert known in call(capsys, monkeypatch, "list", what)[1]
    entries = json.loads(call(capsys, monkeypatch, "list", what, "--json")[1])
    assert all(entry["summary"] for entry in entries) and known in {entry["name"] for entry in entries}


@pytest.mark.parametrize("name", ["cagrad", "sst5", "quick"])
def test_info_explains_methods_tasks_and_suites(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in call(capsys, monkeypatch, "info", name)[1]
    assert json.loads(call(capsys, monkeypatch, "info", name, "--json")[1])["name"] == name


@pytest.mark.parametrize("arguments", [["--help"], ["list", "methods"], ["list", "tasks"], ["list", "suites"]])
def test_help_and_lists_import_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['mtlbench', *sys.argv[1:]]\nfrom mtlbench.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'scipy', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_verb_prints_the_help_and_version_the_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Usage: mtlbench" in call(capsys, monkeypatch)[1]
    assert call(capsys, monkeypatch, "--version")[1].startswith("mtlbench ")


def test_a_pipe_that_closes_early_is_no_error() -> None:
    command = f"{sys.executable} -m mtlbench info cagrad --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n" and not done.stderr


PLUGIN = '''
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation
from mtlbench.contract.wrapper import Wrapper

@dataclass
class Double(Wrapper):
    """Doubles the weights."""
    name = "double"
    source = "Nobody, Nowhere"
    def weights(self, seen: Observation):
        return 2.0 * super().weights(seen)

@dataclass
class Median(Method):
    """The median of the gradients, clipped."""
    name = "middle"
    reads = "gradients"
    returns = "update"
    clip_norm = 0.001
    def update(self, seen: Observation):
        return seen.gradients.median(dim=0).values
'''


def test_wrappers_and_updates_go_the_whole_way(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file, native, matched = tmp_path / "mine.py", tmp_path / "native", tmp_path / "matched"
    file.write_text(PLUGIN)
    arguments = ("run", "--methods", "sum,double-sum,middle", "--seeds", "1", "--jobs", "1", "--plugin", str(file))
    assert mtlbench(*arguments, "--results", str(native)).returncode == 0
    assert mtlbench(*arguments, "--results", str(matched), "--update-norm", "sum").returncode == 0
    assert "3 done, 0 to run" in mtlbench(*arguments, "--results", str(native), "--update-norm", "native").stderr

    def cells(folder: Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
        return {r["method"]["spec"]: (r, list(read_history(r))) for r in Store(folder).scan().records}

    one, other = cells(native), cells(matched)
    assert all(record["recipe"]["update_norm"] == "native" for record, _ in one.values())
    assert all(record["recipe"]["update_norm"] == "sum" for record, _ in other.values())
    assert other["sum"][0]["scores"] == one["sum"][0]["scores"]
    for task, scores in other["double-sum"][0]["scores"].items():  # the packed engine adds up another way for it
        assert scores == pytest.approx(one["sum"][0]["scores"][task], abs=1e-3)
    assert other["double-sum"][1][0]["factor"] == pytest.approx(0.5, rel=1e-5)
    assert other["double-sum"][1][0]["weights"]["mood"] == 2.0
    assert "weights" not in one["middle"][1][0] and one["middle"][1][0]["factor"] < 1.0
    found = Store(matched).scan()
    for format in FORMATS:
        shown = render(build(found.records, found.damaged), format)
        assert "middle" in shown and "double-sum" in shown
