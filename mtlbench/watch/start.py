"""The start of a watched run: which process measures, and whether the folder has the run already."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mtlbench.errors import UsageError
from mtlbench.host.provenance import environment
from mtlbench.host.safe_names import folder_name
from mtlbench.plan.cells import fingerprint
from mtlbench.records.header import now
from mtlbench.records.history_form import HistoryRow
from mtlbench.records.record import Record
from mtlbench.records.record_file import read_history, read_record
from mtlbench.records.watched import OWN, watched_header
from mtlbench.records.watched_log import log_path, read_log
from mtlbench.watch.log import Log

Run = tuple[Record, Sequence[HistoryRow]]
"""The header and the rows of a run."""


@dataclass(frozen=True)
class Start:
    """What a run is.

    :param name: of the run.
    :param tasks: the K tasks.
    :param every: steps from one look to the next.
    :param methods: specs of the methods whose weights are computed.
    :param rank: of the process that measures.
    :param processes: that train together.
    """

    name: str
    tasks: list[str]
    every: int
    methods: list[str]
    rank: int
    processes: int


def process() -> tuple[int, int]:
    """Return this process's rank and the number of processes that train together."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _earlier(folder: Path, name: str) -> tuple[Record, Sequence[HistoryRow]] | None:
    """Return the run of a name that the folder has already: its header and its rows.

    :param folder: the results folder.
    :param name: of the run.
    :raises UsageError: when its files cannot be read.
    """
    path = log_path(folder, name)
    try:
        if path.exists() and path.stat().st_size:
            log = read_log(path)
            return log.header, log.rows
        for finished in sorted((folder / folder_name(name) / folder_name(OWN)).glob("seed-0-*.json")):
            record = read_record(finished)
            return record, list(read_history(record))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the watched run '{name}' in {folder}: {error}; give another name=") from None
    return None


def check_folder(folder: Path, name: str, tasks: Sequence[str], *, resume: bool) -> Run | None:
    """Return the run to go on with, if there is one.

    :param folder: the results folder.
    :param name: of the run.
    :param tasks: its tasks.
    :param resume: whether to go on with an earlier run.
    :raises UsageError: when the folder is a file, or has a run of that name that this one cannot go on with.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a results folder")
    run = _earlier(folder, name)
    if run is None:
        return None
    header, rows = run
    last = max((row["step"] for row in rows), default=0)
    if not resume:
        fix = "give resume=True to go on after it, or another name="
        raise UsageError(f"{folder} has a run '{name}' already, up to step {last}; {fix}")
    if list(header["tasks"]) != list(tasks):
        raise UsageError(f"the run '{name}' in {folder} has tasks {', '.join(header['tasks'])}: give the same")
    return run


def open_log(
    folder: Path, start: Start, parameters: Sequence[torch.Tensor], *, resume: bool
) -> tuple[Log, Sequence[HistoryRow]]:
    """Open the log of a run.

    :param folder: the results folder.
    :param start: what the run is.
    :param parameters: the watched ones.
    :param resume: whether to go on with an earlier run.
    :returns: the log, and the rows that it has already.
    :raises UsageError: as :func:`check_folder` and :class:`mtlbench.watch.log.Log`.
    """
    run, device = check_folder(folder, start.name, start.tasks, resume=resume), parameters[0].device
    header = watched_header(
        start.name,
        fingerprint([start.name, uuid.uuid4().hex]),
        start.tasks,
        every=start.every,
        methods=start.methods,
        parameters=sum(parameter.numel() for parameter in parameters),
        rank=start.rank,
        processes=start.processes,
        environment=environment(str(device) if device.type == "cuda" else "cpu"),
        started=now(),
    )
    if run is None:
        return Log(folder, header), ()
    old, rows = run
    last = max((row["step"] for row in rows), default=0)
    header = {**header, "key": old["key"], "group": old["key"], "started": old["started"]}
    header["resumed"] = [*old.get("resumed", []), last]
    log = Log(folder, header, rows)
    log.rewrite_header(header)
    return log, log.read().rows
