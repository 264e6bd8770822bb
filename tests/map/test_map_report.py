"""``mtlbench map --report`` and ``--figures``: what is written, what is left out, and no map at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import command_line
from page_maps import World, made_map

from mtlbench.map.report import write_report


def test_page_and_figures_are_written_and_damage_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = made_map(World(seeds=4), studies=["rows-relatedness"])
    monkeypatch.setattr("mtlbench.map.report.load_map", lambda results, preset: (result, ["steps: shard 2 is damaged"]))
    lines = list(write_report(tmp_path, "quick", tmp_path / "map.html", tmp_path / "figures"))
    assert lines[:2] == ["left out: steps: shard 2 is damaged", f"wrote {tmp_path / 'map.html'}"]
    assert {line.removeprefix("wrote ") for line in lines[2:]} == {str(p) for p in (tmp_path / "figures").iterdir()}
    assert "<!doctype html>" in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_without_a_map_the_report_is_one_clear_line(tmp_path: Path) -> None:
    done = command_line("map", "--results", tmp_path / "none", "--report", tmp_path / "map.html")
    assert done.returncode == 2 and not (tmp_path / "map.html").exists()
    assert "no map in" in done.stderr and len(done.stderr.strip().splitlines()) == 1
