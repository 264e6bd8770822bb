"""Run a cell in its own process. Importing this module imports torch and everything else that a cell needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import sklearn.metrics  # noqa: F401  preloads it in the fork server
import torch

from mtlbench.engine.processes import ProcessDied, Processes, spread
from mtlbench.errors import CellError, OutOfMemory, UsageError
from mtlbench.execute.executor import RETRIES, CellJob, Event
from mtlbench.execute.heartbeat import Heartbeat
from mtlbench.execute.predictions_file import parquet
from mtlbench.execute.stop import Stop
from mtlbench.plan.cells import Cell, Workload, make_cells
from mtlbench.plugins.registry import import_packaged, load_registry
from mtlbench.records.leases import Lease, LeaseLost
from mtlbench.records.record import Record
from mtlbench.records.store import CHECKPOINTS, NotRecorded, Store
from mtlbench.text.encoder import libraries_of
from mtlbench.training.checkpoint import Checkpoints
from mtlbench.training.history_rows import count_floored
from mtlbench.training.result import CellProgress, CellResult
from mtlbench.training.state_codec import NotStorable
from mtlbench.training.train import Training

# both import modules that every cell needs: the fork server does so once
import_packaged()
torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())


class Stopped(Exception):
    """A signal asked this process to end. The cell resumes from its checkpoint in another process."""


Tell = Callable[[Event], None]
Meet = Callable[[int, str, Callable[[Processes], None]], contextlib.AbstractContextManager[Processes]]

MAY_PASS = (OutOfMemory, MemoryError, OSError)
"""Errors of the machine, not of the cell: a retry may succeed, so the checkpoints are kept. A cell that fails on its
own, such as by a loss of NaN, would fail the same way after resuming, so the next run starts it from scratch."""


def run_cell(job: CellJob, tell: Tell, signals: Sequence[int] = (signal.SIGTERM,), meet: Meet = spread) -> Event:
    """Train one cell in this process, write its record, done or failed, and return the cell's last event.

    Training resumes from the cell's newest checkpoint, if there is one. The cell's other processes, if any, start
    first, because they are forks.

    :param job: the attempt.
    :param tell: called with an event for each step, and with notes for the user.
    :param signals: signals that ask this process to end: it finishes its step and writes a checkpoint, but no record.
    :param meet: starts or joins the cell's processes.
    """
    begun, training, before = time.perf_counter(), None, CellProgress()
    error: Exception | None = None
    recipe = job.cell.recipe

    def note(message: str) -> None:
        tell(Event("note", job.cell, message=message))

    ours = _checkpoints(job.cell, job.store, note)
    try:
        with (
            meet(recipe.processes, recipe.device, partial(follow, job.cell, job.store)) as processes,
            _held(job.lease) as check,
            Stop().listening(signals) as stop,
        ):
            training, before = _training(job.cell, processes, ours)
            if before.resumed:
                note(f"goes on after step {training.done} of {training.total}")
            for done in training.run():
                check()
                tell(Event("step", job.cell, done, training.total))
                if done < training.total:
                    if ours.due(stopping=bool(stop.signal)):
                        progress = replace(before, seconds=before.seconds + time.perf_counter() - begun)
                        _keep(ours, training, progress, job.record, note)
                    if stop.signal:
                        raise Stopped(f"its process was asked to end, by {stop.signal}, after step {done}")
            check()
    except LeaseLost as reason:
        return Event("taken", job.cell, message=str(reason))
    except (ProcessDied, Stopped) as reason:
        return Event("lost", job.cell, message=str(reason), retries=RETRIES)
    except Exception as caught:  # an error of a method or task fails its cell; the grid continues
        error = caught
    try:
        result = training.result() if training else CellResult()
        spent = replace(before, seconds=before.seconds + time.perf_counter() - begun)
        record = save(job.record, result, job.store, spent, error)
        if not isinstance(error, MAY_PASS) and not isinstance(error and error.__cause__, MAY_PASS):
            ours.clear()
    except NotRecorded as reason:
        return Event("failed", job.cell, message=f"{f'{error}; ' if error else ''}not recorded: {reason}")
    finally:
        job.lease.release()
    return Event(record["status"], job.cell, message=record["error"]["message"] if record["error"] else "")


def follow(cell: Cell, store: Store, processes: Processes) -> None:
    """Train a cell as any of its processes but number 0, which alone writes files.

    :param cell: the cell.
    :param store: the results folder, for the checkpoint to resume from.
    :param processes: the processes of the cell.
    """
    for _ in _training(cell, processes, _checkpoints(cell, store, lambda message: None))[0].run():
        pass


def _checkpoints(cell: Cell, store: Store, tell: Callable[[str], None]) -> Checkpoints:
    folder, libraries = store.folder / CHECKPOINTS, libraries_of(cell.recipe)
    return Checkpoints(folder, cell.key, every=cell.checkpoint_every, tell=tell, libraries=libraries)


def _keep(
    checkpoints: Checkpoints, training: Training, progress: CellProgress, header: Record, note: Callable[[str], None]
) -> None:
    """Write a checkpoint. If that fails, as on a full disk, training continues: the result does not depend on it.

    The checkpoint includes the record for readers of unfinished cells, such as ``mtlbench diagnose``, not for training.
    """

    def state() -> dict[str, Any]:
        record = _filled(header, training.result(), progress)
        return {**training.state_dict(), "progress": asdict(progress), "record": record}

    try:
        checkpoints.save(training.done, state)
    except (OSError, NotStorable) as error:
        note(f"no checkpoint after step {training.done}: {error}")


@contextlib.contextmanager
def _held(lease: Lease) -> Iterator[Callable[[], None]]:
    """Hold a lease while the block runs; yield a function that raises an error once the lease is lost.

    :raises LeaseLost: if another launcher has the lease.
    :raises FolderRemoved: if the lease does not exist.
    """
    losses: list[Exception] = []

    def check() -> None:
        if losses:
            raise losses[0]

    lease.enter()
    with Heartbeat(losses.append) as heartbeat:
        heartbeat.add(lease)
        yield check


def _training(cell: Cell, processes: Processes, checkpoints: Checkpoints) -> tuple[Training, CellProgress]:
    """Prepare a cell for training, from its newest checkpoint if it has one; all its processes use the same one."""
    prepare_process(cell.recipe.threads)
    registry = load_registry(cell.plugin_files)
    workload = Workload.load(
        cell.suite,
        cell.recipe,
        registry,
        data_dir=cell.data_dir,
        plugin_files=cell.plugin_files,
        trial=cell.trial,
    )
    method = registry.method(cell.method)
    if make_cells(workload, [method], [cell.seed])[0].key != cell.key:
        raise CellError("the data, the model or the method's file changed since the grid was planned: run again")
    training, progress = Training(workload, method, cell.seed, processes), CellProgress()
    state = checkpoints.newest()
    if state is not None:
        training.load_state_dict(state)
        progress = CellProgress(**state["progress"])
        progress = replace(progress, resumed=(*progress.resumed, training.done))
    processes.agree([torch.tensor([training.done], dtype=torch.int32)], "the step to go on from")
    return training, progress


def prepare_process(threads: int) -> None:
    """Make the results of this process reproducible to the last bit: fixed threads, deterministic kernels.

    :param threads: number of threads of torch.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS is not deterministic
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all memory is written before it is read


def save(record: Record, result: CellResult, store: Store, progress: CellProgress, error: Exception | None) -> Record:
    """Complete a record with the result of its cell, write it, and return it."""
    files = {"history": ("jsonl", "".join(json.dumps(row) + "\n" for row in result.history).encode())}
    record = {**_filled(record, result, progress), "seconds": round(progress.seconds, 3)}
    if error is None:
        assert result.cost is not None  # training is at its end
        record |= {
            "status": "done",
            "scores": result.scores["dev"],
            "test_scores": result.scores.get("test"),
            "cost": result.cost,
            "conflict": result.conflict,
        }
        for split, name in (("dev", "predictions"), ("test", "test_predictions")):
            if split in result.outputs:
                files[name] = ("parquet", parquet(result.outputs[split], result.labels[split]))
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


def _filled(record: Record, result: CellResult, progress: CellProgress) -> Record:
    """Return a record with the fields that are known once training has begun."""
    record = {**record, "resumed": list(progress.resumed)}
    if result.size:
        record["encoder"] = {**record["encoder"], **result.size}
        record["engine"], record["cut"], record["seen"] = result.engine, result.cut, result.seen
        record["pairing"], record["floored"] = result.pairing, count_floored(result.history)
    return record
