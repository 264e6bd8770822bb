"""Histories of finished cells for other programs: a tidy CSV file, TensorBoard's event files, an MLflow database.

The values are those of the histories; docs/records.md describes them. The newest record of every cell counts, as in a
report.
"""

from __future__ import annotations

import csv
import logging
import re
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mtlbench.errors import UsageError
from mtlbench.host.disk import TEMPORARY
from mtlbench.host.safe_names import spreadsheet_cell
from mtlbench.records.groups import Record, collect
from mtlbench.records.record_file import read_history

FORMATS: Final = ("csv", "tensorboard", "mlflow")
COLUMNS: Final = ("suite", "group", "method", "seed", "step", "task", "what", "value", "elapsed")
CSV_NAME: Final = "history.csv"
DATABASE_NAME: Final = "mtlbench.mlflow.db"
MOST_AT_ONCE: Final = 1000
"""Metrics that MLflow takes in one call."""
EVENTS_SUFFIX: Final = ".mtlbench"
"""Ends our event files: an export into the same folder replaces them and no other."""
BY_TASK: Final = {"losses": "loss", "weights": "weight", "norms": "norm", "cosines": "cosine"}
ALONE: Final = ("seconds", "factor", "skipped")


class Value(NamedTuple):
    """One number of a history."""

    step: int
    task: str
    """The task, ``a|b`` for a pair of tasks, or nothing for what concerns all of them."""
    what: str
    """``loss``, ``weight``, ``norm``, ``cosine``, ``seconds``, ``factor``, ``skipped``, ``floored`` (1 where the task's
    loss of 0 was), or a metric's name."""
    value: float
    elapsed: float
    """Training seconds from the start to the end of the step."""

    @property
    def tag(self) -> str:
        """The number's name in a tracker, such as ``loss/sst5``."""
        return f"{self.what}/{self.task}" if self.task else self.what


@dataclass
class Exported:
    """What an export did."""

    cells: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of each cell whose history cannot be read."""


def values(history: Iterable[Mapping[str, Any]]) -> Iterator[Value]:
    """Yield every number of a history. What is null, such as the cosine with a gradient of zero, is left out."""
    elapsed = 0.0
    for row in history:
        step = row["step"]
        if "scores" in row:
            for task, scores in row["scores"].items():
                for metric, value in scores.items():
                    if value is not None:
                        yield Value(step, task, metric, value, row["elapsed"])
            continue
        elapsed += row["seconds"]
        for name, what in BY_TASK.items():
            for task, value in row.get(name, {}).items():
                if value is not None:
                    yield Value(step, task, what, value, elapsed)
        for task in row.get("floored", ()):
            yield Value(step, task, "floored", 1.0, elapsed)
        for name in ALONE:
            if name in row:
                yield Value(step, "", name, float(row[name]), elapsed)


def export(records: Sequence[Record], to: str, folder: Path) -> Exported:
    """Write the histories of all finished cells.

    :param records: as a store's scan returns them.
    :param to: one of :data:`FORMATS`.
    :param folder: made if it is not there.
    :raises UsageError: when there is no finished cell, the folder cannot be written to, or a library is missing.
    """
    cells = [record for group in collect(records) for _, record in sorted(group.done.items())]
    if not cells:
        raise UsageError("no finished cells to export")
    done = Exported()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write = {"csv": _write_csv, "tensorboard": _write_events, "mlflow": _write_mlflow}[to]
        write(_histories(cells, done), folder)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None
    return done


def _histories(cells: Iterable[Record], done: Exported) -> Iterator[tuple[Record, list[Value]]]:
    """Yield every cell with its numbers; note the cells, and those that cannot be read."""
    for record in cells:
        if "history" not in record["files"]:
            done.left_out.append((record["path"], "it has no history"))
            continue
        try:
            numbers = list(values(read_history(record)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            done.left_out.append((record["path"], f"its history cannot be read: {type(error).__name__}: {error}"))
            continue
        done.cells += 1
        yield record, numbers


def _write_csv(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write one line per number; the file appears when it is whole."""
    temporary = folder / f"{TEMPORARY}{CSV_NAME}"
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for record, numbers in histories:
                cell = (record["suite"], record["group"], record["method"]["spec"], record["seed"])
                writer.writerows(map(spreadsheet_cell, (*cell, *number)) for number in numbers)
        temporary.replace(folder / CSV_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def _write_events(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write one run folder a cell, named as its record: SUITE/METHOD/seed-S-KEY.

    :raises UsageError: when TensorBoard's library is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--to tensorboard needs another library: pip install 'mtlbench[trackers]'") from None
    for record, numbers in histories:
        run = folder.joinpath(*Path(record["path"]).with_suffix("").parts[-3:])
        if run.is_dir():
            for old in run.glob(f"events.out.tfevents.*{EVENTS_SUFFIX}"):
                old.unlink()
        started = datetime.fromisoformat(record["started"]).timestamp()
        with SummaryWriter(str(run), filename_suffix=EVENTS_SUFFIX) as writer:
            for number in numbers:
                writer.add_scalar(number.tag, number.value, number.step, walltime=started + number.elapsed)


def _write_mlflow(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write one SQLite database of MLflow's, an experiment a suite and a run a cell; it appears when it is whole.

    :raises UsageError: when one of the libraries is missing.
    """
    try:
        import alembic  # noqa: F401  what mlflow's light package needs for a database, and does not install
        import sqlalchemy  # noqa: F401
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise UsageError("--to mlflow needs other libraries: pip install 'mtlbench[mlflow]'") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table that it makes
    # a name of its own: mlflow keeps a connection to each name for as long as the process lives
    temporary = (folder / f"{TEMPORARY}{uuid.uuid4().hex}-{DATABASE_NAME}").absolute()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # between its own libraries
            client = MlflowClient(tracking_uri=f"sqlite:///{temporary}")
            experiments: dict[str, str] = {}
            for record, numbers in histories:
                suite, method = record["suite"], record["method"]
                if suite not in experiments:
                    experiments[suite] = client.create_experiment(suite)
                started = round(datetime.fromisoformat(record["started"]).timestamp() * 1000)
                name = f"{method['spec']} seed {record['seed']}"
                run = client.create_run(experiments[suite], start_time=started, run_name=name).info.run_id
                metrics = [
                    Metric(_mlflow_name(one.tag), one.value, started + round(1000 * one.elapsed), one.step)
                    for one in numbers
                ]
                told = {"method": method["name"], "seed": record["seed"], **method["parameters"]}
                parameters = [Param(_mlflow_name(name), str(value)) for name, value in told.items()]
                tags = [RunTag("mtlbench.key", record["key"]), RunTag("mtlbench.group", record["group"])]
                client.log_batch(run, params=parameters, tags=tags)
                for first in range(0, len(metrics), MOST_AT_ONCE):
                    client.log_batch(run, metrics=metrics[first : first + MOST_AT_ONCE])
                client.set_terminated(run, end_time=started + round(1000 * record["seconds"]))
        temporary.replace(folder / DATABASE_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def _mlflow_name(name: str) -> str:
    """Return a name of the characters that MLflow takes: a pair of tasks is ``a:b``."""
    return re.sub(r"[^\w./ :-]", "_", name.replace("|", ":"))
