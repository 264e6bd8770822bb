"""Broken input of every kind: a user gets one line and an exit code of 0, 1 or 2, never a traceback.

By default a few seconds of examples, always the same; ``-m slow`` draws many more. ``python -m benchmarks.fuzz_input``
breaks the same files guided by coverage.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import hashlib
import json
import lzma
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.broken_json import changed, ways
from benchmarks.fuzz_targets import TARGETS
from benchmarks.sample_record import EVALUATION, STEP, full, history
from mtlbench import cli
from mtlbench.contract.spec import quoted, split_specs
from mtlbench.errors import UsageError
from mtlbench.execute.predictions_file import parquet
from mtlbench.plan.cells import fingerprint, parse_seeds
from mtlbench.plugins.registry import load_registry
from mtlbench.records.groups import collect
from mtlbench.records.record_file import verified
from mtlbench.records.store import Store
from mtlbench.report import FORMATS, render
from mtlbench.report.build import build
from mtlbench.report.figures.traces import read
from mtlbench.report.predictions import right_answers
from mtlbench.text.delimited import Dialect
from mtlbench.text.labels import Classes, Labels, LabelSets, Scores
from mtlbench.text.table_reader import read_table
from mtlbench.upkeep.export import export

EXAMPLES = pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.slow)])

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["../x", "a\0b", "\x1b[2J", "<script>", "\ud800", "=1", "9" * 5000, "none", "a"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.just("a")), inner, max_size=3)
    ),
    max_leaves=6,
)


def search(examples: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Try a check on many examples of a strategy."""
    few = examples < 100
    options = settings(
        max_examples=examples, deadline=None, derandomize=few, database=None, suppress_health_check=list(HealthCheck)
    )
    options(given(strategy)(check))()


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """Return data with one or two of its parts replaced or removed."""
    change = st.tuples(st.sampled_from(list(ways(value))), st.one_of(st.just(...), JSON))
    return st.lists(change, min_size=1, max_size=2).map(lambda changes: changed(value, changes))


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["mtlbench", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@EXAMPLES
def test_a_record_that_is_read_can_be_reported(
    examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "results")
    store.prepare()
    for seed in range(3):
        for spec in ("sum", "other[c=1]"):
            store.save(full(seed, spec), history({"step": 1, "losses": {"a": 1.0}, "seconds": 0.1}))
    victim = sorted(store.folder.rglob("*.json"))[0]
    original = json.loads(victim.read_bytes())
    numbers = iter(range(10**6))

    def check(changed: Any) -> None:
        try:
            if isinstance(changed, dict):
                changed["checksum"] = fingerprint({k: v for k, v in changed.items() if k != "checksum"})
        except ValueError:  # not a number: no checksum fits
            pass
        victim.write_text(json.dumps(changed))
        found = store.scan()
        assert len(found.records) + len(found.damaged) == 6
        # a page with its figures takes seconds: that is drawn below
        verbs = [
            ["status"],
            ["status", "--json"],
            *(["report", "--format", form] for form in FORMATS if form != "html"),
        ]
        assert call([*verbs[next(numbers) % len(verbs)], "--results", str(store.folder)], monkeypatch) in (0, 1, 2)
        capsys.readouterr()

    search(examples, mutated(original), check)
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


@EXAMPLES
def test_any_bytes_are_no_record_or_one(examples: int) -> None:
    told: list[str] = []
    whole = json.dumps({**full(0), "checksum": fingerprint(full(0))}).encode()

    def check(drawn: tuple[bytes, int, int]) -> None:
        content, place, bit = drawn
        flipped = bytearray(content)
        if flipped:
            flipped[place % len(flipped)] ^= 1 << bit
        try:
            assert verified(bytes(flipped)) == full(0) | {"checksum": fingerprint(full(0))}
        except ValueError as error:
            told.append(str(error))

    torn = st.integers(0, len(whole)).map(lambda size: whole[:size])
    content = st.one_of(st.binary(max_size=60), torn, st.just(whole), st.just(b"[" * 100_000), st.just(b"9" * 5000))
    search(examples, st.tuples(content, st.integers(0, 10**6), st.integers(0, 7)), check)
    assert told and not any("\n" in line for line in told)


@EXAMPLES
def test_any_history_is_read_or_told(examples: int, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.prepare()

    def check(rows: Any) -> None:
        content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        store.save(full(0), {"history": ("jsonl", content)})
        records = store.scan().records
        read(collect(records)[0])
        for to in ("csv",):
            export(records, to, tmp_path / "out")

    search(examples, st.one_of(st.binary(max_size=40), mutated([STEP, EVALUATION])), check)


@EXAMPLES
def test_any_predictions_are_read_or_left(examples: int, tmp_path: Path) -> None:
    import numpy as np

    whole = parquet({"a": np.eye(3, dtype=np.float32)}, {"a": np.arange(3)})

    def check(drawn: tuple[int, int, int]) -> None:
        place, bit, size = drawn
        content = bytearray(whole[: size % (len(whole) + 1)] if size % 3 == 0 else whole)
        if content:
            content[place % len(content)] ^= 1 << bit
        (tmp_path / "p").write_bytes(content)
        entry = {"name": "p", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        right_answers({**full(0), "path": str(tmp_path / "r.json"), "files": {"predictions": entry}})

    search(examples, st.tuples(*[st.integers(0, 10**6), st.integers(0, 7), st.integers(0, 10**6)]), check)


@EXAMPLES
def test_any_table_is_read_or_one_line(examples: int, tmp_path: Path) -> None:
    told: list[str] = []
    words = [
        "1",
        "1.0",
        "True",
        "nan",
        "NA",
        "",
        '"',
        '""',
        "9" * 5000,
        "\0",
        "1e999",
        "1_0",
        "['a', 'b']",
        "[0 2]",
        "\r",
    ]
    cells = st.one_of(st.text(max_size=6), st.sampled_from(words))
    between = st.sampled_from([",", "\t", ";"])
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    rows_of_cells = st.tuples(between, ends, st.lists(st.lists(cells, max_size=4), max_size=5))
    headed = st.tuples(
        between, ends, st.lists(st.lists(cells, max_size=4), max_size=5).map([["text", "label"]].__add__)
    )
    text = st.one_of(rows_of_cells, headed).map(lambda d: d[1].join(map(d[0].join, d[2])))
    said = text.map("sep=;\n".__add__)
    items = st.lists(JSON, max_size=4)
    rows = st.one_of(items.map(lambda made: "\n".join(map(json.dumps, made))), items.map(json.dumps))
    written = st.tuples(st.one_of(text, said, rows), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    content = st.one_of(st.binary(max_size=60), written.map(lambda d: d[0].encode(d[1], errors="surrogatepass")))
    packed = st.tuples(content, st.sampled_from([gzip.compress, bz2.compress, lzma.compress]), st.integers(0, 80))
    torn = packed.map(lambda d: d[1](d[0])[: d[2] or None])

    def check(drawn: tuple[bytes, str, Labels, Dialect]) -> None:
        path = tmp_path / f"table{drawn[1]}"
        path.write_bytes(drawn[0])
        try:
            read_table(path, ["text"], ["label"], drawn[2], dialect=drawn[3])
        except UsageError as error:
            told.append(str(error))

    endings = st.sampled_from(
        [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", "", ".csv.gz", ".json.xz", ".bz2"]
    )
    named = ("a", "b")
    rules = st.sampled_from([Classes(3), Classes(2, named), Scores(0.0, 1.0), LabelSets(3), LabelSets(2, named)])
    dialects = st.builds(
        Dialect, st.sampled_from([None, ",", "\t", ";", " "]), st.sampled_from([None, "csv", "backslash", "none"])
    )
    search(examples, st.tuples(st.one_of(content, torn), endings, rules, dialects), check)
    assert told and not any("\n" in line for line in told)


@EXAMPLES
def test_any_table_of_texts_reads_back(examples: int, tmp_path: Path) -> None:
    """What a writer of CSV writes is read as it was, but for white space around it, or told where it is two things."""
    told: list[tuple[bool, str]] = []
    cells = st.one_of(st.text(max_size=8), st.text(alphabet='a", \t\n;\\', max_size=8))
    rows = st.lists(cells.map(str.strip).filter(bool).filter(lambda text: "\0" not in text), min_size=1, max_size=5)

    def check(drawn: tuple[list[str], str, bool, str]) -> None:
        texts, delimiter, declared, end = drawn
        if any("\r" in text for text in texts):
            end = "\r\n"
        with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
            writer.writerows([("text", "label"), *((text, "1") for text in texts)])
        dialect = Dialect(delimiter, "csv" if declared else None)
        try:
            read = read_table(tmp_path / "table.csv", ["text"], ["label"], Classes(2), dialect=dialect)
        except UsageError as error:
            told.append((declared, str(error)))
        else:
            assert list(read.texts) == [(text,) for text in texts]

    ways = st.tuples(rows, st.sampled_from([",", "\t", ";"]), st.booleans(), st.sampled_from(["\n", "\r\n"]))
    search(examples, ways, check)
    assert all("are rows by themselves" in line and not declared for declared, line in told)


@EXAMPLES
def test_any_spec_is_a_method_or_one_line(examples: int) -> None:
    registry = load_registry()
    names = st.sampled_from([*registry.methods, *registry.tasks, "log-sum", "log-log-sum", "cr-mogm-stl", "log-"])
    plain = st.one_of(
        st.text(max_size=5), st.sampled_from(["1", "nan", "inf", "1e999", "9" * 5000, "-1", "[", "/", '"'])
    )
    values = st.one_of(
        plain, plain.map(quoted), plain.map(lambda text: quoted(text, text)), st.sampled_from(['"a', 'a"'])
    )
    fields = st.sampled_from(["c", "main", "called", "train", "w", "classes", "range", "t", "delimiter", "quoting"])
    pairs = st.lists(st.tuples(fields, values), max_size=3)
    made = st.tuples(names, pairs).map(lambda d: f"{d[0]}[{','.join(f'{k}={v}' for k, v in d[1])}]")

    def check(text: str) -> None:
        for read_spec in (registry.expand_methods, registry.task):
            for spec in split_specs(text):
                try:
                    made = read_spec(spec)
                except UsageError:
                    continue
                for plugin in made if isinstance(made, list) else [made]:
                    again = read_spec(plugin.spec)
                    assert plugin in (again if isinstance(again, list) else [again])
        with contextlib.suppress(UsageError):
            assert all(seed < 2**63 for seed in parse_seeds(text))

    seeds = st.lists(st.integers(-5, 10**30), max_size=4).map(lambda s: ",".join(map(str, s)))
    search(examples, st.one_of(st.text(max_size=30), made, seeds), check)


def toml(value: Any) -> str:
    """Write data as TOML, as far as TOML can hold it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return '""' if value is None else json.dumps(value)


@pytest.mark.slow
@pytest.mark.parametrize("examples", [200])
def test_any_suite_and_config_are_one_line_or_a_plan(
    examples: int,
    tmp_path: Path,
    suite_file: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = tomllib.loads(suite_file.read_text())
    config = {"suite": str(suite_file), "methods": "sum", "seeds": 1, "data-dir": str(data_dir), "plugin": []}

    def unreachable(name: str) -> Path:
        raise UsageError(f"cannot get model {name!r}")

    monkeypatch.setattr("mtlbench.text.encoder._hub_folder", unreachable)  # no test asks the network

    def check(drawn: tuple[str, Any]) -> None:
        kind, content = drawn
        file = tmp_path / f"{kind}.toml"
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif isinstance(content, dict):
            lines = (f"{json.dumps(key)} = {toml(value)}\n" for key, value in content.items())
            file.write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
        rest = ["--config", str(file)] if kind == "config" else ["--suite", str(file), "--data-dir", str(data_dir)]
        code = call(["run", *rest, "--dry-run", "--results", str(tmp_path / "results")], monkeypatch)
        shown = capsys.readouterr()
        assert code in (0, 2) and "Traceback" not in shown.err

    suites = st.tuples(st.just("suite"), st.one_of(st.binary(max_size=40), mutated(suite)))
    configs = st.tuples(st.just("config"), st.one_of(st.binary(max_size=40), mutated(config)))
    search(examples, st.one_of(suites, configs), check)
    assert {path.name for path in tmp_path.iterdir()} <= {"suite.toml", "config.toml"}


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_by_coverage_begins_from_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TARGETS[name].feed(TARGETS[name].whole())


def test_a_report_in_html_of_mutated_histories_draws_what_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(full(0), history({"step": 1, "losses": {"other": 1.0}, "seconds": 0.1}))
    store.save(full(1), history({"step": 1, "losses": {"a": 1.0}, "seconds": 0.1}))
    found = store.scan()
    assert "<html" in render(build(found.records), "html", records=found.records)
