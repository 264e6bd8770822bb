"""Every method of the catalogue in surgery: the same numbers as in the loop engine and by ``aggregate``, over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from library_cases import TASKS, Toy, fault, flat
from shared_models import build

import mtlbench
from mtlbench.contract.method import Method
from mtlbench.contract.method_output import tell_after
from mtlbench.contract.observation import FLOOR, Matrix
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, NotFinite
from mtlbench.plugins.registry import load_registry
from mtlbench.solvers.inner_products import gram_of_pieces


def _takes_three(method: Method) -> bool:
    """Krum takes more tasks than the toy has; it is one more method that reads the Gram matrix."""
    return method.joint and method.min_tasks <= TASKS


SPECS = [
    *(name for name in sorted(load_registry().methods) if _takes_three(mtlbench.get_method(name))),
    "gradnorm[parameters_of=shared]",
]
"""All methods, and one in the variant that takes another way through the surgery."""


class Batches(Toy):
    """The toy with three independent batches a step."""

    def features(self, step: int, batch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(10 * step + batch)
        result: torch.Tensor = self.trunk(torch.randn(12, 5, generator=generator, dtype=torch.float64))
        return result

    def of(self, features: torch.Tensor) -> list[torch.Tensor]:
        return [
            ((head(features)[:, 0] - target) ** 2).mean() * 3.0**task
            for task, (head, target) in enumerate(zip(self.heads, self.targets.T, strict=True))
        ]

    def rows(self, step: int, batch: int = 0) -> Matrix:
        losses = self.of(self.features(step, batch))
        return np.stack([flat(torch.autograd.grad(loss, self.shared, retain_graph=True)) for loss in losses])


def surgery_step(surgery: mtlbench.Surgery, toy: Batches, step: int) -> None:
    features = toy.features(step, 0)
    further = [toy.of(toy.features(step, batch)) for batch in range(1, surgery.method.batches)]
    surgery.loss(toy.of(features), representation=features, further=further).backward()


def engine_step(engine: LoopEngine, method: Method, toy: Batches, step: int) -> None:
    features = [toy.features(step, batch) for batch in range(method.batches)]
    losses = [toy.of(feature) for feature in features]

    def task_loss(task: int) -> TaskLoss:
        def forward(batch: int) -> Forward:
            return Forward(losses[batch][task], [features[batch]])

        return TaskLoss(forward, list(toy.heads[task].parameters()))

    engine.step(method, [task_loss(task) for task in range(TASKS)], retain_graph=True)


@pytest.mark.parametrize("spec", SPECS)
def test_three_steps_are_those_of_the_loop_engine(spec: str) -> None:
    ours, theirs = Batches(), Batches()
    surgery = mtlbench.Surgery(ours.trunk, spec, last_shared_layer=ours.trunk[2])
    method, engine = mtlbench.get_method(spec), LoopEngine(theirs.shared, list(theirs.trunk[2].parameters()))
    optimizers = [torch.optim.SGD(toy.parameters(), lr=0.02) for toy in (ours, theirs)]
    for step in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        surgery_step(surgery, ours, step)
        engine_step(engine, method, theirs, step)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-11)
        for optimizer in optimizers:
            optimizer.step()
        if method.reads_after:
            surgery.after_step(ours.of(ours.features(step, 0)))
            tell_after(method, np.array([float(loss.detach()) for loss in theirs.of(theirs.features(step, 0))]))


@pytest.mark.parametrize("spec", SPECS)
def test_three_steps_are_those_of_aggregate(spec: str) -> None:
    """Whole task gradients of autograd, combined on the side; clipping and heads by their definitions."""
    toy = Batches()
    surgery, method = mtlbench.Surgery(toy.trunk, spec, last_shared_layer=toy.trunk[2]), mtlbench.get_method(spec)
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.02)
    for step in range(3):
        features, rows = toy.features(step, 0), toy.rows(step)
        losses = [float(loss.detach()) for loss in toy.of(features)]
        given: dict[str, Any] = {"losses": losses}
        used = None
        if method.gram_of == "shared":
            if method.batches > 1:
                given["further"] = (toy.rows(step, 1), toy.rows(step, 2))
            expected = mtlbench.aggregate(method, rows, **given)
        else:
            layer = list(toy.trunk[2].parameters())
            inner = [features] if method.gram_of == "representation" else layer
            partial = [torch.autograd.grad(loss, inner, retain_graph=True) for loss in toy.of(features)]
            gram = gram_of_pieces([list(zip(inner, row, strict=True)) for row in partial])
            used = mtlbench.weights(method, gram, losses=losses)
            expected = used @ rows
        if method.clip_norm is not None:
            expected = expected * min(1.0, method.clip_norm / np.linalg.norm(expected))
        optimizer.zero_grad()
        surgery_step(surgery, toy, step)
        assert toy.update() == pytest.approx(expected, rel=1e-8, abs=1e-11)
        assert used is None or surgery.weights == pytest.approx(used, rel=1e-9)
        for task, loss in enumerate(toy.of(toy.features(step, 0))):
            gradient = flat(torch.autograd.grad(loss, list(toy.heads[task].parameters())))
            weight = 1.0 if surgery.weights is None else surgery.weights[task]
            factor = {"plain": 1.0, "weighted": weight, "log": 1.0 / max(losses[task], FLOOR)}[method.heads]
            assert toy.head_update(task) == pytest.approx(factor * gradient, rel=1e-10, abs=1e-13)
        optimizer.step()
        if method.reads_after:
            after = toy.of(toy.features(step, 0))
            surgery.after_step(after)
            tell_after(method, np.array([float(loss.detach()) for loss in after]))


# Cheaper ways


@pytest.mark.parametrize("name", ["bert", "batch_norm", "lstm", "tied_layers", "sparse_table"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_gram_of_the_representation(name: str, skip: bool) -> None:
    model = build(name)
    plain = model.copy()

    def step(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = model.trunk(*model.inputs)
        return features, [(h(features)[:, 0] - 1.0).square().mean() * 3.0**t for t, h in enumerate(model.heads)]

    features, losses = step(plain)
    pieces = [torch.autograd.grad(loss, features, retain_graph=True)[0].flatten() for loss in losses]
    rows = torch.stack(pieces)
    expected = mtlbench.weights("mgda", (rows @ rows.T).numpy())
    starts = [torch.tensor(weight, dtype=torch.float64) for weight in expected]
    torch.autograd.backward(losses, starts)
    with mtlbench.Surgery(model.trunk, "mgda", gram_of="representation", skip_zero_rows=skip) as surgery:
        features, losses = step(model)
        surgery.loss(losses, representation=features).backward()
    assert surgery.weights == pytest.approx(expected, rel=1e-9, abs=1e-11)
    assert surgery.rows is None  # no row of P numbers was made
    for (key, one), other in zip(model.trunk.named_parameters(), plain.trunk.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), key
        if one.grad is not None and other.grad is not None:
            torch.testing.assert_close(one.grad.to_dense(), other.grad.to_dense(), rtol=1e-8, atol=1e-12)
    for head, other_head, weight in zip(model.heads, plain.heads, expected, strict=True):
        assert head.weight.grad is not None and other_head.weight.grad is not None
        torch.testing.assert_close(head.weight.grad * weight, other_head.weight.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("separate", [False, True])
def test_gram_of_the_last_shared_layer(separate: bool) -> None:
    toy = Batches()
    rows = toy.rows(0)
    layer = list(toy.trunk[2].parameters())
    parts = [torch.autograd.grad(loss, layer, retain_graph=True) for loss in toy.of(toy.features(0, 0))]
    last = np.stack([flat(part) for part in parts])
    surgery = mtlbench.Surgery(toy.trunk, "mgda", gram_of="last_shared_layer", last_shared_layer=toy.trunk[2])
    losses = [toy.of(toy.features(0, 0))[task] for task in range(TASKS)] if separate else toy.of(toy.features(0, 0))
    surgery.loss(losses).backward()
    expected = mtlbench.weights("mgda", last @ last.T)
    assert surgery.weights == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert toy.update() == pytest.approx(expected @ rows, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spec", ["mgda", "cagrad", "imtl-g", "gradnorm"])
def test_weights_renewed_at_every_third_step(spec: str) -> None:
    toy, method = Batches(), mtlbench.get_method(spec)
    surgery = mtlbench.Surgery(toy.trunk, spec, renew_every=3, last_shared_layer=toy.trunk[2])
    weights = np.ones(TASKS)
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.02)
    for step in range(7):
        losses = [float(loss.detach()) for loss in toy.of(toy.features(step, 0))]
        rows = toy.rows(step)
        if step % 3 == 0:
            part = rows[:, -28:] if spec == "gradnorm" else rows
            weights = mtlbench.weights(method, part @ part.T, losses=losses)
        optimizer.zero_grad()
        surgery_step(surgery, toy, step)
        assert surgery.weights == pytest.approx(weights, rel=1e-8)
        assert toy.update() == pytest.approx(weights @ rows, rel=1e-8, abs=1e-11)
        for task, loss in enumerate(toy.of(toy.features(step, 0))):
            gradient = flat(torch.autograd.grad(loss, list(toy.heads[task].parameters())))
            factor = weights[task] if spec == "gradnorm" else 1.0
            assert toy.head_update(task) == pytest.approx(factor * gradient, rel=1e-8, abs=1e-12)
        optimizer.step()


@pytest.mark.parametrize("spec", ["mgda", "cagrad", "graddrop", "db-mtl", "fixed[w=1:2:3]", "imtl-l", "fairgrad"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_micro_batches_are_the_joined_batch(spec: str, skip: bool) -> None:
    whole, parts = Toy(), Toy()
    batch = torch.arange(12.0, dtype=torch.float64).sin()[:, None] + whole.inputs

    def losses(toy: Toy, rows: slice) -> list[torch.Tensor]:
        toy_inputs, targets = batch[rows], whole.targets[rows]
        features = toy.trunk(toy_inputs)
        return [(h(features)[:, 0] - y).square().mean() for h, y in zip(toy.heads, targets.T, strict=True)]

    one = mtlbench.Surgery(whole.trunk, spec)
    with mtlbench.Surgery(parts.trunk, spec, accumulate=4, skip_zero_rows=skip) as other:
        for _ in range(2):
            for toy in (whole, parts):
                toy.zero_grad()
            one.loss(losses(whole, slice(None))).backward()
            for micro in range(4):
                (other.loss(losses(parts, slice(3 * micro, 3 * micro + 3))) / 4).backward()
            for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
                assert a.grad is not None and b.grad is not None
                torch.testing.assert_close(b.grad, a.grad, rtol=1e-9, atol=1e-12)


def test_micro_batches_with_other_tasks_are_refused() -> None:
    toy = Toy()
    surgery = mtlbench.Surgery(toy.trunk, "mgda", accumulate=2)
    for absent in ((2, 1), (2, None), (None, 0)):
        for micro, task in enumerate(absent):
            losses = [loss if number != task else None for number, loss in enumerate(toy.losses())]
            if micro == 0:
                surgery.loss(losses).backward()
                continue
            message = fault(surgery.loss, losses)
            assert message.startswith("micro-batch 2 of 2 has other tasks")


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_an_error_begins_the_optimizer_step_anew(skip: bool) -> None:
    toy, other = Toy(), Toy()
    mtlbench.Surgery(other.trunk, "mgda").loss(other.losses()).backward()
    with mtlbench.Surgery(toy.trunk, "mgda", accumulate=3, skip_zero_rows=skip) as surgery:
        surgery.loss([loss * 7.0 for loss in toy.losses()])
        with pytest.raises(NotFinite):
            surgery.loss([*toy.losses()[:2], toy.losses()[2] * torch.nan])
        for _ in range(3):
            (surgery.loss(toy.losses()) / 3).backward()
    assert toy.update() == pytest.approx(other.update(), rel=1e-10, abs=1e-13)


def test_freezing_between_micro_batches_is_refused() -> None:
    toy = Toy()
    surgery = mtlbench.Surgery(toy.trunk, "mgda", accumulate=2)
    surgery.loss(toy.losses()).backward()
    toy.trunk[0].weight.requires_grad_(False)
    message = fault(surgery.loss, toy.losses())
    assert message.startswith("micro-batch 2 of 2 has other tasks, or other shared parameters")
    for _ in range(2):
        surgery.loss(toy.losses()).backward()
    assert toy.trunk[0].weight.grad is None and toy.trunk[0].bias.grad is not None
