"""``mtlbench status``: how far the grids of a results folder are, what failed and why, and what runs now."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mtlbench.errors import UsageError
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import duration
from mtlbench.records.entries import ErrorEntry
from mtlbench.records.leases import Holder, holders
from mtlbench.records.record import Record
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Row, Section, Table
from mtlbench.report.text import render

STEP = re.compile(r"(\d{9,18})-[0-9a-f]+\.safetensors")
STATES = ("done", "failed", "running", "missing")


@dataclass(frozen=True)
class CellStatus:
    """One cell of a grid: a group's methods × its seeds.

    :param error: why it failed: message, type, step and task.
    :param log: the file with the trace of its failure.
    """

    suite: str
    group: str
    method: str
    seed: int
    status: Literal["done", "failed", "running", "missing"]
    error: ErrorEntry | None = None
    log: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The newest checkpoint of a cell; a cell that is done has none."""

    key: str
    step: int
    file: str


@dataclass(frozen=True)
class Status:
    """All that is known of a results folder."""

    cells: list[CellStatus]
    running: list[Holder]
    checkpoints: list[Checkpoint]
    damaged: list[dict[str, str]]


def read_status(results: Path) -> Status:
    """Read a results folder.

    :raises UsageError: when it does not exist.
    """
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; run mtlbench run first, or give --results FOLDER")
    found = Store(results).scan()
    running = holders(results)
    held = {one.key for one in running if not one.gone}
    groups: dict[tuple[str, str], dict[tuple[str, int], Record]] = {}
    for record in sorted(found.records, key=lambda record: str(record["started"])):
        groups.setdefault((record["suite"], record["group"]), {})[record["method"]["spec"], record["seed"]] = record
    cells = [
        _cell(suite, group, method, seed, records.get((method, seed)), held)
        for (suite, group), records in sorted(groups.items())
        for method in sorted({method for method, _ in records})
        for seed in sorted({seed for _, seed in records})
    ]
    damaged = [{"file": file, "reason": why} for file, why in found.damaged]
    return Status(cells, running, _checkpoints(results), damaged)


def _cell(suite: str, group: str, method: str, seed: int, record: Record | None, held: set[str]) -> CellStatus:
    if record is None:
        return CellStatus(suite, group, method, seed, "missing")
    if record["key"] in held:
        return CellStatus(suite, group, method, seed, "running")
    log = record["files"].get("log")
    path = str(Path(record["path"]).parent / log["name"]) if log else None
    return CellStatus(suite, group, method, seed, record["status"], record["error"], path)


def _checkpoints(results: Path) -> list[Checkpoint]:
    found = []
    for folder in sorted((results / CHECKPOINTS).glob("*")):
        steps = [(int(match[1]), path) for path in folder.glob("*") if (match := STEP.fullmatch(path.name))]
        if steps:
            step, newest = max(steps)
            found.append(Checkpoint(folder.name, step, str(newest)))
    return found


def print_status(results: Path, *, as_json: bool) -> None:
    """Print the status of a results folder, 80 columns wide or as wide as the terminal.

    :raises UsageError: when the folder does not exist.
    """
    status = read_status(results)
    if as_json:
        print_data(json.dumps(asdict(status), indent=2, ensure_ascii=False, default=str), "json")
    else:
        print(render(list(_blocks(status, results))), end="")


def _blocks(status: Status, results: Path) -> list[Block]:
    blocks: list[Block] = []
    for suite, group in dict.fromkeys((cell.suite, cell.group) for cell in status.cells):
        cells = [cell for cell in status.cells if (cell.suite, cell.group) == (suite, group)]
        blocks += [Heading(f"{suite} ({group[:8]})"), _table(cells)]
        blocks += _list("failed", [line for cell in cells if cell.status == "failed" for line in _failure(cell)])
        blocks += _list("missing", _missing(cells))
    blocks += _list("running", [_held(_name(status, one.key), one) for one in status.running])
    blocks += _list("checkpoints", [f"{_name(status, one.key)}: step {one.step}" for one in status.checkpoints])
    blocks += _list("damaged", [f"{one['file']}: {one['reason']}" for one in status.damaged])
    counts = Counter(cell.status for cell in status.cells)
    running = sum(not one.gone for one in status.running)
    told = f"{counts['done']} done, {counts['failed']} failed, {running} running, {len(status.damaged)} damaged"
    return [*blocks, Paragraph(f"\n{told} in {results}")]


def _list(title: str, items: list[str]) -> list[Block]:
    return [Bullets(title, tuple(items))] if items else []


def _table(cells: list[CellStatus]) -> Table:
    counts: Counter[tuple[str, str]] = Counter((cell.method, cell.status) for cell in cells)
    rows = [
        Row((method, *(str(counts[method, state]) for state in STATES)))
        for method in dict.fromkeys(cell.method for cell in cells)
    ]
    return Table("cells", ("method", *STATES), (Section(None, tuple(rows)),))


def _failure(cell: CellStatus) -> list[str]:
    """Return what is known of a failure; where its message does not name step and task, they are added."""
    error: Any = cell.error or {}
    message = str(error.get("message", "no reason recorded"))
    where = [f"{part} {error[part]}" for part in ("step", "task") if error.get(part) is not None]
    added = [part for part in where if part not in message]
    told = f"{cell.method} seed {cell.seed}: {message}" + (f" ({', '.join(added)})" if added else "")
    return [told, f"log: {cell.log}"] if cell.log else [told]


def _missing(cells: list[CellStatus]) -> list[str]:
    """Return a line for each method with missing cells, of the grid of all methods and seeds that have any record."""
    by_method: dict[str, list[str]] = {}
    for cell in cells:
        if cell.status == "missing":
            by_method.setdefault(cell.method, []).append(str(cell.seed))
    return [f"{method}: seeds {', '.join(seeds)}" for method, seeds in by_method.items()]


def _name(status: Status, key: str) -> str:
    """Return what to call a cell that only its key is known of."""
    titles = [one.cell for one in status.running if one.key == key and one.cell]
    return f"{titles[0]} ({key[:12]})" if titles else key[:12]


def _held(name: str, one: Holder) -> str:
    where = f"process {one.pid} on {one.host}"
    if one.gone:
        return f"{name}: {where}, which is gone; the next run takes it over"
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(one.since)).total_seconds()
    except ValueError:
        return f"{name}: {where}"
    return f"{name}: {where}, for {duration(max(age, 0.0))}"
