"""``mtlbench map`` from the request to the tables, on made scores, and once on real ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import command_line
from made_maps import MadeTrainer, known_effect

from mtlbench.map import presets
from mtlbench.map.cells import Setting
from mtlbench.map.command import MapRequest, run_map
from mtlbench.map.design import Plan
from mtlbench.map.load import load_map
from mtlbench.map.presets import Preset
from mtlbench.map.store import MapStore
from mtlbench.map.stored import StoredStudy
from mtlbench.records.leases import Leases

METHODS = ("sum", "unit-step-sum", "log-sum", "pcgrad", "nash-mtl")
LOSSES = Plan(
    "losses",
    "Losses",
    ("loss_ratio",),
    tuple(Setting(loss_ratio=ratio, steps=4) for ratio in (1.0, 30.0)),
    METHODS,
    pools=("plain",),
    line=4,
    single_tasks=True,
)
LENGTHS = Plan("lengths", "Lengths", ("steps",), tuple(Setting(steps=steps) for steps in (2, 3)), ("sum", "pcgrad"))
TRAIN = MadeTrainer(known_effect)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the quick preset be a tiny one."""
    monkeypatch.setitem(presets.PRESETS, "quick", Preset("quick", 4, (LOSSES, LENGTHS)))


def _run(folder: Path, **options) -> int:  # type: ignore[no-untyped-def]
    return run_map(MapRequest(results=folder, jobs=1, **options), TRAIN)


def test_a_map_is_trained_stored_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path) == 0
    printed = capsys.readouterr()
    result, damaged = load_map(tmp_path, "quick")
    assert damaged == [] and list(result.studies) == ["lengths", "losses"]
    study = result.study("losses")
    assert study.settings == list(LOSSES.settings)
    expected = TRAIN(LOSSES.settings, range(4), LOSSES.columns(LOSSES.settings[0]))
    assert all(np.array_equal(c.test, e, equal_nan=True) for c, e in zip(study.cells, expected.test, strict=True))
    assert "equal sum" in printed.out and "cells won/lost of 2, and the median gain" in printed.out
    assert "losses: 2 settings × 44 columns × 4 seeds = 352 cells, 0 done" in printed.err
    header = result.headers["losses"]
    assert header["environments"][0]["versions"]["pyarrow"] and header["methods"]["pcgrad"]["source_sha256"]
    (shard,) = header["shards"]
    assert shard["started"].endswith("Z") and shard["seconds"] == {"step": 0.5, "weights": 0.25}


def test_the_second_run_trains_nothing_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path) == 0
    first = capsys.readouterr()
    before = {path: path.read_bytes() for path in (tmp_path / "quick").iterdir() if path.is_file()}
    assert _run(tmp_path) == 0
    again = capsys.readouterr()
    assert "nothing to train" in again.err and "352 cells, 352 done" in again.err
    assert again.out == first.out
    assert {path: path.read_bytes() for path in (tmp_path / "quick").iterdir() if path.is_file()} == before


def test_more_seeds_train_only_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, seeds="4", studies="losses") == 0
    assert _run(tmp_path, seeds="6", studies="losses", dry_run=True) == 0
    assert "528 cells, 352 done" in capsys.readouterr().out
    assert _run(tmp_path, seeds="6", studies="losses") == 0
    assert load_map(tmp_path, "quick")[0].study("losses").cells[1].seeds == tuple(range(6))
    assert _run(tmp_path, seeds="0,3", studies="losses") == 0
    assert "nothing to train" in capsys.readouterr().err


def test_damaged_shards_are_named_and_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path) == 0
    expected = capsys.readouterr().out
    (table,) = (tmp_path / "quick").glob("losses.*.parquet")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(bytes(content))
    header = tmp_path / "quick" / "lengths.map"
    header.write_text(header.read_text().replace("0.5", "0.7", 1))
    assert _run(tmp_path) == 0
    printed = capsys.readouterr()
    assert printed.out == expected
    assert "damaged, trained again" in printed.err and str(table) in printed.err and str(header) in printed.err
    assert (tmp_path / "quick" / "lengths.map.damaged").exists()
    assert _run(tmp_path) == 0
    assert "nothing to train" in capsys.readouterr().err


