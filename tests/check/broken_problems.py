"""Problems that each break one promise, for the tests of ``mtlbench check``: its plugin file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mtlbench import Data, Examples, Method, Observation, Problem, Target, UsageError, Vector


class Net(nn.Module):
    """A trunk and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
        self.drop = nn.Dropout(0.2)
        self.heads = nn.ModuleDict({"sign": nn.Linear(5, 2), "size": nn.Linear(5, 1)})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.drop(self.trunk(x))
        return {name: head(features) for name, head in self.heads.items()}


@dataclass
class Sound(Problem):
    """Nothing is wrong with it."""

    name = "sound"

    def targets(self) -> Sequence[Target]:
        return [Target("sign", "classification", outputs=2), Target("size", "regression")]

    def load(self, data_dir: Path | None) -> Data:
        x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
        examples = Examples(x, {"sign": (x[:, 0] > 0).astype(int), "size": x.sum(axis=1)})
        return Data(examples, Examples(x[:40], {task: labels[:40] for task, labels in examples.labels.items()}))

    def model(self, targets: Sequence[Target]) -> nn.Module:
        return Net()


@dataclass
class ApartSound(Sound):
    """Nothing is wrong with it, either: a batch a task, a task without some labels, a part without use."""

    name = "apart-sound"
    separate = True

    def load(self, data_dir: Path | None) -> Data:
        data = super().load(data_dir)
        sizes = data.train.labels["size"].copy()
        sizes[::3] = np.nan
        return Data(Examples(data.train.inputs, {**data.train.labels, "size": sizes}), data.dev)

    def model(self, targets: Sequence[Target]) -> nn.Module:
        net = Net()
        net.spare, net.fixed = nn.Linear(2, 2), nn.Linear(1, 1).requires_grad_(False)
        return net


@dataclass
class Normed(Sound):
    """Nothing is wrong with it, either: running statistics, and a double precision model."""

    name = "normed"

    def model(self, targets: Sequence[Target]) -> nn.Module:
        net = Net()
        net.trunk = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh())
        return net.double()

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        return model(inputs.double())


@dataclass
class Alone(Sound):
    """Nothing is wrong with it, either: one task."""

    name = "alone"

    def targets(self) -> Sequence[Target]:
        return super().targets()[:1]


@dataclass
class Demanding(Method):
    """A method that nobody can make without its parameter."""

    name = "demanding"
    source = "none"

    share: float

    def weights(self, observation: Observation) -> Vector:
        return np.full(observation.tasks, self.share)


@dataclass
class OtherRows(Sound):
    """Its rows are drawn anew."""

    name = "other-rows"

    def load(self, data_dir: Path | None) -> Data:
        data = super().load(data_dir)
        return Data(Examples(np.random.random((80, 3)).astype(np.float32), data.train.labels), data.dev)


@dataclass
class WeightsOfSeed(Sound):
    """Its models have the same weights for every seed."""

    name = "weights-of-one-seed"

    def model(self, targets: Sequence[Target]) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return Net()


@dataclass
class Rare(Sound):
    """One row in ten has a label of a task: enough for the first batches, not for all."""

    name = "rare"
    recipe = {"steps": 400, "batch_size": 30, "lr": 0.01}

    def load(self, data_dir: Path | None) -> Data:
        data = super().load(data_dir)
        sizes = np.where(np.arange(80) % 10 == 0, data.train.labels["size"], np.nan)
        return Data(Examples(data.train.inputs, {**data.train.labels, "size": sizes}), data.dev)


@dataclass
class Leaking(Sound):
    """A head reads the other task's head, behind the back of the gradients."""

    name = "leaking"

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        outputs = model(inputs)
        return {**outputs, "size": outputs["size"] + outputs["sign"].detach()[:, :1]}


@dataclass
class Counting(Sound):
    """Its loss depends on how often it was called: a state that no checkpoint has."""

    name = "counting"

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return super().loss(target, outputs, labels) * (1 + 0.01 * self.calls)


def unseeded(inputs: torch.Tensor) -> torch.Tensor:
    """Noise that is another one every time."""
    return torch.from_numpy(np.random.default_rng().normal(size=inputs.shape).astype(np.float32))


@dataclass
class OwnGenerator(Sound):
    """Its noise is of a generator that nobody seeds."""

    name = "own-generator"

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        return model(inputs + (unseeded(inputs) if model.training else 0.0))


class AskedNet(Net):
    """Each head has dropout of its own."""

    def of(self, x: torch.Tensor, tasks: Sequence[str]) -> dict[str, torch.Tensor]:
        features = self.trunk(x)
        return {name: self.heads[name](self.drop(features)) for name in tasks}


@dataclass
class OnlyAsked(Sound):
    """Nothing is wrong with it, either: it computes and draws only what it is asked for."""

    name = "only-asked"

    def model(self, targets: Sequence[Target]) -> nn.Module:
        return AskedNet()

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        return model.of(inputs, tasks)


@dataclass
class RunningEvaluation(Sound):
    """Its model changes in evaluation mode."""

    name = "running-evaluation"

    def model(self, targets: Sequence[Target]) -> nn.Module:
        net = Net()
        net.register_buffer("seen", torch.zeros(()))
        return net

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        if not model.training:
            model.seen += 1
        return model(inputs)


@dataclass
class NoisyEvaluation(Sound):
    """Its outputs are noisy in evaluation mode."""

    name = "noisy-evaluation"

    def outputs(self, model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        return model(inputs + (0.0 if model.training else unseeded(inputs)))


@dataclass
class Writing(Sound):
    """It standardises a batch in place, in the rows themselves, once."""

    name = "writing"

    def load(self, data_dir: Path | None) -> Data:
        self.rows = super().load(data_dir)
        return self.rows

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.rows.train.inputs[0, 0] = 0.0
        return super().loss(target, outputs, labels)


@dataclass
class Unfinished(Sound):
    """A hook is not written."""

    name = "unfinished"

    def model(self, targets: Sequence[Target]) -> nn.Module:
        raise NotImplementedError


@dataclass
class Needy(Sound):
    """It reads a file."""

    name = "needy"

    def load(self, data_dir: Path | None) -> Data:
        assert data_dir is None or data_dir.is_dir()
        np.load(data_dir / "x.npy")  # type: ignore[operator]  # an author who forgets that there may be no folder
        return super().load(data_dir)


@dataclass
class Polite(Sound):
    """It says which file is missing."""

    name = "polite"

    def load(self, data_dir: Path | None) -> Data:
        raise UsageError("problem polite: x.npy is missing; give --data-dir FOLDER")
