"""``mtlbench status``: progress of the grids of a results folder, failures with their reasons, and running cells."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mtlbench.contract.entries import ErrorEntry
from mtlbench.errors import UsageError
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import duration
from mtlbench.records.leases import Holder, holders
from mtlbench.records.record import Record
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Row, Section, Table
from mtlbench.report.text import render

STEP = re.compile(r"(\d{9,18})-[0-9a-f]+\.safetensors")
STATES = ("done", "failed", "running", "missing")


@dataclass(frozen=True)
class CellStatus:
    """State of one cell of a grid, which is the product of a group's methods and its seeds.

    :param suite: name of the suite.
    :param group: id of the group.
    :param method: spec of the method.
    :param seed: the seed.
    :param status: the state.
    :param error: message, type, step and task of the error of a failed cell.
    :param log: path of the file with its traceback.
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
    """The newest checkpoint of a cell that is not done.

    :param key: key of the cell.
    :param step: number of finished steps.
    :param file: path of the file.
    """

    key: str
    step: int
    file: str


@dataclass(frozen=True)
class Status:
    """State of a results folder.

    :param cells: the cells of all grids.
    :param running: the holders of all leases, dead ones included.
    :param checkpoints: the newest checkpoint of each cell that has one.
    :param damaged: ``file`` and ``reason`` of each damaged record.
    """

    cells: list[CellStatus]
    running: list[Holder]
    checkpoints: list[Checkpoint]
    damaged: list[dict[str, str]]


def read_status(results: Path) -> Status:
    """Return the state of a results folder.

    :param results: the folder.
    :raises UsageError: if it does not exist.
    """
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; run mtlbench run first, or give --results FOLDER")
    scan = Store(results).scan()
    running = holders(results)
    held = {holder.key for holder in running if not holder.gone}
    damaged = [{"file": file, "reason": reason} for file, reason in scan.damaged]
    return Status(cell_states(scan.records, held), running, _checkpoints(results), damaged)


def cell_states(records: Iterable[Record], held: Set[str] = frozenset()) -> list[CellStatus]:
    """Return the state of every cell of the grids that records belong to.

    :param records: as a scan of the store returns them.
    :param held: keys of the cells that a process is training.
    """
    groups: dict[tuple[str, str], dict[tuple[str, int], Record]] = {}
    for record in sorted(records, key=lambda record: str(record["started"])):
        groups.setdefault((record["suite"], record["group"]), {})[record["method"]["spec"], record["seed"]] = record
    return [
        _cell(suite, group, method, seed, cells.get((method, seed)), held)
        for (suite, group), cells in sorted(groups.items())
        for method in sorted({method for method, _ in cells})
        for seed in sorted({seed for _, seed in cells})
    ]


def _cell(suite: str, group: str, method: str, seed: int, record: Record | None, held: Set[str]) -> CellStatus:
    if record is None:
        return CellStatus(suite, group, method, seed, "missing")
    if record["key"] in held:
        return CellStatus(suite, group, method, seed, "running")
    log = record["files"].get("log")
    path = str(Path(record["path"]).parent / log["name"]) if log else None
    return CellStatus(suite, group, method, seed, record["status"], record["error"], path)


def _checkpoints(results: Path) -> list[Checkpoint]:
    checkpoints = []
    for folder in sorted((results / CHECKPOINTS).glob("*")):
        steps = [(int(match[1]), path) for path in folder.glob("*") if (match := STEP.fullmatch(path.name))]
        if steps:
            step, newest = max(steps)
            checkpoints.append(Checkpoint(folder.name, step, str(newest)))
    return checkpoints


def print_status(results: Path, *, as_json: bool) -> None:
    """Print the state of a results folder, as wide as the terminal, or 80 columns wide without one.

    :param results: the folder.
    :param as_json: whether to print JSON instead of text.
    :raises UsageError: if the folder does not exist.
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
    blocks += _list("running", [_held(_name(status, holder.key), holder) for holder in status.running])
    blocks += _list("checkpoints", [f"{_name(status, point.key)}: step {point.step}" for point in status.checkpoints])
    blocks += _list("damaged", [f"{entry['file']}: {entry['reason']}" for entry in status.damaged])
    counts = Counter(cell.status for cell in status.cells)
    running = sum(not holder.gone for holder in status.running)
    summary = f"{counts['done']} done, {counts['failed']} failed, {running} running, {len(status.damaged)} damaged"
    return [*blocks, Paragraph(f"\n{summary} in {results}")]


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
    """Return the lines on a failed cell. Step and task are added unless the message names them."""
    error: Any = cell.error or {}
    message = str(error.get("message", "no reason recorded"))
    where = [f"{part} {error[part]}" for part in ("step", "task") if error.get(part) is not None]
    added = [part for part in where if part not in message]
    line = f"{cell.method} seed {cell.seed}: {message}" + (f" ({', '.join(added)})" if added else "")
    return [line, f"log: {cell.log}"] if cell.log else [line]


def _missing(cells: list[CellStatus]) -> list[str]:
    """Return a line for each method that lacks a record for a seed that another method of the group has."""
    by_method: dict[str, list[str]] = {}
    for cell in cells:
        if cell.status == "missing":
            by_method.setdefault(cell.method, []).append(str(cell.seed))
    return [f"{method}: seeds {', '.join(seeds)}" for method, seeds in by_method.items()]


def _name(status: Status, key: str) -> str:
    """Return a readable name for the key of a cell: the title in its lease if there is one."""
    titles = [holder.cell for holder in status.running if holder.key == key and holder.cell]
    return f"{titles[0]} ({key[:12]})" if titles else key[:12]


def _held(name: str, holder: Holder) -> str:
    where = f"process {holder.pid} on {holder.host}"
    if holder.gone:
        return f"{name}: {where}, which is gone; the next run takes it over"
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(holder.since)).total_seconds()
    except ValueError:
        return f"{name}: {where}"
    return f"{name}: {where}, for {duration(max(age, 0.0))}"
