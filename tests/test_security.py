"""Files from elsewhere are data: nothing in them is executed, leads out of a folder, or gives orders to a reader."""

from __future__ import annotations

import ast
import csv
import hashlib
import html.parser
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmarks.sample_record import STEP, full, history, record, task
from mtlbench import cli
from mtlbench.diagnose.evidence import Run
from mtlbench.diagnose.unfinished import unfinished
from mtlbench.host.safe_names import folder_name, is_file_name, visible
from mtlbench.host.terminal import Console
from mtlbench.plan.cells import fingerprint
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.report import render
from mtlbench.report.build import build
from mtlbench.report.predictions import right_answers
from mtlbench.text.encoder import Encoder
from mtlbench.text.pretrained import load_encoder
from mtlbench.training.checkpoint import Checkpoints
from mtlbench.training.state_codec import unflatten

SOURCES = sorted(path for folder in ("mtlbench", "methods", "tasks") for path in Path(folder).rglob("*.py"))
HOSTILE = "<script>alert(1)</script>\"' onload=x [red]\x1b[2J\r\n\u202e=cmd|/c"
"""Markup of pages and of rich, an escape sequence, a line break, and a change of the writing's direction."""


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_module_unpickles_or_runs_what_it_reads(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not {name.split(".")[0] for name in named} & {"pickle", "dill", "cloudpickle", "shelve", "joblib"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "pd.read_pickle", "joblib.load", "os.system")
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("allow_pickle", "False") == given.get("shell", "False") == "False"
            assert given.get("trust_remote_code", "False") == "False"
            if called.split(".")[0].startswith("Auto") or called.startswith("auto_"):
                assert "trust_remote_code" in given, f"{path}: {called} would ask on the terminal"


def test_planted_pickles_are_not_opened(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(mark))
    store = Store(tmp_path / "results")
    store.prepare()
    store.save(record(), {"predictions": ("parquet", bomb), "history": ("jsonl", bomb)})
    for name in (".mtlbench-cache/records", ".leases/x.json", "tiny/sum/seed-0-x.json"):
        (store.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (store.folder / name).write_bytes(bomb)
    planted = store.folder / ".checkpoints" / ("a" * 64) / f"{1:09d}-{hashlib.sha256(bomb).hexdigest()}.safetensors"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(bomb)
    told: list[str] = []
    checkpoints = Checkpoints(store.folder / ".checkpoints", "a" * 64, every=1.0, tell=told.append)
    assert checkpoints.newest() is None and "is no use" in told[0]
    found = store.scan()
    assert right_answers(found.records[0]) == {} and len(found.damaged) == 1
    render(build(found.records), "html", records=found.records)
    assert not mark.exists()
    pickle.loads(bomb)  # it would have
    assert mark.exists()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"record": [], "histories": {}},
        {"record": {"a": 1, 2: 3}, "histories": {}},
        {"record": full(0), "histories": {}},
        {"record": full(0), "histories": [[]]},
        {"record": full(0), "histories": [b"1"]},
        {"record": full(0), "histories": [b"[[]]"]},
        {"record": full(0), "histories": [b"[" * 100_000]},
    ],
    ids=lambda state: str(state)[-40:],
)
def test_a_checkpoint_of_another_form_is_left_out(tmp_path: Path, state: dict[str, Any]) -> None:
    """Found by fuzzing: a record that is none in a checkpoint whose hash is right ended the doctor with a traceback."""
    checkpoints = Checkpoints(tmp_path / CHECKPOINTS, "k" * 64, every=1.0, tell=pytest.fail)
    checkpoints.save(1, lambda: state)
    told: list[str] = []
    assert unfinished(tmp_path, told.append) == [] and "left out" in told[0] and len(told) == 1
    checkpoints.save(2, lambda: {"record": full(0), "histories": [json.dumps([STEP]).encode()]})
    assert [one["history"] for one in unfinished(tmp_path, pytest.fail)] == [[STEP]]


@pytest.mark.parametrize("node", [{"tensor": "w", "device": "cuda:99"}, {"deque": [], "longest": 10**30}], ids=str)
def test_a_state_that_this_machine_cannot_hold_is_one_line(node: dict[str, Any]) -> None:
    """Some of what torch and Python raise here is neither a ValueError nor a RuntimeError."""
    with pytest.raises(ValueError, match="not a state"):
        unflatten(node, {"w": torch.eye(2)})


