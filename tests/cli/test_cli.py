"""What a user sees who mistypes: one line that says what is wrong and what to do, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import command_line


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
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line(*arguments)
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr
    assert done.stderr.startswith("mtlbench: ")
    assert not list(tmp_path.iterdir())


def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path: Path, data_dir: Path, suite_file: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command_line("run", "--suite", suite_file, "--data-dir", data_dir, "--results", tmp_path / "file")
    assert done.returncode == 2
    assert "cannot write to results folder" in done.stderr.splitlines()[-1]


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


def test_no_verb_prints_the_help_and_version_the_version() -> None:
    assert "Usage: mtlbench" in command_line().stdout
    assert command_line("--version").stdout.startswith("mtlbench ")


def test_a_pipe_that_closes_early_is_no_error() -> None:
    command = f"{sys.executable} -m mtlbench info cagrad --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n" and not done.stderr
