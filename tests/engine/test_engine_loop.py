"""The loop engine against autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from mtlbench import get_method
from mtlbench.contract.method import Method, Reads
from mtlbench.contract.observation import Observation, Vector
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, NotFinite, Step

TASKS = 3


def task_loss(loss: Callable[[], torch.Tensor], heads: Sequence[torch.Tensor]) -> TaskLoss:
    """Return a task that has one batch only."""

    def forward(number: int) -> Forward:
        assert number == 0  # other batches are for methods that ask for them
        return Forward(loss())

    return TaskLoss(forward, heads)


class Model(nn.Module):
    """Three shared layers, the middle one the "last shared layer" of these tests, and a head for each task."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle, self.end = nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 4)
        self.heads = nn.ModuleList(nn.Linear(4, 2) for _ in range(TASKS))
        self.inputs, self.targets = torch.randn(TASKS, 16, 5), torch.randn(TASKS, 16, 2)
        self.to(dtype)
        self.inputs, self.targets = self.inputs.to(dtype), self.targets.to(dtype)

    @property
    def shared(self) -> list[nn.Parameter]:
        return [*self.first.parameters(), *self.middle.parameters(), *self.end.parameters()]

    def loss(self, task: int) -> torch.Tensor:
        features = self.end(torch.tanh(self.middle(torch.tanh(self.first(self.inputs[task])))))
        return 10.0**task * torch.mean((self.heads[task](features) - self.targets[task]) ** 2)

    def task_losses(self) -> list[TaskLoss]:
        return [
            task_loss(lambda task=task: self.loss(task), list(self.heads[task].parameters()))  # type: ignore[misc]
            for task in range(TASKS)
        ]

    def rows(self) -> torch.Tensor:
        """Return the (K, P) task gradients of the shared parameters, by autograd."""
        return torch.stack([flat(torch.autograd.grad(self.loss(task), self.shared)) for task in range(TASKS)])

    def step(self, method: Method, **options: bool) -> Step:
        engine = LoopEngine(self.shared, list(self.middle.parameters()))
        return engine.step(method, self.task_losses(), **options)

    def grads(self) -> torch.Tensor:
        return flat([grad_of(parameter) for parameter in self.shared])

    def head_gradients(self) -> list[torch.Tensor]:
        return [flat([grad_of(parameter) for parameter in head.parameters()]) for head in self.heads]


@dataclass
class Fixed(Method):
    """Weights that are neither 1 nor exact in binary."""

    name = "fixed"
    given: Any = field(default=(0.3, 1.7, 0.9))
    seen: Any = field(default=None, init=False)

    def weights(self, seen: Observation) -> Vector:
        self.seen = seen
        return np.array(self.given)


@dataclass
class FixedOfLosses(Fixed):
    """The same for a method that reads losses only."""

    name = "fixed-losses"
    reads: ClassVar[Reads] = "losses"


