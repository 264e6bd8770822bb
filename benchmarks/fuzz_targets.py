"""What :mod:`benchmarks.fuzz_input` feeds broken input to: every file and text that mtlbench takes from outside.

A target has one whole input, to begin with, and a function that takes any bytes in its place. The function says whether
they were read; what is refused as a user is told, in one line, is no fault, and any other exception is one. All run in
an empty folder.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks import fuzz_results as results
from benchmarks.fuzz_told import call, refused
from benchmarks.tiny_grid import make_tiny_grid
from mtlbench.contract.plugin import Plugin
from mtlbench.contract.spec import split_specs
from mtlbench.errors import UsageError
from mtlbench.plan.cells import parse_seeds
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.text.delimited import Dialect
from mtlbench.text.labels import Classes, LabelSets, Scores
from mtlbench.text.table_reader import read_table

RULES = (Classes(3), Scores(0.0, 5.0), LabelSets(3), LabelSets(3, ("0", "1", "n/a")))
DIALECTS = (Dialect(), Dialect(quoting="csv"), Dialect(quoting="none"), Dialect(";", "backslash"))


@dataclass(frozen=True)
class Target:
    """A way into mtlbench.

    :param whole: makes what the function reads beside the input, and returns an input that is read.
    :param feed: takes an input; returns whether it was read.
    :param places: the files and folders that may be written to.
    """

    whole: Callable[[], bytes]
    feed: Callable[[bytes], bool]
    places: tuple[str, ...]
    json: bool = False
    """Whether an input has JSON, or lines of it: then half of the changes leave it JSON."""


def _whole_suite() -> bytes:
    return (make_tiny_grid(Path("tiny")) / "tiny.toml").read_bytes()


def _suite(content: bytes) -> bool:
    Path("suite.toml").write_bytes(content)
    return call("run", "--suite", "suite.toml", "--data-dir", "tiny", "--dry-run") == 0


def _whole_config() -> bytes:
    make_tiny_grid(Path("tiny"))
    options: dict[str, object] = {
        "suite": "tiny/tiny.toml",
        "data-dir": "tiny",
        "methods": "sum,cagrad[c=0.2/0.4]",
        "seeds": [0, 3],
    }
    options |= {"steps": 8, "batch-size": 8, "lr": 1e-4, "sampling": "sqrt", "test-rows": 8, "update-norm": "sum"}
    options |= {"accumulate": 2, "precision": "bfloat16", "checkpointing": True, "jobs": 1, "checkpoint-every": 9.5}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items()).encode()


def _config(content: bytes) -> bool:
    Path("config.toml").write_bytes(content)
    return call("run", "--config", "config.toml", "--dry-run") == 0


def _table(ending: str) -> Target:
    rows = {"text": ["a film", 'it is "so, so"', "ünïcode"], "label": [0, 1, 2]}

    def whole() -> bytes:
        frame = pd.DataFrame(rows)
        match ending:
            case "parquet":
                return bytes(frame.to_parquet(index=False))
            case "json" | "jsonl":
                return str(frame.to_json(orient="records", lines=ending == "jsonl")).encode()
            case "csv.gz":
                return gzip.compress(frame.to_csv(index=False).encode(), mtime=0)
            case _:
                return str(frame.to_csv(index=False, sep="\t" if ending == "tsv" else ",")).encode()

    def feed(content: bytes) -> bool:
        path = Path(f"table.{ending}")
        path.write_bytes(content)
        done = 0
        for rule, dialect in itertools.product(RULES, DIALECTS if ending in ("csv", "tsv") else DIALECTS[:1]):
            try:
                read_table(path, ["text"], ["label"], rule, dialect=dialect)
                done += 1
            except UsageError as error:
                refused(error)
        return done > 0

    return Target(whole, feed, (f"table.{ending}",), json=ending in ("json", "jsonl"))


@functools.cache
def _registry() -> Registry:
    return load_registry()


def _specs(content: bytes, parse: Callable[[str], Plugin | Sequence[Plugin]]) -> bool:
    try:
        for spec in split_specs(content.decode(errors="replace")):
            made = parse(spec)
            for plugin in made if isinstance(made, Sequence) else [made]:
                again = parse(plugin.spec)
                if plugin not in (again if isinstance(again, Sequence) else [again]):
                    raise AssertionError(f"{plugin.spec} does not read back")
    except UsageError as error:
        return refused(error)
    return True


def _seeds(content: bytes) -> bool:
    try:
        return bool(parse_seeds(content.decode(errors="replace")))
    except UsageError as error:
        return refused(error)


METHODS = b"sum, cagrad[c=0.2/0.4] log-pcgrad stl fixed[w=1:2:1] cr-mogm-mgda"
TASKS = (
    b"table[called=a,train=a.csv,dev=0.1,text=one,text2=two,label=label,classes=5,missing=skip] sst5 glue[task=mrpc] "
    b'table[called=c,train=b.tsv.gz,dev="a, b.csv",text="Text [1]",label="pos/neg",classes=good/"n/a",delimiter=";",'
    b"quoting=none] "
    b"hub[called=b,path=owner/name,config=split,text=text,label=label,range=0:5] sentiment[conflict=0.8,imbalance=4]"
)

TARGETS = {
    "suite, TOML": Target(_whole_suite, _suite, ("suite.toml", "tiny")),
    "config, TOML": Target(_whole_config, _config, ("config.toml", "tiny")),
    "record and side files": Target(results.whole_record, results.record, ("results", "exported", "merged"), json=True),
    **{f"table, {ending}": _table(ending) for ending in ("csv", "tsv", "csv.gz", "jsonl", "json", "parquet")},
    "method specs": Target(lambda: METHODS, lambda content: _specs(content, _registry().expand_methods), ()),
    "task specs": Target(lambda: TASKS, lambda content: _specs(content, _registry().task), ()),
    "seeds": Target(lambda: b"0,3,7", _seeds, ()),
    "checkpoint, safetensors": Target(results.whole_checkpoint, results.checkpoint, ("results",)),
    "checkpoint, state in JSON": Target(results.whole_state, results.state, ("results",), json=True),
}
"""Name → target."""
