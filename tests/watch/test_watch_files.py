"""The files of a watch: readable at any moment, resumable, one writer each, written by rank 0."""

from __future__ import annotations

import json
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from launches import Launcher

from mtlbench import UsageError, Watch
from mtlbench.diagnose.unfinished import unfinished
from mtlbench.records.record import check_record
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store
from mtlbench.records.watched_log import log_path, log_stamps, read_log, watched_logs

SHARED = torch.nn.Linear(4, 2)


def steps(watch: Watch, count: int) -> None:
    for _ in range(count):
        watch(list(SHARED(torch.ones(4)).square()))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    (record,) = Store(folder).scan().records
    return [dict(row) for row in read_history(record)]


def no_line(line: str) -> None:
    pytest.fail(line)


def test_a_killed_training_leaves_its_history_and_can_be_resumed(tmp_path: Path, launch: Launcher) -> None:
    process = launch(Path(__file__).with_name("killed_training.py"), tmp_path, "18")
    assert process.wait() == -signal.SIGKILL
    (record,) = unfinished(tmp_path, no_line)
    assert record["status"] == "stopped" and record["watched"]["looks"] == 4
    assert [row["step"] for row in record["history"]] == list(range(1, 17))  # up to the last look
    assert Store(tmp_path).scan().records == []

    log_path(tmp_path, "training").open("ab").write(b'{"step": 17, "los')  # half a line
    with Watch(SHARED, ["a", "b"], tmp_path, every=5, resume=True) as watch:
        steps(watch, 6)
        (record,) = watched_logs(tmp_path, no_line)
        assert record["status"] == "running"
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 23))
    assert [row["step"] for row in rows if "norms" in row] == [1, 6, 11, 16, 21]
    (finished,) = Store(tmp_path).scan().records
    assert finished["key"] == record["key"] and finished["resumed"] == [16]
    assert list(watched_logs(tmp_path, no_line)) == []
    assert not (tmp_path / ".watched").exists()


def test_a_finished_run_goes_on_if_asked_only(tmp_path: Path) -> None:
    with Watch(SHARED, ["a", "b"], tmp_path, every=5) as watch:
        steps(watch, 7)
    with pytest.raises(
        UsageError, match="has a run 'training' already, up to step 7; give resume=True to go on after it"
    ):
        Watch(SHARED, ["a", "b"], tmp_path)
    with pytest.raises(UsageError, match=r"the run 'training' in .* has tasks a, b: give the same"):
        Watch(SHARED, ["a", "c"], tmp_path, resume=True)
    (before,) = Store(tmp_path).scan().records
    with Watch(SHARED, ["a", "b"], tmp_path, every=5, methods=["mgda"], resume=True) as watch:
        steps(watch, 5)
        assert Store(tmp_path).scan().records == [before]  # it stays until the new one is whole
    assert [row["step"] for row in rows_of(tmp_path)] == list(range(1, 13))
    (after,) = Store(tmp_path).scan().records
    assert after["key"] == before["key"] and after["started"] == before["started"] and after["resumed"] == [7]
    watched = after["watched"]
    assert watched is not None and watched["proposed"]["mgda"]["looks"] == 1
    assert (after["seconds"] or 0) > (before["seconds"] or 0)


def test_training_that_goes_on_from_an_earlier_checkpoint_replaces_the_steps_after_it(tmp_path: Path) -> None:
    with Watch(SHARED, ["a", "b"], tmp_path, every=2) as watch:
        steps(watch, 9)
        watch.score("a", 0.9)
    watch = Watch(SHARED, ["a", "b"], tmp_path, every=2, resume=True)
    for step in (6, 7):
        watch.begin(step)
        watch(list(3.0 * SHARED(torch.ones(4)).square()))
    watch.close()
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[6]["losses"]["a"] == pytest.approx(3.0 * rows[4]["losses"]["a"])
    assert [row["step"] for row in rows if "norms" in row] == [1, 3, 5, 7]
    assert not any("scores" in row for row in rows)


def test_several_runs_lie_in_one_folder_and_each_has_one_writer(tmp_path: Path) -> None:
    first, second = (Watch(SHARED, ["a", "b"], tmp_path, name=name) for name in ("one", "two"))
    steps(first, 3)
    steps(second, 4)
    other = Watch(SHARED, ["a", "b"], tmp_path, name="one", resume=True)
    with pytest.raises(UsageError, match=r"another process, or another watch, writes .*one.jsonl; give another name="):
        steps(other, 1)
    first.close()
    second.close()
    records = Store(tmp_path).scan().records
    assert sorted(record["suite"] for record in records) == ["one", "two"]
    assert len({record["group"] for record in records}) == 2


