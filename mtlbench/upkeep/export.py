"""Export histories of finished cells to other programs: a tidy CSV file, TensorBoard event files, an MLflow database.

The values are those of the histories, which docs/records.md describes. The newest record of each cell counts, as in
reports.
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

from mtlbench.errors import UsageError, unknown
from mtlbench.host.disk import TEMPORARY
from mtlbench.host.safe_names import spreadsheet_cell
from mtlbench.records.groups import Record, collect
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store, no_records

FORMATS: Final = ("csv", "tensorboard", "mlflow")
COLUMNS: Final = ("suite", "group", "method", "seed", "step", "task", "what", "value", "elapsed")
CSV_NAME: Final = "history.csv"
DATABASE_NAME: Final = "mtlbench.mlflow.db"
MOST_AT_ONCE: Final = 1000
"""Maximum number of metrics in one call to MLflow."""
EVENTS_SUFFIX: Final = ".mtlbench"
"""Suffix of our event files: an export into the same folder replaces only these."""
BY_TASK: Final = {"losses": "loss", "weights": "weight", "norms": "norm", "cosines": "cosine"}
ALONE: Final = ("seconds", "factor", "skipped")


class Value(NamedTuple):
    """One number of a history."""

    step: int
    task: str
    """The task, ``a|b`` for a pair of tasks, or empty for a value of all tasks together."""
    what: str
    """``loss``, ``weight``, ``norm``, ``cosine``, ``seconds``, ``factor``, ``skipped``, ``floored`` (1 if the task's
    loss was 0), ``weight by METHOD`` (of a watched run), or the name of a metric."""
    value: float
    elapsed: float
    """Training time in seconds from the start of training to the end of the step."""

    @property
    def tag(self) -> str:
        """Name of the value in a tracker, such as ``loss/sst5``."""
        return f"{self.what}/{self.task}" if self.task else self.what


@dataclass
class Exported:
    """Result of an export.

    :param cells: number of exported cells.
    :param left_out: path and reason of each damaged record, and of each cell whose history cannot be read.
    """

    cells: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def values(history: Iterable[Mapping[str, Any]]) -> Iterator[Value]:
    """Yield the values of a history, without nulls such as the cosine with a gradient of zero.

    :param history: the rows, in order.
    """
    elapsed = 0.0
    for row in history:
        step = row["step"]
        if "scores" in row:
            for task, scores in row["scores"].items():
                for metric, value in scores.items():
                    if value is not None:
                        yield Value(step, task, metric, value, row["elapsed"])
            continue
        elapsed = row.get("elapsed", elapsed + row.get("seconds", 0.0))  # a watched run has times of its looks alone
        for name, what in BY_TASK.items():
            for task, value in row.get(name, {}).items():
                if value is not None:
                    yield Value(step, task, what, value, elapsed)
        for spec, weights in row.get("proposed", {}).items():
            for task, value in weights.items():
                if value is not None:
                    yield Value(step, task, f"weight by {spec}", value, elapsed)
        for task in row.get("floored", ()):
            yield Value(step, task, "floored", 1.0, elapsed)
        for name in ALONE:
            if name in row:
                yield Value(step, "", name, float(row[name]), elapsed)


def export_folder(results: Path, to: str, folder: Path) -> Exported:
    """Write the histories of all finished cells of a results folder.

    :param results: the results folder.
    :param to: one of :data:`FORMATS`.
    :param folder: where to write; created if missing.
    :returns: the number of exported cells, and those left out; damaged records are among the latter.
    :raises UsageError: as :func:`export`, and if the format is unknown or there are no records.
    """
    if to not in FORMATS:
        raise unknown("export format", to, FORMATS)
    contents = Store(results).scan()
    if not contents.records and not contents.damaged:
        raise no_records(results)
    exported = export(contents.records, to, folder)
    return Exported(exported.cells, [*contents.damaged, *exported.left_out])


def export(records: Sequence[Record], to: str, folder: Path) -> Exported:
    """Write the histories of all finished cells.

    :param records: the records, as a scan of the store returns them.
    :param to: one of :data:`FORMATS`.
    :param folder: where to write; created if missing.
    :returns: the number of exported cells, and those left out.
    :raises UsageError: if there are no finished cells, the folder cannot be written, or a library is missing.
    """
    cells = [record for group in collect(records) for _, record in sorted(group.done.items())]
    if not cells:
        raise UsageError("no finished cells to export")
    exported = Exported()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write = {"csv": _write_csv, "tensorboard": _write_events, "mlflow": _write_mlflow}[to]
        write(_histories(cells, exported), folder)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None
    return exported


def _histories(cells: Iterable[Record], exported: Exported) -> Iterator[tuple[Record, list[Value]]]:
    """Yield each record with its values; add exported and unreadable cells to the result."""
    for record in cells:
        if "history" not in record["files"]:
            exported.left_out.append((record["path"], "it has no history"))
            continue
        try:
            history = list(values(read_history(record)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            exported.left_out.append((record["path"], f"its history cannot be read: {type(error).__name__}: {error}"))
            continue
        exported.cells += 1
        yield record, history


def _write_csv(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write one line per value; the file appears once it is complete."""
    temporary = folder / f"{TEMPORARY}{CSV_NAME}"
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for record, history in histories:
                cell = (record["suite"], record["group"], record["method"]["spec"], record["seed"])
                writer.writerows(map(spreadsheet_cell, (*cell, *value)) for value in history)
        temporary.replace(folder / CSV_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def _write_events(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write one run folder per cell, named like its record: SUITE/METHOD/seed-S-KEY.

    :raises UsageError: if TensorBoard's library is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--to tensorboard needs another library: pip install 'mtlbench[trackers]'") from None
    for record, history in histories:
        run = folder.joinpath(*Path(record["path"]).with_suffix("").parts[-3:])
        if run.is_dir():
            for path in run.glob(f"events.out.tfevents.*{EVENTS_SUFFIX}"):
                path.unlink()
        started = datetime.fromisoformat(record["started"]).timestamp()
        with SummaryWriter(str(run), filename_suffix=EVENTS_SUFFIX) as writer:
            for value in history:
                writer.add_scalar(value.tag, value.value, value.step, walltime=started + value.elapsed)


def _write_mlflow(histories: Iterable[tuple[Record, list[Value]]], folder: Path) -> None:
    """Write MLflow's SQLite database: one experiment per suite, one run per cell. It appears once it is complete.

    :raises UsageError: if a library is missing.
    """
    try:
        import alembic  # noqa: F401  mlflow's light package needs it for a database but does not install it
        import sqlalchemy  # noqa: F401
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise UsageError("--to mlflow needs other libraries: pip install 'mtlbench[mlflow]'") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs each table that it creates
    # a unique name, because mlflow keeps a connection to each name until the process ends
    temporary = (folder / f"{TEMPORARY}{uuid.uuid4().hex}-{DATABASE_NAME}").absolute()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from calls among its own libraries
            client = MlflowClient(tracking_uri=f"sqlite:///{temporary}")
            experiments: dict[str, str] = {}
            for record, history in histories:
                suite, method = record["suite"], record["method"]
                if suite not in experiments:
                    experiments[suite] = client.create_experiment(suite)
                started = round(datetime.fromisoformat(record["started"]).timestamp() * 1000)
                name = f"{method['spec']} seed {record['seed']}"
                run = client.create_run(experiments[suite], start_time=started, run_name=name).info.run_id
                metrics = [
                    Metric(_mlflow_name(value.tag), value.value, started + round(1000 * value.elapsed), value.step)
                    for value in history
                ]
                settings = {"method": method["name"], "seed": record["seed"], **method.get("parameters", {})}
                parameters = [Param(_mlflow_name(name), str(value)) for name, value in settings.items()]
                tags = [RunTag("mtlbench.key", record["key"]), RunTag("mtlbench.group", record["group"])]
                client.log_batch(run, params=parameters, tags=tags)
                for first in range(0, len(metrics), MOST_AT_ONCE):
                    client.log_batch(run, metrics=metrics[first : first + MOST_AT_ONCE])
                client.set_terminated(run, end_time=started + round(1000 * record["seconds"]))
        temporary.replace(folder / DATABASE_NAME)
    finally:
        temporary.unlink(missing_ok=True)


def _mlflow_name(name: str) -> str:
    """Return a name with only the characters that MLflow allows; a pair of tasks becomes ``a:b``."""
    return re.sub(r"[^\w./ :-]", "_", name.replace("|", ":"))
