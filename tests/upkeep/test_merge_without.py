"""Merging without side files: slim copies, what they say of themselves, and full copies put back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sample_record import full
from mtlbench.errors import UsageError
from mtlbench.plan.cells import fingerprint
from mtlbench.records.left_out import kinds_of, left_out, original
from mtlbench.records.record_file import read_history, read_side_file, verified
from mtlbench.records.store import Store
from mtlbench.report.build import build
from mtlbench.upkeep.export import export
from mtlbench.upkeep.merge import CONFLICTS, Merged, merge
from mtlbench.upkeep.status import print_status
from mtlbench.upkeep.two_folders import Pair

ENDINGS = {"history": "jsonl", "predictions": "parquet", "test_predictions": "parquet", "log": "txt"}
SIDE_FILES = {name: (ending, f"{name}\n".encode()) for name, ending in ENDINGS.items()}
BOTH = kinds_of("history,predictions")


def fill(folder: Path, *seeds: int, **changes: Any) -> Path:
    store = Store(folder)
    store.prepare()
    for seed in seeds:
        store.save({**full(seed), **changes}, SIDE_FILES)
    return folder


def records(folder: Path) -> list[Any]:
    contents = Store(folder).scan()
    assert not contents.damaged
    return contents.records


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def slim(folder: Path, source: Path, kinds: str = "history,predictions") -> Merged:
    return merge([source], folder, without=kinds_of(kinds))


def test_a_slim_copy_names_what_was_left_out(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0, 1)
    done = slim(tmp_path / "c", a)
    assert len(done.copied) == 2 and len(done.left_out) == 6
    (source, *_), (copy, *_) = records(a), records(tmp_path / "c")
    assert copy["files"] == {"log": source["files"]["log"]}
    assert copy["left_out"] == {name: source["files"][name] for name in sorted(BOTH)}
    assert original(copy) == source["checksum"] != copy["checksum"]
    assert copy["scores"] == source["scores"]
    assert len(list((tmp_path / "c").rglob("*.*"))) == 4  # two records and two logs
    stored = json.loads(Path(copy["path"]).read_bytes())
    assert stored.pop("checksum") == fingerprint(stored)
    with pytest.raises(ValueError, match="its history was left out when it was merged"):
        read_side_file(copy, "history")
    with pytest.raises(ValueError, match="left out"):
        list(read_history(copy))


def test_the_source_does_not_change_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0)
    before = files(a)
    done = merge([a], tmp_path / "c", without=BOTH, dry_run=True)
    assert not (tmp_path / "c").exists() and len(done.left_out) == 3
    slim(tmp_path / "c", a)
    assert files(a) == before


def test_a_damaged_side_file_is_not_left_out_in_silence(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0)
    next(a.rglob("*.jsonl")).write_bytes(b"HISTORY\n")
    done = slim(tmp_path / "c", a)
    assert not done.copied and "changed since it was written" in done.left[0][1]


@pytest.mark.parametrize("order", [1, -1])
def test_full_and_slim_copies_of_a_record_give_the_full_one_byte_for_byte(tmp_path: Path, order: int) -> None:
    a = fill(tmp_path / "a", 0)
    slim(tmp_path / "b", a)
    done = merge([a, tmp_path / "b"][::order], tmp_path / "c")
    assert files(tmp_path / "c") == files(a) and not done.conflicts


def test_a_slim_merge_into_a_full_folder_leaves_it_full(tmp_path: Path) -> None:
    a, c = fill(tmp_path / "a", 0), fill(tmp_path / "c", 0)
    done = slim(c, a)
    assert (len(done.copied), done.present) == (0, 1) and files(c) == files(a)


def test_copies_that_lack_different_files_are_put_together(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0)
    slim(tmp_path / "b", a, "history,log")
    slim(tmp_path / "c", a, "predictions")
    merge([tmp_path / "b"], tmp_path / "c")
    (copy,), (source,) = records(tmp_path / "c"), records(a)
    assert (copy["files"], copy["checksum"]) == (source["files"], source["checksum"]) and "left_out" not in copy
    assert {name: read_side_file(copy, name) for name in copy["files"]} == {n: c for n, (_, c) in SIDE_FILES.items()}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_trainings_of_a_cell_the_full_one_is_kept(tmp_path: Path, order: int) -> None:
    slim(tmp_path / "a", fill(tmp_path / "old", 0, started="2025-01-01T00:00:00Z"))
    b = fill(tmp_path / "b", 0, started="2026-01-01T00:00:00Z")
    done = merge([tmp_path / "a", b][::order], tmp_path / "c")
    assert not done.conflicts and files(tmp_path / "c") == files(b)


@pytest.mark.parametrize("order", [1, -1])
def test_other_scores_of_a_slim_copy_are_a_conflict(tmp_path: Path, order: int) -> None:
    slim(tmp_path / "a", fill(tmp_path / "old", 0))
    b = fill(tmp_path / "b", 0, scores={"a": {"accuracy": 0.9}})
    done = merge([tmp_path / "a", b][::order], tmp_path / "c")
    assert "a accuracy 0.9 and 0.5" in done.conflicts[0] and files(tmp_path / "c" / CONFLICTS)
    assert records(tmp_path / "c")[0]["scores"] == {"a": {"accuracy": 0.9}}


def test_a_slim_copy_counts_as_done_and_a_changed_one_does_not(tmp_path: Path) -> None:
    slim(tmp_path / "c", fill(tmp_path / "a", 0))
    assert set(Store(tmp_path / "c").scan().status().values()) == {"done"}
    (path,) = (tmp_path / "c").rglob("*.json")
    record = json.loads(path.read_bytes())
    for change, reason in (
        ({"history": {**record["left_out"]["history"], "name": "../x"}}, "would lie elsewhere"),
        ({"log": record["files"]["log"]}, "its log is named as left out, and as a file"),
    ):
        wrong = {**record, "left_out": change}
        wrong.pop("checksum")
        with pytest.raises(ValueError, match=reason):
            verified(json.dumps({**wrong, "checksum": fingerprint(wrong)}).encode())


def test_wrong_options_are_told(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0)
    with pytest.raises(UsageError, match=r"unknown kind of side file 'prediction'; did you mean predictions\?"):
        kinds_of("history, prediction")
    with pytest.raises(UsageError, match="needs kinds"):
        kinds_of(" ,")
    with pytest.raises(UsageError, match="left out of copies only"):
        merge([a], a, without=BOTH)


def test_lines_count_cells_by_what_they_lack() -> None:
    both, one = {"left_out": {"history": {}, "predictions": {}}}, {"left_out": {"history": {}}}
    assert left_out([{}, {"left_out": {}}]) == ""
    assert left_out([both, both]) == "2 cells hold no histories or predictions, left out when they were merged"
    assert left_out([both, {}]) == "1 cell holds no history or predictions, left out when it was merged"
    assert left_out([both, one], ["history"]) == "2 cells hold no histories, left out when they were merged"
    assert left_out([both, one]).startswith("2 cells hold no histories and 1 cell holds no predictions, left out when")


def test_status_and_export_say_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slim(tmp_path / "c", fill(tmp_path / "a", 0, 1))
    print_status(tmp_path / "c", as_json=False)
    assert "2 cells hold no histories or predictions" in capsys.readouterr().out
    print_status(tmp_path / "c", as_json=True)
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert all(set(cell["left_out"]) == BOTH and cell["status"] == "done" for cell in cells)
    with pytest.raises(UsageError, match="tiny: 2 cells hold no histories, left out"):
        export(records(tmp_path / "c"), "csv", tmp_path / "out")


def test_export_writes_the_cells_that_have_histories(tmp_path: Path) -> None:
    slim(tmp_path / "c", fill(tmp_path / "a", 0))
    store = Store(tmp_path / "c")
    store.save(full(1), {"history": ("jsonl", b'{"step": 1, "losses": {"a": 1.0}}\n')})
    done = export(records(tmp_path / "c"), "csv", tmp_path / "out")
    assert (done.cells, done.left_out) == (1, [])
    assert done.lacking == ["tiny: 1 cell holds no history, left out when it was merged"]


def test_a_comparison_of_folders_tells_slim_copies(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", 0, 1)
    slim(tmp_path / "c", a)
    pair = Pair((a, tmp_path / "c"))
    first, second = pair.scan()
    report = build([*first.records, *second.records], baseline=pair.baseline("sum"))
    assert any(
        "2 records are the very same" in note for note in pair.annotated(report, (first, second)).groups[0].notes
    )


def test_the_command_says_what_was_left_out(
    tmp_path: Path, mtlbench: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    a, c = fill(tmp_path / "a", 0), tmp_path / "c"
    done = mtlbench("merge", str(a), "--into", str(c), "--without", "predictions,history")
    assert done.returncode == 0 and "3 side files, 0.0 MB, left out on purpose" in done.stdout
    shutil.rmtree(a)
    assert [one["files"].keys() for one in records(c)] == [{"log"}]
