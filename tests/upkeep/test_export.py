"""Histories for other programs: the exported values are those of the histories."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from factory import failed, record

from mtlbench.errors import UsageError
from mtlbench.records.store import Store
from mtlbench.upkeep.export import COLUMNS, CSV_NAME, DATABASE_NAME, export

HISTORY: list[dict[str, Any]] = [
    {
        "step": 1,
        "losses": {"sst5": 1.5, "qqp": 0.5},
        "weights": {"sst5": 1.0, "qqp": 0.25},
        "seconds": 0.5,
        "skipped": True,
    },
    {
        "step": 2,
        "losses": {"sst5": 1.25, "qqp": 0.25},
        "seconds": 0.25,
        "factor": 0.5,
        "norms": {"sst5": 2.0, "qqp": 0.0},
        "cosines": {"sst5|qqp": None},
    },
    {"step": 2, "scores": {"sst5": {"accuracy": 0.75, "macro_f1": None}}, "elapsed": 0.75},
]
EXPECTED = {
    (1, "sst5", "loss", 1.5, 0.5),
    (1, "qqp", "loss", 0.5, 0.5),
    (1, "sst5", "weight", 1.0, 0.5),
    (1, "qqp", "weight", 0.25, 0.5),
    (1, "", "seconds", 0.5, 0.5),
    (1, "", "skipped", 1.0, 0.5),
    (2, "sst5", "loss", 1.25, 0.75),
    (2, "qqp", "loss", 0.25, 0.75),
    (2, "sst5", "norm", 2.0, 0.75),
    (2, "qqp", "norm", 0.0, 0.75),
    (2, "", "seconds", 0.25, 0.75),
    (2, "", "factor", 0.5, 0.75),
    (2, "sst5", "accuracy", 0.75, 0.75),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two finished cells and a failed one."""
    store = Store(tmp_path / "results")
    store.prepare()
    content = "".join(json.dumps(row) + "\n" for row in HISTORY).encode()
    for one in (record("sum", 0), record("cagrad[c=0.4]", 1), failed("pcgrad", 0)):
        store.save(one, {"history": ("jsonl", content)})
    return store


def test_the_csv_holds_every_number_of_finished_cells_once(store: Store, tmp_path: Path) -> None:
    done = export(store.scan().records, "csv", tmp_path / "out")
    assert (done.cells, done.left_out) == (2, [])
    assert [file.name for file in (tmp_path / "out").iterdir()] == [CSV_NAME]
    frame = pd.read_csv(tmp_path / "out" / CSV_NAME, keep_default_na=False)
    assert tuple(frame.columns) == COLUMNS
    for cell in (("quick", "a" * 64, "sum", 0), ("quick", "a" * 64, "cagrad[c=0.4]", 1)):
        rows = [tuple(row[4:]) for row in frame.itertuples(index=False) if tuple(row[:4]) == cell]
        assert len(rows) == len(EXPECTED) and set(rows) == EXPECTED
    assert len(frame) == 2 * len(EXPECTED)


def test_the_newest_record_of_a_cell_counts(store: Store, tmp_path: Path) -> None:
    newer = record("sum", 0, started="2026-02-01T00:00:00Z", key="another code")
    store.save(newer, {"history": ("jsonl", b'{"step": 1, "losses": {"sst5": 9.0}, "seconds": 1.0}\n')})
    assert export(store.scan().records, "csv", tmp_path / "out").cells == 2
    frame = pd.read_csv(tmp_path / "out" / CSV_NAME)
    assert frame[(frame.method == "sum") & (frame.what == "loss")].value.tolist() == [9.0]


def test_event_files_hold_every_number_and_are_replaced(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs TensorBoard: pip install 'mtlbench[trackers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = store.scan().records
    for _ in range(2):
        assert export(records, "tensorboard", tmp_path / "out").cells == 2
    runs = sorted(path for path in (tmp_path / "out").glob("*/*/*") if path.is_dir())
    names = [run.relative_to(tmp_path / "out").as_posix() for run in runs]
    assert names == ["quick/cagrad_c=0.4/seed-1-cagrad[c=0.4", "quick/sum/seed-0-sum-0"]
    for run in runs:
        assert len(list(run.iterdir())) == 1
        events = EventAccumulator(str(run))
        events.Reload()
        found = {
            (event.step, tag.partition("/")[2], tag.partition("/")[0], event.value)
            for tag in events.Tags()["scalars"]
            for event in events.Scalars(tag)
        }
        assert found == {expected[:4] for expected in EXPECTED}
        times = {event.wall_time for event in events.Scalars("loss/sst5")}
        assert max(times) - min(times) == pytest.approx(0.25)


def test_the_database_holds_every_number_and_is_replaced(store: Store, tmp_path: Path) -> None:
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name, reason="needs MLflow: pip install 'mtlbench[mlflow]'")
    from mlflow.tracking import MlflowClient

    records = store.scan().records
    for _ in range(2):
        assert export(records, "mlflow", tmp_path / "out").cells == 2
    assert [file.name for file in (tmp_path / "out").iterdir()] == [DATABASE_NAME]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / DATABASE_NAME}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "quick"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"sum seed 0", "cagrad[c=0.4] seed 1"}
    for run in runs:
        assert run.info.status == "FINISHED" and len(run.data.tags["mtlbench.key"]) > 0
        found = {
            (one.step, name.partition("/")[2].replace(":", "|"), name.partition("/")[0], one.value)
            for name in run.data.metrics
            for one in client.get_metric_history(run.info.run_id, name)
        }
        assert found == {expected[:4] for expected in EXPECTED}


@pytest.mark.parametrize(
    ("to", "extra", "modules"),
    [
        ("tensorboard", "trackers", ["tensorboard", "torch.utils.tensorboard"]),
        ("mlflow", "mlflow", ["mlflow", "alembic"]),
    ],
)
def test_a_missing_library_is_one_line(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, extra: str, modules: list[str]
) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"pip install 'mtlbench\[{extra}\]'"):
        export(store.scan().records, to, tmp_path / "out")


def test_a_history_that_cannot_be_read_is_left_out_and_named(store: Store, tmp_path: Path) -> None:
    store.save(record("sum", 5), {"history": ("jsonl", b"{cut")})
    store.save(record("sum", 6), {})
    done = export(store.scan().records, "csv", tmp_path / "out")
    assert done.cells == 2
    reasons = {Path(path).name: reason for path, reason in done.left_out}
    assert "cannot be read" in reasons["seed-5-sum-5.json"] and "no history" in reasons["seed-6-sum-6.json"]


def test_nothing_to_export_or_nowhere_to_write_is_one_line(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished cells"):
        export([failed("sum", 0)], "csv", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        export(store.scan().records, "csv", tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "expected", "code"),
    [
        (["--to", "wandb"], "unknown export format 'wandb'; known: csv, mlflow, tensorboard", 2),
        (["--results", "nowhere"], "no records in nowhere", 2),
        ([], "wrote the histories of 2 cells", 0),
    ],
)
def test_the_command_line(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
    code: int,
) -> None:
    from mtlbench import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mtlbench", "export", "out", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    err = capsys.readouterr().err
    assert caught.value.code == code and expected in err and len(err.splitlines()) == 1
