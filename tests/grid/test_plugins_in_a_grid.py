"""Wrappers and update methods of a plugin file, from the command line to records and report."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build

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
    def weights(self, observation: Observation):
        return 2.0 * super().weights(observation)

@dataclass
class Median(Method):
    """The median of the gradients, clipped."""
    name = "middle"
    reads = "gradients"
    returns = "update"
    clip_norm = 0.001
    def update(self, observation: Observation):
        return observation.gradients.median(dim=0).values
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

    native_cells, matched_cells = cells(native), cells(matched)
    assert all(record["recipe"]["update_norm"] == "native" for record, _ in native_cells.values())
    assert all(record["recipe"]["update_norm"] == "sum" for record, _ in matched_cells.values())
    assert matched_cells["sum"][0]["scores"] == native_cells["sum"][0]["scores"]
    for task, scores in matched_cells["double-sum"][0][
        "scores"
    ].items():  # the packed engine adds up another way for it
        assert scores == pytest.approx(native_cells["sum"][0]["scores"][task], abs=1e-3)
    assert matched_cells["double-sum"][1][0]["factor"] == pytest.approx(0.5, rel=1e-5)
    assert matched_cells["double-sum"][1][0]["weights"]["mood"] == 2.0
    assert "weights" not in native_cells["middle"][1][0] and native_cells["middle"][1][0]["factor"] < 1.0
    contents = Store(matched).scan()
    for format in FORMATS:
        shown = render(build(contents.records, contents.damaged), format)
        assert "middle" in shown and "double-sum" in shown
