"""The status of a results folder: reasons of failures, logs, checkpoints and running cells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from leftover_files import made

from benchmarks.sample_record import record
from mtlbench.records.leases import Leases
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.upkeep.status import print_status, read_status


def test_status_says_why_where_the_log_is_and_who_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(results).save(record(2, key="c" * 64, spec="sum"), {})
    Leases(results).claim("d" * 64, "sum seed 3")
    for name in (f"000000600-{'0' * 64}.safetensors", f"000001200-{'f' * 64}.safetensors"):
        made(results / CHECKPOINTS / ("d" * 64) / name)
    print_status(results, as_json=False)
    shown = capsys.readouterr().out
    (log,) = results.rglob("*.log.txt")
    assert "cagrad[c=0.4] seed 1: step 3: loss of task sst5 is nan" in shown and f"log: {log}" in shown
    assert "sum: seeds 0, 1" in shown and f"sum seed 3 (dddddddddddd): process {os.getpid()} on" in shown
    assert "sum seed 3 (dddddddddddd): step 1200" in shown
    assert all(len(line) <= 80 or str(results) in line for line in shown.splitlines())
    print_status(results, as_json=True)
    found = json.loads(capsys.readouterr().out)
    (failed,) = [cell for cell in found["cells"] if cell["status"] == "failed"]
    assert failed["error"]["step"] == 3 and failed["log"] == str(log)
    assert found["running"][0]["cell"] == "sum seed 3" and found["checkpoints"][0]["step"] == 1200


def test_a_failed_cell_that_runs_again_is_running(results: Path) -> None:
    Leases(results).claim("b" * 64, "sum seed 0")
    assert {cell.seed: cell.status for cell in read_status(results).cells} == {0: "done", 1: "running"}
