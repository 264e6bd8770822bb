"""Maps on disk: what is written comes back, bit for bit, and what has changed since is found, shard by shard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_maps import MadeTrainer, known_effect, made_columns

from mtlbench import UsageError
from mtlbench.map.cells import Column, Setting, Trained
from mtlbench.map.header import Header, ShardEntry
from mtlbench.map.load import as_study, load_map
from mtlbench.map.store import MapStore
from mtlbench.map.stored import StoredStudy
from mtlbench.map.table import GRAMS, LOSSES
from mtlbench.records.store import Store

SETTINGS = [Setting(loss_ratio=ratio) for ratio in (1.0, 10.0, 100.0)]
KEYS = {setting: f"key{number}" for number, setting in enumerate(SETTINGS)}
COLUMNS = made_columns()
ENVIRONMENT = {"versions": {"python": "3"}, "git": None, "machine": {"cores": 2}}


def _trained(settings: list[Setting], seeds: list[int]) -> Trained:
    made = MadeTrainer(known_effect)(settings, seeds, COLUMNS)
    made.diverged[0, 0, 1] = True
    return replace(made, failures={(0, 0, 1): "SolverError: no minimum"})


@pytest.fixture
def store(tmp_path: Path) -> MapStore:
    """A store with one study of three shards: settings 1 and 2 with seeds 0 and 1, then seed 2, and setting 3."""
    store = MapStore(tmp_path / "results" / "map", "made")
    store.prepare()
    stored = StoredStudy(Header("made", "losses", "Losses", ("loss_ratio",), (), {}, (), ()))
    for settings, seeds in ((SETTINGS[2:], [0, 1, 2]), (SETTINGS[:2], [2]), (SETTINGS[:2], [0, 1])):
        stored.add(_trained(settings, seeds), KEYS, "2026-01-01T00:00:00Z", ENVIRONMENT)
        store.save(stored)
    return store


def _read(store: MapStore) -> StoredStudy:
    stored = store.read("losses")
    assert isinstance(stored, StoredStudy)
    return stored


def _table(store: MapStore) -> Path:
    (table,) = store.folder.glob("*.parquet")
    return table


def test_scores_come_back_bit_for_bit_in_the_order_of_the_plan(store: MapStore) -> None:
    stored = _read(store)
    assert stored.damaged == []
    assert stored.done() == {SETTINGS[0]: {0, 1, 2}, SETTINGS[1]: {0, 1, 2}, SETTINGS[2]: {0, 1, 2}}
    study = as_study(stored)
    assert study.settings == SETTINGS and study.knobs == ("loss_ratio",)
    expected = MadeTrainer(known_effect)(SETTINGS, [0, 1, 2], COLUMNS)
    assert expected.features is not None
    for number, cell in enumerate(study.cells):
        assert cell.seeds == (0, 1, 2) and cell.columns == tuple(COLUMNS)
        assert np.array_equal(cell.dev, expected.dev[number], equal_nan=True)
        assert np.array_equal(cell.test, expected.test[number], equal_nan=True)
        assert cell.features is not None and cell.features.step == 40
        for name in (*LOSSES, *GRAMS):
            assert np.array_equal(getattr(cell.features, name)[0], getattr(expected.features, name)[number])


def test_the_table_can_be_read_without_this_library(store: MapStore) -> None:
    table = pd.read_parquet(_table(store))
    assert len(table) == 3 * 3 * len(COLUMNS) * 2 and len(list(store.folder.glob("*.parquet"))) == 1
    here = table[(table.loss_ratio == 10.0) & (table.seed == 1) & (table.method == "nash-mtl") & (table.lr == 0.1)]
    assert here.task.tolist() == [0, 1]
    place = COLUMNS.index(Column("nash-mtl", 0.1))
    expected = MadeTrainer(known_effect)([SETTINGS[1]], [1], COLUMNS)
    assert here.test.tolist() == expected.test[0, 0, place].tolist()
    assert set(table[table.column == COLUMNS.index(Column("sum", 0.03, single=1))].single) == {1.0}
    assert table[table.failure.notna()].column.unique().tolist() == [1]
    assert table[(table.method == "pcgrad")].gram.isna().all()


def test_shards_keep_failures_and_divergence(store: MapStore) -> None:
    (shard, *_) = _read(store).trained()
    assert shard.failures == {(0, 0, 1): "SolverError: no minimum"}
    assert shard.diverged.sum() == 1 and shard.diverged[0, 0, 1]
    assert shard.seconds == {"step": 0.5, "weights": 0.25}


def test_a_changed_byte_costs_its_shard_alone(store: MapStore) -> None:
    """Every page is changed in turn, here and there; the shards that are left are always as they were."""
    table, before = _table(store), _read(store)
    content, left = table.read_bytes(), set[int]()
    intact = {(entry.settings, entry.seeds): shard.to_pandas() for entry, shard in _shards(before)}
    for place in np.random.default_rng(0).integers(4, len(content) - 8, size=15):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        table.write_bytes(bytes(changed))
        stored = _read(store)
        assert all(str(table) in line and "\n" not in line for line in stored.damaged)
        for entry, shard in _shards(stored):
            pd.testing.assert_frame_equal(shard.to_pandas(), intact[entry.settings, entry.seeds])
        left.add(len(stored.tables))
    assert 2 in left


def _shards(stored: StoredStudy) -> Iterator[tuple[ShardEntry, pa.Table]]:
    return zip(stored.header.shards, stored.tables, strict=True)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet" * 100])
def test_a_table_that_cannot_be_read_costs_all_its_shards(store: MapStore, content: bytes) -> None:
    _table(store).write_bytes(content)
    stored = _read(store)
    assert stored.done() == {} and len(stored.damaged) == 1 and "all its shards are lost" in stored.damaged[0]


def test_a_missing_table_costs_all_its_shards(store: MapStore) -> None:
    _table(store).unlink()
    assert _read(store).done() == {} and "No such file" in _read(store).damaged[0]


def test_rows_of_other_cells_under_an_intact_form_are_found(store: MapStore) -> None:
    """The table of other settings, written by the same code, in the place of the study's own."""
    other = StoredStudy(Header("made", "other", "Other", ("loss_ratio",), (), {}, (), ()))
    settings = [replace(setting, noise_ratio=3.0) for setting in SETTINGS]
    keys = dict.fromkeys(settings, "key")
    for some, seeds in ((settings[:2], [0, 1]), (settings[:2], [2]), (settings[2:], [0, 1, 2])):
        other.add(_trained(some, seeds), keys, "2026-01-01T00:00:00Z", ENVIRONMENT)
    ours = _table(store)
    store.save(other)
    (theirs,) = store.folder.glob("other.*.parquet")
    ours.write_bytes(theirs.read_bytes())
    stored = _read(store)
    assert stored.done() == {} and len(stored.damaged) == 3
    assert all("changed since it was written" in line for line in stored.damaged)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: text.replace('"key1"', '"key7"', 1), "checksum does not fit"),
        (lambda text: text.replace('"schema": 1', '"schema": 9'), "reads schema 1"),
        (lambda text: "[]", "reads schema 1"),
    ],
)
def test_a_damaged_header_is_named(store: MapStore, change, reason: str) -> None:  # type: ignore[no-untyped-def]
    path = store.folder / "losses.map"
    path.write_text(change(path.read_text()))
    problem = store.read("losses")
    assert isinstance(problem, str) and str(path) in problem and reason in problem
    with pytest.raises(UsageError, match="no map in") as raised:
        load_map(store.folder.parent, "made")
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header["file"].update(name="../../etc/passwd"), "names a file elsewhere"),
        (lambda header: header.update(title="\x1b[2J"), "does not print"),
        (lambda header: header["shards"][0].update(environment=5), "not the form"),
        (lambda header: header["shards"][0].update(columns=-9), "not the form"),
        (lambda header: header["shards"][0]["settings"][0].update(tasks=3), "do not go together"),
        (lambda header: header["shards"][0]["settings"][0].update(width=-1), "not the form"),
        (lambda header: header["shards"][0].update(seeds=[]), "do not go together"),
        (lambda header: header["columns"][0][-1].update(single=7), "a column of other tasks"),
        (lambda header: header["columns"][0][0].update(lr="fast"), "not the form"),
        (lambda header: header.pop("shards"), "not the form"),
    ],
)
def test_a_header_with_a_valid_checksum_is_still_checked(store: MapStore, change, reason: str) -> None:  # type: ignore[no-untyped-def]
    """A folder may come from anywhere, and a checksum is easily made."""
    from mtlbench.plan.cells import fingerprint

    path = store.folder / "losses.map"
    header = json.loads(path.read_text())
    change(header)
    header.pop("checksum")
    path.write_text(json.dumps({**header, "checksum": fingerprint(header)}))
    problem = store.read("losses")
    assert isinstance(problem, str) and reason in problem and "\n" not in problem


