"""Measure one contender; runs in a process of its own and sends step times and peak memory to the parent."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import torch
import transformers.models.bert.modeling_bert  # noqa: F401  so that the fork server preloads it

from mtlbench.bench.contenders import Contender, Ours, Padded, PaddedModel, make_optimizer
from mtlbench.bench.job import WARM_UP, BenchJob
from mtlbench.contract.method import Method
from mtlbench.engine.cost import PeakMemory
from mtlbench.engine.step import NotFinite
from mtlbench.errors import UsageError
from mtlbench.execute.worker import prepare_process
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.problem import text_of
from mtlbench.text.tokens import Tokenizer

SEED = 0
ROWS = 4096
"""Training rows per task to draw batches from: tokenizing more takes time and changes nothing."""


def run_job(job: BenchJob, connection: Connection) -> None:
    """Measure one contender. Entry point of the process.

    :param connection: receives ``("step", seconds)`` for each timed step, then ``("end", peak bytes)`` or
        ``("failed", reason)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        connection.send(("end", _measure(job, connection)))
    except NotFinite as error:
        connection.send(("failed", str(error)))
    except Exception as error:  # whatever this method raises, the others are measured
        clear = isinstance(error, UsageError | RuntimeError)  # their messages need no name of an exception
        connection.send(("failed", " ".join((str(error) if clear else f"{type(error).__name__}: {error}").split())))
    connection.close()


def _measure(job: BenchJob, connection: Connection) -> int:
    prepare_process(job.recipe.threads)
    registry = load_registry(job.plugin_files)
    workload = Workload.load(job.suite, job.recipe, registry, data_dir=job.data_dir, plugin_files=job.plugin_files)
    method = None if job.method is None else registry.method(job.method)
    data = _prepare_data(workload, 1 if method is None else method.batches)
    contender = _build(workload, method, data)
    memory = PeakMemory(workload.recipe.device)
    for step in range(WARM_UP + workload.steps):
        start = time.perf_counter()
        contender.step(step)
        if workload.recipe.device != "cpu":
            torch.cuda.synchronize(workload.recipe.device)
        if step >= WARM_UP:
            connection.send(("step", time.perf_counter() - start))
    return memory.read()


def _prepare_data(workload: Workload, batches: int) -> list[TaskData]:
    """Return each task's batches, the same for every contender, drawn from a sample of the rows."""
    recipe, problem = workload.recipe, text_of(workload.problem)
    tokenizer = Tokenizer(problem.encoder, problem.files, recipe.max_length)
    return [
        TaskData.prepare(
            task,
            replace(splits, train=splits.train.sample(ROWS, "bench"), dev=splits.dev.sample(1, "bench")),
            tokenizer,
            seed=SEED,
            sizes=np.full(WARM_UP + workload.steps, recipe.batch_size),
            batches=batches,
            device=recipe.device,
        )
        for task, splits in zip(problem.tasks, problem.splits, strict=True)
    ]


def _build(workload: Workload, method: Method | None, data: list[TaskData]) -> Contender:
    recipe, problem = workload.recipe, text_of(workload.problem)
    encoder, files = problem.encoder, problem.files
    if method is None:
        torch.use_deterministic_algorithms(
            False
        )  # as usual elsewhere; methods are measured as `mtlbench run` trains them
        padded = PaddedModel(encoder, files, problem.tasks, SEED).to(recipe.device).train()
        return Padded(padded, make_optimizer(list(padded.parameters()), recipe), data)
    model = MultiTaskModel(encoder, files, problem.tasks, SEED).to(recipe.device).train()
    if encoder.frozen:
        for task_data in data:
            task_data.freeze(model.pooled)
    optimizer = make_optimizer([*model.shared, *model.heads.parameters()], recipe)
    return Ours(model, optimizer, data, method, recipe, SEED)