def test_another_plan_replaces_its_shards_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(tmp_path) == 0
    changed = replace(LOSSES, methods=METHODS[:4])
    monkeypatch.setitem(presets.PRESETS, "quick", Preset("quick", 4, (changed, LENGTHS)))
    assert _run(tmp_path) == 0
    printed = capsys.readouterr().err
    assert "losses: 1 shards of another plan or other code are trained again" in printed
    assert "lengths: 2 settings × 8 columns × 4 seeds = 64 cells, 64 done" in printed
    assert load_map(tmp_path, "quick")[0].study("losses").methods == METHODS[:4]


class Failing(MadeTrainer):
    """Fails where the losses are unequal, and ends the process where the training is longest."""

    def __call__(self, settings, seeds, columns):  # type: ignore[no-untyped-def]
        if settings[0].steps == 4:
            raise ArithmeticError("no\nweights")
        if settings[0].steps == 3:
            raise SystemExit(7)
        return super().__call__(settings, seeds, columns)


def test_a_failed_shard_is_one_line_and_the_others_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_map(MapRequest(results=tmp_path, jobs=2), Failing(known_effect)) == 1
    printed = capsys.readouterr().err
    assert "ArithmeticError: no weights" in printed and "its process ended with exit code 7" in printed
    assert "2 of 3 shards failed" in printed
    assert load_map(tmp_path, "quick")[0].study("lengths").settings == [LENGTHS.settings[0]]
    assert _run(tmp_path) == 0
    assert load_map(tmp_path, "quick")[0].study("lengths").settings == list(LENGTHS.settings)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    lease = Leases(tmp_path / "quick").claim("map", "another")
    assert lease is not None
    done = command_line("map", "--results", tmp_path)
    assert done.returncode == 2 and "another mtlbench map trains in" in done.stderr
    lease.release()


def test_the_command_line_trains_for_real(tmp_path: Path) -> None:
    done = command_line("map", "--results", tmp_path, "--studies", "lengths", "--seeds", "2", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "Lengths" in done.stdout and "Losses" not in done.stdout
    cells = load_map(tmp_path, "quick")[0].study("lengths").cells
    assert all(np.isfinite(cell.test).all() and cell.features is None for cell in cells)
    assert (
        "nothing to train" in command_line("map", "--results", tmp_path, "--studies", "lengths", "--seeds", "2").stderr
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "quik"], "unknown preset 'quik'; did you mean quick?"),
        (["--studies", "loses"], "unknown study 'loses'; did you mean losses?"),
        (["--studies", ","], "give at least one study"),
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
        (["--seeds", "0"], "the number of seeds must be 1 to"),
        (["--seeds", "-1"], "seeds must be a number"),
        (["--seeds", "1_0"], "seeds must be a number"),
        (["--jobs", "1_0"], "--jobs 1_0: write a number in plain digits"),
        (["--results", "file"], "cannot write to results folder file/quick"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = command_line("map", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert expected in done.stderr and done.stderr.count("\n") == 1


def test_ctrl_c_keeps_what_is_trained(tmp_path: Path) -> None:
    """The study's shards are of 200, 800 and 2400 steps: while the longest trains, another is done."""
    words = ["map", "--studies", "steps", "--seeds", "1", "--jobs", "2", "--results", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "mtlbench", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if " done; " in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait() == 130
    assert rest.splitlines()[-1] == "mtlbench: stopped; finished cells are kept, the same command goes on"
    assert "Traceback" not in rest
    stored = MapStore(tmp_path, "quick").read("steps")
    assert isinstance(stored, StoredStudy) and stored.damaged == [] and 0 < len(stored.done()) < 6
    assert not list((tmp_path / "quick" / ".leases").glob("*.json"))