@dataclass
class FixedWithHeads(FixedOfLosses):
    """The same for a method that weights the heads too."""

    name = "fixed-heads"
    heads: ClassVar[Literal["plain", "weighted", "log"]] = "weighted"


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def grad_of(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def used(step: Step) -> Vector:
    assert step.weights is not None
    return step.weights


def weighted_sum(weights: Vector, rows: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(weights) @ rows


# The engine's gradients


@pytest.mark.parametrize("method", [Fixed(), FixedOfLosses(), FixedWithHeads()], ids=lambda method: method.name)
@pytest.mark.parametrize("measure", [False, True])
def test_gradients_are_those_of_autograd(method: Method, measure: bool) -> None:
    model = Model()
    step = model.step(method, measure=measure)
    assert used(step).tolist() == [0.3, 1.7, 0.9]
    assert step.losses == pytest.approx([float(model.loss(task).detach()) for task in range(TASKS)], rel=1e-14)
    torch.testing.assert_close(model.grads(), weighted_sum(used(step), model.rows()), rtol=1e-12, atol=1e-15)
    for task, actual in enumerate(model.head_gradients()):
        own = flat(torch.autograd.grad(model.loss(task), list(model.heads[task].parameters())))
        weight = used(step)[task] if method.heads == "weighted" else 1.0
        torch.testing.assert_close(actual, weight * own, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["sum", "pcgrad", "mgda", "cagrad", "gradnorm"])
def test_update_is_the_methods_weights_times_the_gradients(name: str) -> None:
    model = Model()
    step = model.step(get_method(name))
    torch.testing.assert_close(model.grads(), weighted_sum(used(step), model.rows()), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", [FixedOfLosses, FixedWithHeads])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_measuring_changes_no_bit(method: type[Method], dtype: torch.dtype) -> None:
    plain, measured = Model(dtype), Model(dtype)
    without, taken = plain.step(method()), measured.step(method(), measure=True)
    assert without.gram is None and taken.gram is not None
    assert plain.grads().numpy().tobytes() == measured.grads().numpy().tobytes()
    for one, other in zip(plain.head_gradients(), measured.head_gradients(), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()


def test_measuring_changes_no_bit_of_gradnorm() -> None:
    plain, measured = Model(torch.float32), Model(torch.float32)
    one, other = get_method("gradnorm", lr=0.2), get_method("gradnorm", lr=0.2)
    for step in range(3):
        without, taken = plain.step(one), measured.step(other, measure=True)
        assert used(without).tolist() == used(taken).tolist()
        assert (used(without).tolist() == [1.0] * TASKS) == (step == 0)
        assert plain.grads().numpy().tobytes() == measured.grads().numpy().tobytes()
        assert without.gram is None and taken.gram is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sum_and_pcgrad_without_conflict_agree_in_every_bit(dtype: torch.dtype) -> None:
    """One way adds up gradients, the other combines a buffer. Linear losses with positive slopes never conflict."""
    torch.manual_seed(1)
    slopes = torch.rand(TASKS, 50, dtype=dtype) + 0.01
    shared = [nn.Parameter(torch.zeros(20, dtype=dtype)), nn.Parameter(torch.zeros(5, 6, dtype=dtype))]

    def loss(slope: torch.Tensor) -> torch.Tensor:
        return (slope[:20] * shared[0]).sum() + (slope[20:].view(5, 6) * shared[1]).sum()

    tasks = [task_loss(lambda slope=slope: loss(slope), []) for slope in slopes]  # type: ignore[misc]
    actual = []
    for name in ("sum", "pcgrad"):
        step = LoopEngine(shared, []).step(get_method(name), tasks)
        assert used(step).tolist() == [1.0] * TASKS
        actual.append(flat([grad_of(parameter) for parameter in shared]).numpy().tobytes())
    assert actual[0] == actual[1]


def test_a_task_that_misses_a_shared_parameter_has_zeros_there() -> None:
    a, b = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0]))
    tasks = [task_loss(lambda: (a**2).sum(), []), task_loss(lambda: (3 * b).sum(), [])]
    step = LoopEngine([a, b], []).step(Fixed((0.5, 2.0)), tasks)
    assert step.gram is not None and step.gram.tolist() == [[20.0, 0.0], [0.0, 9.0]]
    assert grad_of(a).tolist() == [1.0, 2.0] and grad_of(b).tolist() == [6.0]


def test_steps_do_not_leak_into_each_other() -> None:
    model = Model()
    engine = LoopEngine(model.shared, [])
    for method in (Fixed((5.0, 5.0, 5.0)), FixedOfLosses((7.0, 7.0, 7.0)), Fixed()):
        engine.step(method, model.task_losses())
    torch.testing.assert_close(model.grads(), weighted_sum(np.array([0.3, 1.7, 0.9]), model.rows()))


# The engine's Gram matrix


def test_gram_is_that_of_all_shared_parameters_and_no_head() -> None:
    model, method = Model(), Fixed()
    step = model.step(method)
    rows = model.rows().numpy()
    assert step.gram == pytest.approx(rows @ rows.T, rel=1e-12)
    assert method.seen.gram == pytest.approx(rows @ rows.T, rel=1e-12)


@pytest.mark.parametrize("measure", [False, True])
def test_gradnorm_sees_the_columns_of_the_last_shared_layer(monkeypatch: pytest.MonkeyPatch, measure: bool) -> None:
    """The layer lies in the middle of the parameters: neither a prefix nor a suffix of the columns."""
    model, method = Model(), get_method("gradnorm")
    seen: list[Observation] = []
    original = type(method).weights

    def spy(self: Method, one: Observation) -> Vector:
        seen.append(one)
        return original(self, one)

    monkeypatch.setattr(type(method), "weights", spy)
    step = model.step(method, measure=measure)
    last = torch.stack(
        [flat(torch.autograd.grad(model.loss(task), list(model.middle.parameters()))) for task in range(TASKS)]
    ).numpy()
    rows = model.rows().numpy()
    assert seen[0].gram == pytest.approx(last @ last.T, rel=1e-12)
    assert (step.gram == pytest.approx(rows @ rows.T, rel=1e-12)) if measure else step.gram is None


def test_gradnorm_of_all_shared_parameters_sees_them_all() -> None:
    model, method = Model(), get_method("gradnorm", parameters_of="shared")
    rows = model.rows().numpy()
    assert model.step(method).gram == pytest.approx(rows @ rows.T, rel=1e-12)


def test_a_last_shared_layer_that_is_not_shared_is_refused() -> None:
    model = Model()
    with pytest.raises((ValueError, LookupError)):
        LoopEngine(model.shared, list(model.heads[0].parameters())).step(get_method("gradnorm"), model.task_losses())


# What is not finite


def broken(what: str) -> tuple[list[nn.Parameter], list[TaskLoss]]:
    """Return three tasks, of which the second has a bad loss or, at √0 · 0, a finite loss and a NaN gradient."""
    weight = nn.Parameter(torch.ones(3))
    bad = {
        "nan": lambda: (weight * torch.nan).sum(),
        "inf": lambda: (weight * torch.inf).sum(),
        "gradient": lambda: (weight * 0.0).sum().sqrt(),
    }[what]
    return [weight], [task_loss(lambda: weight.sum(), []), task_loss(bad, []), task_loss(lambda: weight.sum(), [])]


@pytest.mark.parametrize("name", ["sum", "pcgrad", "mgda", "cagrad", "gradnorm"])
@pytest.mark.parametrize("what", ["nan", "inf"])
def test_a_loss_that_is_not_finite_names_the_task(what: str, name: str) -> None:
    shared, tasks = broken(what)
    with pytest.raises(NotFinite, match=f"loss of task 1 is {what}") as caught:
        LoopEngine(shared, shared).step(get_method(name), tasks)
    assert (caught.value.task, caught.value.what) == (1, "loss")
    assert shared[0].grad is None


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("pcgrad", False),
        ("mgda", False),
        ("cagrad", False),
        ("gradnorm", False),
        ("sum", True),
        ("sum", False),
    ],
)
def test_a_gradient_that_is_not_finite_names_the_task(name: str, measure: bool) -> None:
    shared, tasks = broken("gradient")
    with pytest.raises(NotFinite, match="gradient of task 1 is nan") as caught:
        LoopEngine(shared, shared).step(get_method(name), tasks, measure=measure)
    assert (caught.value.task, caught.value.what) == (1, "gradient")
    assert shared[0].grad is None


def test_gradnorm_sees_a_bad_gradient_outside_the_last_shared_layer() -> None:
    last, before = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
    tasks = [task_loss(lambda: last.sum() + before.sum(), []), task_loss(lambda: last.sum() + before.sum().sqrt(), [])]
    with pytest.raises(NotFinite, match="gradient of task 1"):
        LoopEngine([before, last], [last]).step(get_method("gradnorm"), tasks)