def test_a_crash_between_table_and_header_leaves_the_old_study(store: MapStore) -> None:
    header = (store.folder / "losses.map").read_bytes()
    old = _table(store), _table(store).read_bytes()
    stored = _read(store)
    stored.add(_trained(SETTINGS[:1], [7]), KEYS, "2026-01-01T00:00:00Z", ENVIRONMENT)
    store.save(stored)
    (store.folder / "losses.map").write_bytes(header)  # as if the process had died before the header
    old[0].write_bytes(old[1])
    assert 7 not in _read(store).done()[SETTINGS[0]] and _read(store).damaged == []
    store.save(_read(store))
    assert len(list(store.folder.glob("*.parquet"))) == 1  # the orphan is gone


def test_shards_of_other_code_are_dropped(store: MapStore) -> None:
    stored = _read(store)
    assert stored.keep({**KEYS, SETTINGS[2]: "changed"}) == 1
    assert set(stored.done()) == set(SETTINGS[:2])
    assert stored.keep({SETTINGS[0]: KEYS[SETTINGS[0]]}) == 2  # a shard counts only as a whole


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to results folder .*; give --results FOLDER"):
        MapStore(tmp_path, "made").prepare()
    with pytest.raises(UsageError, match="run mtlbench map --preset quick first"):
        load_map(tmp_path, "quick")


def test_a_map_in_a_results_folder_is_not_taken_for_records_of_cells(store: MapStore) -> None:
    """As in ``results/map/quick``, when ``mtlbench report`` reads ``results``."""
    for folder in (store.folder, *store.folder.parents[:2]):
        contents = Store(folder).scan()
        assert contents.records == [] and contents.damaged == []