def test_predictions_of_another_form_are_none_for_the_doctor(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pd.DataFrame({"label": [1], "value": [0.5]}).to_parquet(buffer)
    Store(tmp_path).save(full(0), {"predictions": ("parquet", buffer.getvalue())})
    assert Run(Store(tmp_path).scan().records[0]).outputs == {}


def test_a_model_that_brings_code_is_not_asked_about_and_not_run(tiny_bert: Path, tmp_path: Path) -> None:
    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}, "model_type": "own"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\n")
    encoder = Encoder(str(tmp_path))
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_encoder(encoder, encoder.locate(), 0)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "name",
    ["..", "../../x", "/etc/passwd", "a/b", "a\\b", "nul\0byte", "x" * 5000, "ѕum", "CON", "nul", "com1.x", ".hidden",
     "", "...", " ", "a\nb", "\ud800", "~", "-rf", "a:b"],
)  # fmt: skip
def test_any_name_is_a_folder_in_the_folder(name: str, tmp_path: Path) -> None:
    made = folder_name(name)
    assert is_file_name(made) and len(made) <= 100 and made[0] != "." and made.isascii()
    assert made.partition(".")[0].upper() not in ("CON", "NUL", "COM1")
    changed = record(spec=name or "_")
    changed["suite"] = name or "_"
    path = Store(tmp_path).save(changed, history({"step": 1}))
    assert path.resolve().is_relative_to(tmp_path.resolve()) and len(path.relative_to(tmp_path).parts) == 3


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", "a/../b", "a\\b", "C:x", "nul\0", "a\x1b"])
def test_a_side_file_elsewhere_is_damage(name: str, tmp_path: Path) -> None:
    path = Store(tmp_path).save(record(), history({"step": 1}))
    content = json.loads(path.read_text())
    content["files"]["history"]["name"] = name
    content["checksum"] = fingerprint({key: value for key, value in content.items() if key != "checksum"})
    path.write_text(json.dumps(content))
    found = Store(tmp_path).scan()
    assert not found.records and "would lie elsewhere" in found.damaged[0][1]


def test_a_side_file_that_is_a_link_is_damage(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    path = Store(tmp_path / "results").save(record(), history({"step": 1}))
    beside = next(path.parent.glob("*.jsonl"))
    beside.rename(tmp_path / "elsewhere")
    beside.symlink_to(tmp_path / "elsewhere")
    assert "missing or cut off" in Store(tmp_path / "results").scan().damaged[0][1]


def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    path = Store(tmp_path).save(record(), {})
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in Store(tmp_path).scan().damaged[0][1]


@pytest.fixture
def hostile(tmp_path: Path) -> Store:
    """Records whose every string that a user or a plugin chooses is hostile."""
    tasks = {HOSTILE: {**task(HOSTILE), "corpus": HOSTILE}}
    for number in range(4):
        one = record(number // 2, key=f"{number:064d}", spec=HOSTILE if number % 2 else "sum")
        one |= {"suite": HOSTILE, "tasks": tasks, "recipe": {"tasks": [HOSTILE], "steps": 3, "model": HOSTILE}}
        one["encoder"] = {"spec": HOSTILE, "name": HOSTILE, "tuned_on": [HOSTILE]}
        one["environment"] = {"versions": {HOSTILE: HOSTILE}, "machine": {"processor": HOSTILE + str(number)}}
        one["scores"] = {HOSTILE: {"accuracy": 0.1 * number}}
        Store(tmp_path).save(one, history({"step": 1, "losses": {HOSTILE: 1.0}, "seconds": 1.0}))
    error = {"type": HOSTILE, "message": HOSTILE, "step": 3, "task": HOSTILE}
    Store(tmp_path).save({**one, "status": "failed", "seed": 7, "key": "7" * 64, "error": error}, {})
    return Store(tmp_path)


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex", "html", "json"])
def test_no_format_passes_orders_on(hostile: Store, form: str) -> None:
    found = hostile.scan()
    assert not found.damaged
    text = render(build(found.records), form, records=found.records)
    assert "\x1b" not in text and "\r" not in text and "\u202e" not in text
    if form in ("markdown", "html"):
        assert "<script>alert" not in text
    if form == "csv":
        assert all(cell[:1] not in "=@" for row in csv.reader(io.StringIO(text)) for cell in row if cell)
    if form == "html":
        page = Page()
        page.feed(text)
        assert page.handlers == [] and page.scripts == 1 and visible(HOSTILE) in page.text


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: list[str] = []
        self.scripts, self.text = 0, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("verb", [["status"], ["report"], ["clean"], ["status", "--json"]])
def test_a_terminal_shows_what_it_must_not_obey(
    hostile: Store, verb: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mtlbench", *verb, "--results", str(hostile.folder)])
    with pytest.raises(SystemExit):
        cli.main()
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err and "\u202e" not in shown.out
    if verb == ["status"]:
        assert "[red]" in shown.out and "\\x1b[2J" in shown.out.replace("\n", "")


def test_errors_and_consoles_show_escape_sequences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["mtlbench", "run", "--suite", "\x1b[2J\u202e"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2 and "\\x1b[2J\\u202e" in capsys.readouterr().err
    buffer = io.StringIO()
    Console(file=buffer, force_terminal=True, highlight=False, width=80).print("[bold]a\x1b[2Jb[/]", "\ud800")
    assert "a\\x1b[2Jb" in buffer.getvalue() and "\x1b[2J" not in buffer.getvalue()


def test_a_formula_is_text_in_a_spreadsheet(tmp_path: Path) -> None:
    for number in range(2):
        one = {**record(number, key=f"{number:064d}", spec="=1+1"), "scores": {"a": {"accuracy": -0.5}}}
        Store(tmp_path).save(one, {})
    rows = list(csv.DictReader(io.StringIO(render(build(Store(tmp_path).scan().records, baseline="=1+1"), "csv"))))
    assert {row["method"] for row in rows} == {"'=1+1"} and {row["mean"] for row in rows} == {"-0.5"}
