"""The training of one model, step by step; it can be stopped after any step, and go on in another process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import Vector
from mtlbench.engine.cost import PeakMemory
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.processes import Processes
from mtlbench.engine.step import NotFinite
from mtlbench.errors import CellError, OutOfMemory, UsageError, is_out_of_memory
from mtlbench.plan.cells import Workload
from mtlbench.text.batches import TaskData
from mtlbench.text.metrics import score
from mtlbench.text.model import MultiTaskModel
from mtlbench.training.engines import Inputs, make_engine
from mtlbench.training.history_rows import step_row
from mtlbench.training.outcome import Outcome, Scores
from mtlbench.training.pairing import fingerprint_pairing
from mtlbench.training.step_effect import Probe, is_probed

WARM_UP = 0.1
"""Share of the steps over which a linear schedule rises."""


class ModelTraining:
    """One model on some tasks: model, engine, optimizer and schedule, and how far they are.

    Batches and dropout masks depend on seed and step alone, and what is frozen on the encoder's files, so neither is
    part of the state.

    :param outcome: gets the hashes that prove the pairing at once, and histories and outputs as they are made.
    """

    def __init__(
        self,
        workload: Workload,
        method: Method,
        seed: int,
        data: Sequence[TaskData],
        outcome: Outcome,
        processes: Processes,
    ) -> None:
        recipe, device = workload.recipe, workload.recipe.device
        self._recipe, self._steps, self._device = recipe, workload.steps, device
        self._method, self._data, self._outcome, self._processes = method, data, outcome, processes
        model = MultiTaskModel(workload.encoder, workload.files, [one.task for one in data], seed).to(device).train()
        if workload.encoder.frozen:
            for one in data:
                one.freeze(model.pooled)
        fingerprint_pairing(model, data, seed, device, outcome)
        self.model = model
        self._inputs = Inputs(
            model, data, seed, device, precision=recipe.precision, parts=recipe.parts, processes=processes
        )
        self._engine = make_engine(model, self._inputs, recipe)
        outcome.engine = self._engine.told
        self._optimizer, self._schedule = _optimizer(model, workload, method.base_lr or recipe.lr)
        parts = range(1, recipe.evaluations + 1)
        self._evaluate_after = {round(self._steps * part / recipe.evaluations) for part in parts} - {0}
        self._memory = PeakMemory(device)
        self._peak: int | None = None
        self._done, self._elapsed, self._seconds = 0, 0.0, list[float]()
        self._scores: dict[str, Scores] = {}

    def run(self) -> Iterator[int]:
        """Train to the end, yielding the steps done after each.

        :raises CellError: when a loss or gradient stops being finite, or memory is short; it names step and task.
        """
        first = self._done
        for step in range(first, self._steps):
            self._step(step, warm=step > first)
            if step + 1 in self._evaluate_after:
                self._evaluate(step + 1)
            self._done = step + 1
            yield self._done
        for split, scores in self._scores.items():
            self._outcome.scores.setdefault(split, {}).update(scores)

    @property
    def cost(self) -> dict[str, Any]:
        """Step times and peak memory, see :func:`mtlbench.engine.cost.summarize_cost`."""
        return {"seconds": self._seconds, "peak_memory_bytes": self._peak}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on but for the method; tensors are the model's and optimizer's own."""
        scale = self._engine.scale
        return {
            "model": self._trained(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scale": None if scale is None else scale.state_dict(),
            "done": self._done,
            "elapsed": self._elapsed,
            "scores": self._scores,
            **self.cost,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned: the same bits as without a stop."""
        for name, tensor in self._trained().items():
            tensor.copy_(state["model"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._engine.scale is not None:
            self._engine.scale.load_state_dict(state["scale"])
        self._done, self._elapsed, self._scores = state["done"], state["elapsed"], state["scores"]
        self._seconds, self._peak = state["seconds"], state["peak_memory_bytes"]
        self._memory = PeakMemory(self._device)  # reading the state took memory that training does not

    def _trained(self) -> dict[str, torch.Tensor]:
        """Return the trained parameters and all buffers, by name."""
        trained = [(name, one.detach()) for name, one in self.model.named_parameters() if one.requires_grad]
        return {**dict(trained), **dict(self.model.named_buffers())}

    def _step(self, step: int, *, warm: bool) -> None:
        """Take one step and write its row.

        :param warm: whether its time counts: the first step of a process also pays for warming up.
        """
        measure = (step + 1) % self._recipe.measure_every == 0
        if measure:
            self._read_peak()  # before the first measurement, whose buffer a method may not need
        probe = None
        if is_probed(step + 1, self._steps, self._recipe.measure_every) and self.model.shared:
            probe = Probe(self.model.shared, [*self.model.shared, *self.model.heads.parameters()])
        begun = time.perf_counter()
        try:
            taken = self._engine.step(self._method, step, measure=measure)
            if not taken.skipped:
                if step < self._recipe.head_steps:
                    for shared in self.model.shared:
                        shared.grad = None  # the optimizer passes over it, decay and averages included
                self._optimizer.step()
                self._schedule.step()
                if self._method.reads_after:
                    tell_after(self._method, self._inputs.losses_after(step))
            if measure or not warm:  # the first step of a process: also after a checkpoint was loaded
                self._processes.agree([*self.model.parameters()], "the parameters")
            if step + 1 < self._steps:
                self._inputs.ahead(step + 1)
        except NotFinite as error:
            task = self._data[error.task].task.key
            raise CellError(f"step {step + 1}: {error.about(task)}", step + 1, task) from None
        except UsageError as error:  # a method's: it counts the tasks, and does not know their names
            of = ", ".join(one.task.key for one in self._data)
            raise CellError(f"step {step + 1}: {error} (tasks, in this order: {of})", step + 1) from None
        except CellError as error:
            raise CellError(f"step {step + 1}: {error}", step + 1, error.task) from error.__cause__
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"step {step + 1}", step + 1) from None
        if self._device != "cpu":
            torch.cuda.synchronize(self._device)
        spent = time.perf_counter() - begun
        self._elapsed += spent
        if warm and not measure:
            self._seconds.append(spent)
        keys = [one.task.key for one in self._data]
        row = step_row(step + 1, taken, keys, self._factors(step), spent, measure)
        if probe is not None and not taken.skipped:
            row |= self._read(probe, keys, step)
        self._outcome.history.append(row)

    def _factors(self, step: int) -> list[float]:
        """Return the factors of the tasks' losses in a step: histories have the losses without them."""
        return [float(one.weights[step]) for one in self._data]

    def _read(self, probe: Probe, keys: list[str], step: int) -> dict[str, Any]:
        def losses(step: int) -> Vector:
            return self._inputs.losses_after(step) / self._factors(step)

        following = partial(losses, step + 1) if step + 1 < self._steps else None
        try:
            return probe.read(partial(losses, step), following, keys)
        except NotFinite:  # the next step will name it, if it is more than this one's half-way
            return {}
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"step {step + 1}", step + 1) from None

    def _evaluate(self, step: int) -> None:
        """Score every task and write the row; the test split is scored after the last step alone."""
        self._read_peak()
        splits = [split for split in self._data[0].evaluated if split == "dev" or step == self._steps]
        try:
            for split in splits:
                self._scores[split] = self._scored(split, step)
        except (MemoryError, RuntimeError) as error:
            raise _as_memory(error, f"evaluation after step {step}", step) from None
        self._outcome.history.append({"step": step, "scores": self._scores["dev"], "elapsed": self._elapsed})

    def _scored(self, split: str, step: int) -> Scores:
        """Score every task on its rows of a split; keep the raw outputs. Each process computes some packs' outputs."""
        self.model.eval()
        scores: Scores = {}
        kept, labels = self._outcome.outputs.setdefault(split, {}), self._outcome.labels.setdefault(split, {})
        with torch.inference_mode():
            for head, one in zip(self.model.heads, self._data, strict=True):
                rows = one.evaluated[split].rows
                outputs = np.zeros((len(rows), one.task.outputs), dtype=np.float32)
                for number, (chosen, tokens) in enumerate(one.evaluated[split].batches()):
                    if number % self._processes.count == self._processes.rank:
                        vectors = self.model.features(Pack.of([tokens], self._device))[0]
                        outputs[chosen] = head(vectors).float().cpu().numpy()
                self._processes.add(torch.from_numpy(outputs))
                key = one.task.key
                try:
                    scores[key] = score(one.task, outputs, rows.labels)
                except CellError as error:
                    raise CellError(f"evaluation after step {step}, task {key}: {error}", step, key) from None
                kept[key], labels[key] = outputs, rows.labels
        self.model.train()
        return scores

    def _read_peak(self) -> None:
        if self._peak is None:
            self._peak = self._memory.read()


def _as_memory(error: MemoryError | RuntimeError, where: str, step: int) -> Exception:
    """Return what to raise for an error: itself, or for a lack of memory one that says what helps."""
    if is_out_of_memory(error):
        reason = str(error).strip().split("\n", 1)[0][:160] or type(error).__name__
        advice = "try engine=lean, --accumulate, or a smaller --batch-size"
        return OutOfMemory(f"{where}: out of memory ({reason}): {advice}", step)
    return error


def _optimizer(model: MultiTaskModel, workload: Workload, lr: float) -> tuple[torch.optim.Optimizer, Any]:
    recipe, steps = workload.recipe, workload.steps
    trained = [*model.shared, *model.heads.parameters()]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    rise = max(1.0, WARM_UP * steps)

    def factor(step: int) -> float:
        if recipe.lr_schedule == "constant":
            return 1.0
        return min((step + 1) / rise, (steps - step) / max(1.0, steps - rise))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
