"""``mtlbench report``: one folder or two, once or again and again, with figures."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from launches import Launcher

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from factory import grid, record

from mtlbench.records.store import Store
from mtlbench.report.figures import figure, style


def write(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Save records with a short history each."""
    rows = [{"step": 1, "losses": {"sst5": 1.0, "qqp": 0.7, "stsb": 2.0}, "seconds": 0.5}]
    rows += [{"step": 1, "scores": {"sst5": {"accuracy": 0.4}}, "elapsed": 0.5}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    Store(folder).prepare()
    for new_record in records:
        Store(folder).save(new_record, {"history": ("jsonl", content)})
    return folder


def test_two_folders_are_compared_where_their_group_is_the_same(tmp_path: Path) -> None:
    a = write(tmp_path / "A", grid({"sum": 0.0, "pcgrad": 0.02, "stl": 0.0}, 5))
    moved = [r | {"started": r["started"].replace("2026", "2027")} for r in grid({"sum": 0.05, "stl": 0.0}, 5)]
    other = record("sum", group="b" * 64, key="other", recipe=record()["recipe"] | {"lr": 1e-4})
    b = write(tmp_path / "B", [*moved, other])
    done = command_line("report", "--compare", a, b, "--format", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["baseline"] == "sum (A)"
    lone, both = sorted(report["groups"], key=lambda group: len(group["methods"]))
    assert both["methods"] == ["stl (A)", "stl (B)", "sum (A)", "sum (B)", "pcgrad (A)"]
    assert any("Δm is over stl (A)" in note for note in both["notes"])
    assert not any("copied" in note for note in both["notes"])
    difference = next(d for d in report["comparisons"] if d["method"] == "sum (B)" and d["task"] == "sst5")
    assert difference["paired"] and difference["n"] == 5
    assert difference["mean_difference"] == pytest.approx(0.05, abs=0.01)
    assert lone["methods"] == ["sum (B)"]
    assert "only B has cells of this group: nothing here is compared with A" in lone["notes"]


def test_the_baseline_may_be_of_either_folder(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, grid({"sum": 0.0, "cagrad[c=0.4]": 0.0}, 2)) for name in "AB")
    for option, baseline in [
        ("sum (B)", "sum (B)"),
        ("cagrad", "cagrad[c=0.4] (A)"),
        ("cagrad (B)", "cagrad[c=0.4] (B)"),
    ]:
        done = command_line("report", "--compare", a, b, "--baseline", option, "--format", "json")
        assert done.returncode == 0 and json.loads(done.stdout)["groups"][0]["baseline"] == baseline


def test_copied_records_are_told_apart_from_repeated_ones(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, grid({"sum": 0.0, "pcgrad": 0.0}, 2)) for name in "AB")
    assert "4 records are the very same in A and B" in " ".join(
        command_line("report", "--compare", a, b).stdout.split()
    )


def test_folders_of_one_name_are_named_by_their_paths(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name / "results", grid({"sum": 0.0}, 2)) for name in "AB")
    methods = json.loads(command_line("report", "--compare", a, b, "--format", "json").stdout)["groups"][0]["methods"]
    assert methods == [f"sum ({a})", f"sum ({b})"]


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, grid({"sum": 0.0, "pcgrad": 0.0}, 1)) for name in "AB")
    (tmp_path / "file").write_text("")
    for arguments, expected in [
        (["--compare", a], "'--compare' requires 2"),
        (["--compare", a, a], "--compare needs two folders"),
        (["--compare", a, tmp_path / "none"], f"no records in {tmp_path / 'none'}"),
        (["--compare", a, b, "--results", a], "leave out --results"),
        (["--compare", a, b, "--baseline", "smu"], "unknown baseline 'smu (A)'; did you mean sum (A)"),
        (["--results", a, "--margin", "0"], "margin of equivalence must be positive, not 0.0"),
        (["--results", a, "--figures", tmp_path / "file" / "in"], "cannot write"),
        (["--results", a, "--watch", "--format", "pdf"], "unknown format 'pdf'"),
    ]:
        done = command_line("report", *arguments)
        assert done.returncode == 2 and not done.stdout, arguments
        assert expected in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_margin_reaches_the_report(tmp_path: Path) -> None:
    folder = write(tmp_path / "A", grid({"sum": 0.0, "pcgrad": 0.0}, 8))
    without, within = (
        json.loads(command_line("report", "--results", folder, "--format", "json", *more).stdout)["comparisons"]
        for more in ([], ["--margin", "0.2"])
    )
    assert not any(comparison["within_margin"] for comparison in without)
    assert all(comparison["within_margin"] for comparison in within if comparison["family"] == "primary")


def test_page_and_files_show_figures_that_are_drawn_once_and_those_that_cannot_be_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure, "DPI", 50)
    folder = write(tmp_path / "A", grid({"sum": 0.0, "pcgrad": 0.02}, 5))
    alone = command_line("report", "--results", folder, "--format", "html")
    assert alone.returncode == 0 and "<svg" in alone.stdout
    drawn: list[int] = []
    sheet = style.sheet
    monkeypatch.setattr(style, "sheet", lambda *args, **kwargs: drawn.append(1) or sheet(*args, **kwargs))
    done = command_line("report", "--results", folder, "--format", "html", "--figures", tmp_path / "figures")
    assert done.returncode == 0 and done.stdout == alone.stdout
    files = list((tmp_path / "figures").iterdir())
    assert {file.suffix for file in files} == {".svg", ".png", ".pdf"}
    assert (
        3 * len(drawn) == 3 * (done.stdout.count("<figure>") + 1) == len(files) > 3
    )  # the forest plot is the page's own
    assert f"wrote {len(files)} figure files to {tmp_path / 'figures'}" in done.stderr
    assert "no figure: " in done.stderr


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_watch_prints_again_when_a_record_comes_and_ends_by_ctrl_c(tmp_path: Path, launch: Launcher) -> None:
    folder, shown, messages = tmp_path / "A", tmp_path / "out", tmp_path / "err"
    with shown.open("w") as out, messages.open("w") as err:
        process = launch("report", "--results", folder, "--watch", stdout=out.fileno(), stderr=err.fileno())
        try:
            wait_for(lambda: "no records" in messages.read_text())
            write(folder, grid({"sum": 0.0}, 1))
            wait_for(lambda: shown.read_text().count("Scores") == 1)
            write(folder, grid({"sum": 0.0, "pcgrad": 0.0}, 2))
            wait_for(lambda: "pcgrad" in shown.read_text())
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()
            process.wait()
    assert len(messages.read_text().splitlines()) == 1, "no other message than the waiting"
