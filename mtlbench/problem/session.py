"""One model of a problem in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.entries import EncoderEntry, EngineEntry, PairingEntry, Scores
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.contract.problem import Target
from mtlbench.engine.packed.checks import all_finite
from mtlbench.engine.processes import Processes
from mtlbench.engine.scaling import LossScale
from mtlbench.engine.step import Step
from mtlbench.problem.batch import Batch, TrainingRows
from mtlbench.problem.engine import SurgeryEngine
from mtlbench.problem.evaluation import Unit, evaluate
from mtlbench.problem.forwards import Forward, Inputs, kept_buffers
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.interface import Labels, Outputs
from mtlbench.problem.splits import Split
from mtlbench.problem.structure import Structure
from mtlbench.problem.weights import state_fingerprint
from mtlbench.recipe.suite import Recipe

Schedules = Sequence[Sequence[Sequence[NDArray[np.int64]]]]


class ProblemSession:
    """A new model with its batches, engine and evaluation; see :class:`mtlbench.problem.interface.Session`.

    The model is that of all chosen tasks, also where it trains on one of them: the single-task baseline has the same
    initial weights, the same batches of rows (where tasks share batches) and the same random numbers in forward passes
    as the model of all tasks. Running statistics, such as BatchNorm's, change in the one forward pass of a step (one
    for each task where the problem is ``separate``), and in no other.

    :param hooks: the author's code.
    :param splits: the rows by split.
    :param units: by task, the unit of its labels.
    :param structure: the model's parts.
    :param recipe: the recipe, with steps.
    :param positions: positions of the tasks to train on.
    :param schedules: for each batch of a step and each group of tasks, the numbers of its rows by step.
    :param weights: for each of these tasks, (steps,) factors of its loss.
    :param schedule: by task, the hash of its schedule.
    :param seed: the cell's seed.
    :param processes: the processes that train the model together.
    """

    def __init__(
        self,
        hooks: Hooks,
        splits: Mapping[str, Split],
        units: Mapping[str, Unit],
        structure: Structure,
        recipe: Recipe,
        positions: Sequence[int],
        schedules: Schedules,
        weights: Sequence[NDArray[np.float64]],
        schedule: Mapping[str, str],
        seed: int,
        processes: Processes,
    ) -> None:
        self._hooks, self._splits, self._units, self._processes = hooks, splits, units, processes
        self._targets = [hooks.targets[position] for position in positions]
        self._device = torch.device(recipe.device)
        self.model = hooks.model(seed, self._device)
        self.tasks: Sequence[str] = [target.name for target in self._targets]
        self.splits: Sequence[str] = [name for name in ("dev", "test") if name in splits]
        named = dict(self.model.named_parameters())
        shared = {name: named[name] for name in structure.shared}
        others = {
            name for position in set(range(len(hooks.targets))) - set(positions) for name in structure.heads[position]
        }
        trained = {name: p for name, p in named.items() if p.requires_grad and name not in others}
        self.shared: Sequence[torch.Tensor] = list(shared.values())
        self.heads: Sequence[torch.Tensor] = [p for name, p in trained.items() if name not in shared]
        self.size: EncoderEntry = {"parameters": structure.parameters, "trainable": structure.trainable}
        self.engine: EngineEntry = {"name": "surgery", "reason": None}
        self._parts = list(processes.own(recipe.parts))
        rows = {
            target.name: units[target.name].targets(target, splits["train"].labels[target.name]).to(self._device)
            for target in self._targets
        }
        self._inputs = Inputs(
            self.model,
            TrainingRows(hooks, splits["train"], rows),
            self._targets,
            schedules,
            weights,
            seed,
            precision=recipe.precision,
            parts=recipe.parts,
            representation=hooks.representation(self.model),
        )
        self._scale = LossScale() if recipe.precision == "float16" else None
        self._steps = SurgeryEngine(
            shared,
            [*self.shared, *self.heads],
            self.tasks,
            [named[name] for name in structure.last],
            match_sum=recipe.update_norm == "sum",
            scale=self._scale,
            parts=self._parts,
            processes=processes,
        )
        self.pairing: PairingEntry = self._fingerprints(structure, positions, schedule)

    @property
    def scale(self) -> LossScale | None:
        """The loss scale in float16, else ``None``."""
        return self._scale

    def step(self, method: Method, step: int, *, measure: bool) -> Step:
        """Fill ``.grad`` of every trained parameter for one step.

        :param method: the method that weighs the task gradients.
        :param step: the step, from 0.
        :param measure: whether to return the Gram matrix.
        :returns: losses, weights and measurements.
        :raises NotFinite: when a loss or gradient is NaN or infinite.
        """

        def run(number: int, part: int) -> Forward:
            if number == 0:
                return self._inputs.forward(step, number, part)
            with kept_buffers(self.model):
                return self._inputs.forward(step, number, part)

        return self._steps.step(method, run, measure=measure)

    def batches(self, step: int) -> list[tuple[Sequence[Target], Batch]]:
        """Return the batches of a step's update, each with its tasks: one for all, or one for each.

        :param step: the step, from 0.
        """
        return self._inputs.batches(step)

    def ahead(self, step: int) -> None:
        """Prepare the batches of the next step.

        :param step: the next step, from 0.
        """
        self._inputs.ahead(step, self._parts)

    def losses_after(self, step: int) -> Vector:
        """Return (K,) losses of a step's own batches, with its random numbers, at the current parameters.

        :param step: the step, from 0.
        :raises NotFinite: when a loss is NaN or infinite.
        """
        losses = np.zeros(len(self.tasks))
        with kept_buffers(self.model), torch.enable_grad():  # without a graph, torch may pick kernels with other masks
            for part in self._parts:
                found = self._inputs.forward(step, 0, part).losses
                losses += torch.stack([loss.detach().double() for loss in found]).cpu().numpy()
        losses = self._processes.total(losses) / self._inputs.parts
        all_finite(losses, "loss after the step")
        return losses

    def factors(self, step: int) -> list[float]:
        """Return the factors of the tasks' losses in a step; they are 1 unless the recipe samples unequally.

        :param step: the step, from 0.
        """
        return self._inputs.factors(step)

    def evaluate(self, split: str, step: int) -> tuple[Scores, Outputs, Labels]:
        """Score the model on every task's rows of a split.

        :param split: ``"dev"`` or ``"test"``.
        :param step: optimizer steps done, for error messages.
        :raises CellError: when a metric is not defined for the outputs; it names step and task.
        """
        return evaluate(
            self._hooks,
            self.model,
            self._targets,
            self._splits[split],
            self._units,
            name=split,
            step=step,
            device=self._device,
            processes=self._processes,
        )

    def _fingerprints(
        self, structure: Structure, positions: Sequence[int], schedule: Mapping[str, str]
    ) -> PairingEntry:
        named = dict(self.model.named_parameters())
        heads = {
            name: state_fingerprint([named[parameter] for parameter in structure.heads[position]])
            for name, position in zip(self.tasks, positions, strict=True)
        }
        all_heads = {parameter for group in structure.heads for parameter in group}
        rest = [parameter for name, parameter in named.items() if name not in all_heads]
        with kept_buffers(self.model), torch.no_grad():
            outputs = self._inputs.forward(0, 0, self._parts[0]).outputs
        dropout = {name: state_fingerprint([output]) for name, output in zip(self.tasks, outputs, strict=True)}
        return {
            "heads": heads,
            "schedule": dict(schedule),
            "dropout": dropout,
            "shared": state_fingerprint([*rest, *self.model.buffers()]),
        }
