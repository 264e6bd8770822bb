"""One thing has one identity: rows count by their content, whatever says where they are and how they are read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.recipe.suite import load_suite

TASK = "table[called=mood,train=mood.csv,dev=mood.csv,text=text,label=label,classes=3]"
PLUGIN = """
from dataclasses import dataclass
from pathlib import Path

from mtlbench.text.labels import Classes
from mtlbench.text.table_reader import read_table
from mtlbench.contract.task import Splits, Task


@dataclass
class Mine(Task):
    name = "mine"
    prediction = "classification"
    outputs = 3
    reading = ("file",)

    file: str = "mood.csv"
    margin: float = 0.0

    def load(self, data_dir):
        rows = read_table(Path(data_dir or "") / self.file, ["text"], ["label"], Classes(3))
        return Splits(rows, rows, source=self.file)
"""


@pytest.fixture
def moods(data_dir: Path, tmp_path: Path) -> Path:
    """The table of a task in every format, under other names, with other names of columns."""
    frame = pd.read_csv(data_dir / "mood.csv")
    shutil.copy(data_dir / "mood.csv", tmp_path / "mood.csv")
    renamed = frame.rename(columns={"text": "pos/neg", "label": "Mood [0-2]"}).assign(extra=1)
    renamed.to_csv(tmp_path / "other.tsv.gz", sep="\t")
    frame.assign(label=frame["label"].map(["bad", "n/a", "good"].__getitem__)).to_csv(
        tmp_path / "named.csv", sep=";", index=False
    )
    frame.astype({"label": float}).to_parquet(tmp_path / "mood.parquet")
    frame.to_json(tmp_path / "mood.json", orient="records")
    return tmp_path


def key_of(suite_file: Path, task: str, data_dir: Path | None, registry: Registry | None = None) -> str:
    registry = registry or load_registry()
    recipe = load_suite(str(suite_file)).recipe({"tasks": (task,)})
    (cell,) = make_cells(Workload.load("tiny", recipe, registry, data_dir=data_dir), [registry.method("sum")], [0])
    return f"{cell.group} {cell.key}"


def test_one_table_is_one_task(suite_file: Path, moods: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(moods.parent)
    base = key_of(suite_file, TASK, moods)
    absolute, relative = (TASK.replace("mood.csv", f"{folder}/mood.csv") for folder in (moods, moods.name))
    assert key_of(suite_file, absolute, None) == key_of(suite_file, relative, None) == base
    assert key_of(suite_file, absolute, moods / "elsewhere") == base
    same = "table[called=mood,train={0},dev={0},{1}]"
    for file, rest in (
        ("other.tsv.gz", 'text="pos/neg",label="Mood [0-2]",classes=3'),
        ("named.csv", 'text=text,label=label,classes=bad/"n/a"/good,delimiter=semicolon'),
        ("mood.parquet", "text=text,label=label,classes=3,missing=skip,metric=accuracy/macro_f1"),
        ("mood.json", "text=text,label=label,classes=0/1/2"),
    ):
        assert key_of(suite_file, same.format(file, rest), moods) == base, file


def test_what_decides_a_result_counts(suite_file: Path, moods: Path) -> None:
    changes = [
        ("text=text", "text=text"),
        ("called=mood", "called=temper"),
        ("classes=3", "classes=4"),
        ("classes=3", "range=0:2"),
        ("classes=3", "classes=3,metric=macro_f1"),
        ("classes=3", "classes=2/1/0"),
        ("dev=mood.csv", "dev=0.3"),
        ("text=text", "text=text,text2=other"),
        ("label=label", "label=other"),
    ]
    (moods / "mood.csv").write_text("text,label,other\n" + "".join(f"text {i},{i % 3},{i % 2}\n" for i in range(24)))
    assert len({key_of(suite_file, TASK.replace(*change), moods) for change in changes}) == len(changes)


def test_one_folder_of_data_is_one_task(
    suite_file: Path, moods: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    monkeypatch.chdir(moods)
    for folder in ("one", "two"):
        (moods / folder).mkdir()
        for split in ("train", "validation"):
            shutil.copy(moods / "mood.csv", moods / folder / f"{split}.csv")
    task = "hub[called=mood,path={},text=text,label=label,classes=3]"
    paths = [("one", moods), ("two", moods), (str(moods / "one"), None), ("one", None)]
    assert len({key_of(suite_file, task.format(path), folder) for path, folder in paths}) == 1


def test_a_task_of_ones_own_says_what_only_reads(suite_file: Path, moods: Path) -> None:
    (moods / "mine.py").write_text(PLUGIN)
    registry = load_registry((str(moods / "mine.py"),))
    shutil.copy(moods / "mood.csv", moods / "again.csv")

    def key(task: str, folder: Path | None = moods) -> str:
        return key_of(suite_file, task, folder, registry)

    assert key("mine") == key("mine[file=again.csv]") == key(f"mine[file={moods / 'again.csv'}]", None)
    assert key("mine[margin=0.5]") == key("mine[margin=0.5,file=again.csv]") != key("mine")


def test_other_tasks_count_as_before(make_workload: Callable[..., Workload]) -> None:
    identity = make_workload(tasks=("sentiment[conflict=0.8]", "similarity")).identity()
    assert identity["recipe"]["tasks"] == ["sentiment[conflict=0.8]", "similarity"]
    assert all(set(task) == {"name", "parameters", "data"} for task in identity["tasks"])
    assert identity["tasks"][0]["parameters"]["conflict"] == 0.8


def test_a_share_and_a_test_split_depend_on_no_path(suite_file: Path, moods: Path) -> None:
    shutil.copy(moods / "mood.csv", moods / "again.csv")
    registry, recipe = load_registry(), load_suite(str(suite_file))
    prints = set()
    for file in ("mood.csv", "again.csv", str(moods / "mood.csv")):
        task = f"table[called=mood,train={file},dev=0.3,text=text,label=label,classes=3]"
        made = recipe.recipe({"tasks": (task,), "test_rows": 4, "dev_limit": 3})
        prints.add(Workload.load("tiny", made, registry, data_dir=moods).problem.splits[0].fingerprint)
    assert len(prints) == 1


def test_a_cell_is_done_whatever_the_path(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]], moods: Path
) -> None:
    results = str(moods / "results")
    mtlbench("run", "--tasks", TASK, "--seeds", "1", "--results", results, "--data-dir", str(moods))
    absolute = TASK.replace("mood.csv", str(moods / "mood.csv"))
    shown = mtlbench("run", "--tasks", absolute, "--seeds", "1", "--results", results, "--dry-run")
    assert shown.returncode == 0 and "sum seed 0: done" in shown.stderr