def test_an_exception_in_training_keeps_what_was_measured(tmp_path: Path) -> None:
    def fail() -> None:
        with Watch(SHARED, ["a", "b"], tmp_path, every=5) as watch:
            steps(watch, 8)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    (record,) = watched_logs(tmp_path, no_line)
    assert record["status"] == "stopped" and record["recipe"]["steps"] == 8


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with Watch(SHARED, ["a", "b"], tmp_path / "other") as watch:
        watch.begin(1)
        steps(watch, 3)
        watch.score("a", 0.5)
    assert not (tmp_path / "other").exists()
    monkeypatch.setenv("RANK", "0")
    with Watch(SHARED, ["a", "b"], tmp_path) as watch:
        steps(watch, 3)
    (record,) = Store(tmp_path).scan().records
    assert record["watched"] is not None
    assert (record["watched"]["rank"], record["watched"]["processes"]) == (0, 2)


def test_a_watch_can_be_sent_to_the_process_that_trains(tmp_path: Path) -> None:
    """As by a launcher that starts processes with a pickled trainer."""
    watch = pickle.loads(pickle.dumps(Watch(SHARED, ["a", "b"], tmp_path, methods=["pcgrad"])))
    steps(watch, 2)
    watch.close()
    assert len(rows_of(tmp_path)) == 2


def test_a_log_that_grows_has_another_stamp(tmp_path: Path) -> None:
    """``mtlbench report --watch`` prints again when it has."""
    with Watch(SHARED, ["a", "b"], tmp_path, every=1) as watch:
        steps(watch, 1)
        before = log_stamps(tmp_path)
        assert log_stamps(tmp_path) == before and list(before) == [log_path(tmp_path, "training")]
        steps(watch, 1)
        assert log_stamps(tmp_path) != before
    assert log_stamps(tmp_path) == {}


def test_a_full_disk_stops_the_watch_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path, every=2)
    steps(watch, 2)

    def full(rows: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch._log, "append", full)
    with pytest.warns(UserWarning, match="the watch stops, and training goes on: cannot write to .*No space left"):
        steps(watch, 2)
    steps(watch, 5)
    watch.close()
    (record,) = watched_logs(tmp_path, no_line)
    assert [row["step"] for row in record["history"]] == [1]


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON\n", b"[1]\n", b"{}\n", b'{"schema": 1}\n', b"\xff\xfe\n"],
)
def test_a_log_that_is_none_is_told_and_left_out(content: bytes, tmp_path: Path) -> None:
    path = log_path(tmp_path, "training")
    path.parent.mkdir()
    path.write_bytes(content)
    lines: list[str] = []
    assert list(watched_logs(tmp_path, lines.append)) == []
    assert len(lines) == 1 and lines[0].startswith(f"left out: {path}: ")


def test_a_row_of_another_form_is_refused(tmp_path: Path) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path, every=1)
    steps(watch, 2)
    path = log_path(tmp_path, "training")
    for row in ({"step": 3, "losses": {"c": 1.0}}, {"step": 3, "losses": {"a": 1.0}, "proposed": {"x": {"b": 1.0}}}):
        lines = path.read_bytes().splitlines(keepends=True)[:3]
        path.write_bytes(b"".join(lines) + json.dumps(row).encode() + b"\n")
        with pytest.raises(ValueError, match="not the form of a history"):
            read_log(path)


def test_a_watched_run_is_a_group_of_its_own(tmp_path: Path) -> None:
    with Watch(SHARED, ["a", "b"], tmp_path) as watch:
        steps(watch, 1)
    (record,) = Store(tmp_path).scan().records
    with pytest.raises(ValueError, match="a watched run is a group of its own, so its group is its key"):
        check_record({**record, "group": "a" * 64})
    with pytest.raises(ValueError, match=r"tasks\.a\.prediction should have a value"):
        check_record({name: value for name, value in record.items() if name != "watched"})
    assert record["watched"] is not None
    other: dict[str, Any] = {"looks": 1, "shares": {"a": 0.5, "c": 0.5}}
    for changes in ({"tasks": {}}, {"proposed": {"mgda": other}}):
        with pytest.raises(ValueError, match="watched is of other tasks"):
            check_record({**record, "watched": {**record["watched"], **changes}})


def test_a_link_is_neither_read_nor_written(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_text("kept")
    path = log_path(tmp_path / "results", "training")
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    lines: list[str] = []
    assert list(watched_logs(tmp_path / "results", lines.append)) == []
    assert lines == [f"left out: {path}: not a log of a watched run: not a regular file"]
    with pytest.raises(UsageError, match="cannot read the watched run 'training'"):
        Watch(SHARED, ["a", "b"], tmp_path / "results")
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="it is a link, which may lead anywhere"):
        steps(Watch(SHARED, ["a", "b"], tmp_path / "results"), 1)
    assert outside.read_text() == "kept" and not (tmp_path / "training.jsonl").exists()


def test_names_in_a_log_give_no_orders_to_a_terminal(tmp_path: Path) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path, every=1)
    steps(watch, 1)
    watch.score("a", 0.5, "\x1b[2J")
    (record,) = watched_logs(tmp_path, no_line)
    assert record["tasks"]["a"]["metrics"] == ["\\x1b[2J"]
    watch.close()
    (finished,) = Store(tmp_path).scan().records
    assert finished["tasks"]["a"]["metrics"] == ["\\x1b[2J"]
    assert [list(row["scores"]["a"]) for row in rows_of(tmp_path) if "scores" in row] == [["\\x1b[2J"]]
