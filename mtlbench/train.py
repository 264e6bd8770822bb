"""One cell → its outcome: trains one shared model, or one model per task for the single-task baseline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.cost import PeakMemory, summarize_cost
from mtlbench.data import TaskData
from mtlbench.engines import Inputs, make_engine
from mtlbench.errors import CellError, UsageError
from mtlbench.gradients.step import NotFinite
from mtlbench.history import merged, step_row
from mtlbench.method import Method
from mtlbench.metrics import score
from mtlbench.model import MultiTaskModel, state_fingerprint
from mtlbench.packed.pack import Pack
from mtlbench.plan import Workload
from mtlbench.processes import ALONE, Processes
from mtlbench.tokens import Tokenizer

Scores = dict[str, dict[str, float]]
Listener = Callable[[int, int], None]
"""Called after every optimizer step with the steps done and the steps in all."""

WARM_UP = 0.1
"""Share of the steps over which a linear schedule rises."""


@dataclass
class Outcome:
    """What training left behind.

    :param history: one object per step and per evaluation, in order.
    :param outputs: task → (N, outputs) raw head outputs on the development rows after the last step.
    :param labels: task → (N,) labels of these rows.
    :param engine: the engine's name, and why it is not the packed one.
    :param cut: task → to how many tokens, and how many rows of each split were longer and were cut.
    """

    scores: Scores = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)
    pairing: dict[str, Any] = field(default_factory=lambda: {"heads": {}, "schedule": {}, "dropout": {}})
    cost: dict[str, float | int | None] = field(default_factory=dict)
    conflict: dict[str, float] | None = None
    size: dict[str, int] = field(default_factory=dict)
    engine: dict[str, str | None] = field(default_factory=dict)
    cut: dict[str, dict[str, int]] = field(default_factory=dict)


def train(
    workload: Workload,
    method: Method,
    seed: int,
    outcome: Outcome,
    listener: Listener,
    processes: Processes = ALONE,
) -> None:
    """Train a method on a workload, filling ``outcome`` as it goes: what a failed cell got to is kept.

    :param processes: those that train this cell together; each calls this, and each gets the same outcome.

    :raises CellError: when a loss or gradient stops being finite; it names step and task.
    """
    recipe = workload.recipe
    tokenizer = Tokenizer(workload.encoder, workload.files, recipe.max_length)
    data = [
        TaskData.prepare(
            task,
            splits,
            tokenizer,
            seed=seed,
            batch_size=recipe.batch_size,
            steps=workload.steps,
            batches=method.batches,
            device=recipe.device,
        )
        for task, splits in zip(workload.tasks, workload.splits, strict=True)
    ]
    outcome.cut = {
        one.task.key: {"tokens": tokenizer.max_length, "train": one.train_tokens.cut, "dev": one.dev_tokens.cut}
        for one in data
    }
    method.reseed(seed)
    groups = [data] if method.joint else [[one] for one in data]
    costs = []
    for number, group in enumerate(groups):

        def heard(done: int, before: int = number * workload.steps) -> None:
            listener(before + done, len(groups) * workload.steps)

        costs.append(_train_model(workload, method, seed, group, outcome, heard, processes))
    outcome.cost = summarize_cost(costs)
    if not method.joint:
        outcome.history = merged(outcome.history)
    found = [value for row in outcome.history for value in row.get("cosines", {}).values() if value is not None]
    if found:
        outcome.conflict = {"share": float(np.mean(np.array(found) < 0.0)), "mean_cosine": float(np.mean(found))}


def _train_model(
    workload: Workload,
    method: Method,
    seed: int,
    data: Sequence[TaskData],
    outcome: Outcome,
    listener: Callable[[int], None],
    processes: Processes,
) -> dict[str, Any]:
    """Train one model on some tasks; return its step times and peak memory."""
    recipe, steps, device = workload.recipe, workload.steps, workload.recipe.device
    model = MultiTaskModel(workload.encoder, workload.files, [one.task for one in data], seed).to(device).train()
    if workload.encoder.frozen:
        for one in data:
            one.freeze(model.pooled)
    _fingerprint_pairing(model, data, seed, device, outcome)
    inputs = Inputs(model, data, seed, device, precision=recipe.precision, parts=recipe.parts, processes=processes)
    engine = make_engine(model, inputs, recipe)
    outcome.engine = engine.told
    optimizer, schedule = _optimizer(model, workload)
    evaluate_after = {round(steps * part / recipe.evaluations) for part in range(1, recipe.evaluations + 1)} - {0}
    memory, peak, seconds, elapsed = PeakMemory(device), None, [], 0.0
    scores: Scores = {}
    for step in range(steps):
        measure = (step + 1) % recipe.measure_every == 0
        if measure and peak is None:
            peak = memory.read()  # before the first measurement, whose buffer a method may not need
        begun = time.perf_counter()
        try:
            taken = engine.step(method, step, measure=measure)
            if not taken.skipped:
                optimizer.step()
                schedule.step()
                if method.reads_after:
                    method.after_step(inputs.losses_after(step))
            if measure or step == 0:
                processes.agree([*model.parameters()], "the parameters")
            if step + 1 < steps:
                inputs.ahead(step + 1)
        except NotFinite as error:
            task = data[error.task].task.key
            raise CellError(f"step {step + 1}: {error.about(task)}", step + 1, task) from None
        except (CellError, UsageError) as error:
            raise CellError(f"step {step + 1}: {error}", step + 1) from None
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"step {step + 1}", step + 1) from None
        if device != "cpu":
            torch.cuda.synchronize(device)
        spent = time.perf_counter() - begun
        elapsed += spent
        if not measure and step > 0:  # the first step also pays for warming up
            seconds.append(spent)
        outcome.history.append(step_row(step + 1, taken, [one.task.key for one in data], spent, measure))
        if step + 1 in evaluate_after:
            if peak is None:
                peak = memory.read()
            try:
                scores = _evaluate(model, data, step + 1, device, outcome, processes)
            except (MemoryError, RuntimeError) as error:
                raise _as_memory(error, f"evaluation after step {step + 1}", step + 1) from None
            outcome.history.append({"step": step + 1, "scores": scores, "elapsed": elapsed})
        listener(step + 1)
    outcome.scores.update(scores)
    return {"seconds": seconds, "peak_memory_bytes": peak}


def _as_memory(error: MemoryError | RuntimeError, where: str, step: int) -> Exception:
    """Return what to raise for an error: itself, or for a lack of memory one that says what helps."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "you tried to allocate" in str(error):
        reason = str(error).strip().split("\n", 1)[0][:160] or type(error).__name__
        advice = "try engine=lean, --accumulate, or a smaller --batch-size"
        return CellError(f"{where}: out of memory ({reason}): {advice}", step)
    return error


