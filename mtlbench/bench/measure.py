"""Measure one contender; runs in a process of its own and sends step times and peak memory to the parent."""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import Connection

import torch

from mtlbench.bench.contenders import text_contender
from mtlbench.bench.job import WARM_UP, BenchJob
from mtlbench.bench.problem_contenders import problem_contender
from mtlbench.engine.cost import PeakMemory
from mtlbench.engine.step import NotFinite
from mtlbench.errors import UsageError
from mtlbench.execute.worker import prepare_process
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.text.problem import TextProblem

SEED = 0


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
    build = text_contender if isinstance(workload.problem, TextProblem) else problem_contender
    if method is None:  # as usual elsewhere; methods are measured as `mtlbench run` trains them
        torch.use_deterministic_algorithms(False)
    contender = build(workload, method, WARM_UP + workload.steps, SEED)
    memory = PeakMemory(workload.recipe.device)
    for step in range(WARM_UP + workload.steps):
        start = time.perf_counter()
        contender.step(step)
        if workload.recipe.device != "cpu":
            torch.cuda.synchronize(workload.recipe.device)
        if step >= WARM_UP:
            connection.send(("step", time.perf_counter() - start))
    return memory.read()
