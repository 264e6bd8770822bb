"""What runs inside a cell's own process. Importing this module imports torch and all that a cell needs, once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics  # noqa: F401  imported here so that the fork server has it ready
import torch
import transformers.models.bert.modeling_bert  # noqa: F401  the same

from mtlbench.errors import CellError, UsageError
from mtlbench.execute.executor import RETRIES, Event, Job
from mtlbench.leases import Heartbeat, Lease, LeaseLost
from mtlbench.plan import Cell, Workload, make_cells
from mtlbench.processes import ProcessDied, Processes, spread
from mtlbench.record import Record
from mtlbench.registry import load_registry
from mtlbench.store import NotRecorded, Store
from mtlbench.train import Listener, Outcome, train


def run_cell(job: Job, listener: Listener) -> Event:
    """Train one cell, write its record, done or failed, and return how it ended: one try, in this process.

    The cell's other processes, if it has several, are started here: before anything else, as they are forks.

    :param listener: hears of every step.
    """
    begun = time.perf_counter()
    outcome = Outcome()
    error: Exception | None = None
    recipe = job.cell.recipe

    def follow(processes: Processes) -> None:
        _train(job.cell, Outcome(), lambda done, total: None, processes)

    try:
        with spread(recipe.processes, recipe.device, follow) as processes, _held(job.lease) as check:

            def heard(done: int, total: int) -> None:
                check()
                listener(done, total)

            _train(job.cell, outcome, heard, processes)
            check()
    except LeaseLost as taken:
        return Event("taken", job.cell, message=str(taken))
    except ProcessDied as died:
        return Event("lost", job.cell, message=str(died), retries=RETRIES)
    except Exception as caught:  # whatever a method or task does, its cell fails and the grid goes on
        error = caught
    try:
        ended = save(job.record, outcome, job.store, time.perf_counter() - begun, error)
    except NotRecorded as lost:
        return Event("failed", job.cell, message=f"{f'{error}; ' if error else ''}not recorded: {lost}")
    finally:
        job.lease.release()
    return Event(ended["status"], job.cell, message=(ended["error"] or {}).get("message", ""))


@contextlib.contextmanager
def _held(lease: Lease) -> Iterator[Callable[[], None]]:
    """Hold a lease while the block runs; gives a function that raises once it was lost.

    :raises LeaseLost: when another launcher has it.
    :raises FolderRemoved: when it is not there.
    """
    losses: list[Exception] = []

    def check() -> None:
        if losses:
            raise losses[0]

    lease.enter()
    with Heartbeat(losses.append) as heartbeat:
        heartbeat.add(lease)
        yield check


def _train(cell: Cell, outcome: Outcome, listener: Listener, processes: Processes) -> None:
    prepare_process(cell.recipe.threads)
    registry = load_registry(cell.plugin_files)
    workload = Workload.load(cell.suite, cell.recipe, registry, data_dir=cell.data_dir, plugin_files=cell.plugin_files)
    method = registry.method(cell.method)
    if make_cells(workload, [method], [cell.seed])[0].key != cell.key:
        raise CellError("the data, the model or the method's file changed since the grid was planned: run again")
    train(workload, method, cell.seed, outcome, listener, processes)


def prepare_process(threads: int) -> None:
    """Make this process compute the same bits every time: fixed threads, deterministic kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all is written first


def save(record: Record, outcome: Outcome, store: Store, seconds: float, error: Exception | None) -> Record:
    """Complete a record with what its cell left behind, write it, and return it."""
    files = {"history": ("jsonl", "".join(json.dumps(row) + "\n" for row in outcome.history).encode())}
    record = {**record, "seconds": round(seconds, 3)}
    if outcome.size:
        record["encoder"] = {**record["encoder"], **outcome.size}
        record["engine"], record["cut"] = outcome.engine, outcome.cut
        record["pairing"] = outcome.pairing
    if error is None:
        record |= {
            "status": "done",
            "scores": outcome.scores,
            "cost": outcome.cost,
            "conflict": outcome.conflict,
        }
        files["predictions"] = ("parquet", _parquet(outcome))
    else:
        message = str(error) if isinstance(error, CellError | UsageError) else f"{type(error).__name__}: {error}"
        record["error"] = {
            "type": type(error).__name__,
            "message": " ".join(message.split())[:500],
            "step": getattr(error, "step", None),
            "task": getattr(error, "task", None),
        }
        files["log"] = ("txt", "".join(traceback.format_exception(error)).encode())
    store.save(record, files)
    return record


def _parquet(outcome: Outcome) -> bytes:
    """Return the raw outputs on the development rows: task, row number, output number, value, and the row's label."""
    frames: list[Any] = []
    for task, outputs in outcome.outputs.items():
        rows, columns = np.indices(outputs.shape)
        frames.append(
            pd.DataFrame(
                {
                    "task": pd.Categorical([task] * outputs.size),
                    "row": rows.ravel().astype("int32"),
                    "output": columns.ravel().astype("int16"),
                    "value": outputs.ravel(),
                    "label": np.asarray(outcome.labels[task], dtype=np.float64)[rows.ravel()],
                }
            )
        )
    buffer = io.BytesIO()
    pd.concat(frames).astype({"task": "category"}).to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