def _fingerprint_pairing(
    model: MultiTaskModel, data: Sequence[TaskData], seed: int, device: str, outcome: Outcome
) -> None:
    """Record hashes of what must be equal between methods: initial weights, schedules, and a dropout probe."""
    outcome.pairing["shared"] = state_fingerprint([*model.encoder.parameters(), *model.last_shared_layer])
    outcome.size = {
        "parameters": sum(parameter.numel() for parameter in [*model.encoder.parameters(), *model.last_shared_layer]),
        "trainable": sum(parameter.numel() for parameter in model.shared),
    }
    inputs = Inputs(model, data, seed, device)
    for index, one in enumerate(data):
        key = one.task.key
        outcome.pairing["heads"][key] = state_fingerprint(model.heads[index].parameters())
        outcome.pairing["schedule"][key] = one.schedule_fingerprint
        with torch.no_grad():
            outcome.pairing["dropout"][key] = state_fingerprint(inputs.forward(0, 0, [index])[0].representation)


def _optimizer(model: MultiTaskModel, workload: Workload) -> tuple[torch.optim.Optimizer, Any]:
    recipe, steps = workload.recipe, workload.steps
    trained = [*model.shared, *model.heads.parameters()]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    rise = max(1.0, WARM_UP * steps)

    def factor(step: int) -> float:
        if recipe.lr_schedule == "constant":
            return 1.0
        return min((step + 1) / rise, (steps - step) / max(1.0, steps - rise))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _evaluate(
    model: MultiTaskModel, data: Sequence[TaskData], step: int, device: str, outcome: Outcome, processes: Processes
) -> Scores:
    """Score every task on its development rows; keep the raw outputs. Each process computes some packs' outputs."""
    model.eval()
    scores: Scores = {}
    with torch.inference_mode():
        for head, one in zip(model.heads, data, strict=True):
            outputs = np.zeros((len(one.dev), one.task.outputs), dtype=np.float32)
            for number, (chosen, tokens) in enumerate(one.dev_batches()):
                if number % processes.count == processes.rank:
                    outputs[chosen] = head(model.features(Pack.of([tokens], device))[0]).float().cpu().numpy()
            processes.add(torch.from_numpy(outputs))
            key = one.task.key
            try:
                scores[key] = score(one.task.prediction, outputs, one.dev.labels)
            except CellError as error:
                raise CellError(f"evaluation after step {step}, task {key}: {error}", step, key) from None
            outcome.outputs[key], outcome.labels[key] = outputs, one.dev.labels
    model.train()
    return scores
