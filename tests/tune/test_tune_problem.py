"""A method is tuned on a problem, the search goes on where it stopped, and the tuned method is run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from command_line import command_line
from problem_runs import PLUGIN, write_suite

from mtlbench.records.store import Store


def test_tuning_and_the_run_of_what_it_found(tmp_path: Path) -> None:
    suite, results = write_suite(tmp_path), tmp_path / "results"
    options = ("--suite", suite, "--plugin", PLUGIN, "--results", results)

    def tune(*more: str) -> subprocess.CompletedProcess[str]:
        return command_line("tune", *options, "--methods", "cagrad", *more)

    first = tune("--trials", "1")
    assert first.returncode == 0, first.stderr
    done = tune("--trials", "2")  # the first trial is not trained again
    assert done.returncode == 0 and "2 cells, 1 done, 1 to run" in done.stderr, done.stderr
    assert "problem points[unlabelled=0.3]" in done.stderr
    tuned = json.loads((results / "tuned.json").read_text())
    (study,) = tuned["studies"]
    assert set(study["space"]) == {"base_lr", "c"} and study["space"]["base_lr"] == "0.002:0.2:log"
    assert [trial["status"] for trial in study["trials"]] == ["done", "done"]
    assert set(study["trials"][0]["scores"]) == {"side", "sum", "signs", "place"}
    grid = command_line("run", *options, "--methods", f"@{results / 'tuned.json'}", "--seeds", "1", "--dry-run")
    assert grid.returncode == 0 and "tuned on another recipe" not in grid.stderr
    best = study["trials"][study["best"]]["spec"]
    assert f"{best} seed 0: to run" in grid.stderr
    records = Store(results).scan().records
    assert len(records) == 2 and {record["group"] for record in records} == {tuned["group"]}
