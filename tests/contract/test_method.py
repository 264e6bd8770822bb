"""A method's declarations at work in the engine: what it reads, what it returns, heads, clipping and scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_model import (
    ALL,
    BOTH,
    SIZE,
    TASKS,
    WEIGHTS,
    Linear,
    LogHeads,
    Median,
    ReadsGradients,
    ReadsGram,
    ReadsRepresentation,
    ReadsTwoBatches,
    Recorder,
    gradient_of,
)
from torch import nn

from mtlbench import Method, get_method
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import UsageError

# Whole gradients, and updates


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_method_sees_the_gradients_in_their_own_precision(dtype: torch.dtype, measure: bool) -> None:
    model, method = Linear(dtype), ReadsGradients()
    step = model.step(method, measure=measure)
    assert method.observed.dtype == dtype and torch.equal(method.observed, model.rows)
    assert step.weights is not None and step.weights.tolist() == WEIGHTS.tolist()
    torch.testing.assert_close(model.update(), torch.from_numpy(WEIGHTS).to(dtype) @ model.rows)


@BOTH
def test_an_update_becomes_the_gradient_and_has_no_weights(measure: bool) -> None:
    model = Linear()
    step = model.step(Median(), measure=measure)
    assert step.weights is None and step.factor == 1.0
    assert (step.gram is not None) == measure
    assert torch.equal(model.update(), model.rows.median(dim=0).values)
    assert [gradient_of(head).tolist() for head in model.heads] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


# Two more batches


@BOTH
def test_products_are_those_of_batches_1_and_2_and_the_update_is_of_batch_0(measure: bool) -> None:
    model, method = Linear(), ReadsTwoBatches()
    step = model.step(method, measure=measure)
    by_hand = [[float(first @ second) for second in model.slopes[2]] for first in model.slopes[1]]
    assert method.observed.cross_gram == pytest.approx(np.array(by_hand), rel=1e-12)
    torch.testing.assert_close(model.update(), torch.from_numpy(WEIGHTS) @ model.slopes[0])
    assert sorted(model.calls) == sorted((task, batch) for task in range(TASKS) for batch in (0, 1, 2))
    if measure:
        assert step.gram == pytest.approx((model.rows @ model.rows.T).numpy(), rel=1e-12)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_a_bad_gradient_of_any_batch_names_the_task(batch: int) -> None:
    model = Linear()
    model.slopes[batch, 1, 4] = torch.inf
    with pytest.raises(NotFinite, match="task 1"):
        model.step(ReadsTwoBatches())


# The representation


class Encoded:
    """z = Aθ (one for all tasks, or one per task) and the losses ⟨cᵢ, z⟩, so ∂Lᵢ/∂z = cᵢ and gᵢ = Aᵀcᵢ."""

    def __init__(self, together: bool) -> None:
        draw = torch.Generator().manual_seed(1)
        self.matrix = torch.randn(4, 6, generator=draw, dtype=torch.float64)
        self.slopes = torch.randn(TASKS, 4, generator=draw, dtype=torch.float64)
        self.theta = nn.Parameter(torch.zeros(6, dtype=torch.float64))
        self.together = together
        self.engine = LoopEngine([self.theta], [])

    def step(self, method: Method, *, measure: bool = False, representation: bool = True) -> Step:
        shared = self.matrix @ self.theta

        def forward(task: int) -> Forward:
            z = shared if self.together else self.matrix @ self.theta
            return Forward(self.slopes[task] @ z, [z] if representation else [])

        tasks = [TaskLoss(lambda batch, i=i: forward(i), []) for i in range(TASKS)]  # type: ignore[misc]
        return self.engine.step(method, tasks, measure=measure, retain_graph=True)


@BOTH
@pytest.mark.parametrize("together", [True, False])
def test_the_gram_matrix_of_the_representation(together: bool, measure: bool) -> None:
    model, method = Encoded(together), ReadsRepresentation()
    step = model.step(method, measure=measure)
    full = (model.slopes @ model.slopes.T).numpy()
    expected = full if together else np.diag(np.diagonal(full))
    assert method.observed.gram == pytest.approx(expected, rel=1e-12, abs=0.0)
    torch.testing.assert_close(gradient_of(model.theta), torch.from_numpy(WEIGHTS) @ model.slopes @ model.matrix)
    rows = (model.slopes @ model.matrix).numpy()
    assert (step.gram == pytest.approx(rows @ rows.T)) if measure else step.gram is None
    assert (model.engine._rows is None) == (not measure)  # without, no K × P buffer


def test_measuring_changes_no_bit_of_the_representations_method() -> None:
    grams, updates = [], []
    for measure in (False, True):
        model, method = Encoded(together=True), ReadsRepresentation()
        model.step(method, measure=measure)
        grams.append(method.observed.gram.tobytes())
        updates.append(gradient_of(model.theta).numpy().tobytes())
    assert grams[0] == grams[1] and updates[0] == updates[1]


@BOTH
def test_a_missing_representation_is_named(measure: bool) -> None:
    with pytest.raises(UsageError, match="method representation reads the gradients of the representation: give"):
        Encoded(together=True).step(ReadsRepresentation(), measure=measure, representation=False)


@BOTH
def test_a_bad_gradient_of_the_representation_names_the_task(measure: bool) -> None:
    model = Encoded(together=False)
    model.slopes[2, 0] = torch.inf
    model.theta.data.fill_(1.0)
    with pytest.raises(NotFinite, match="task 2"):
        model.step(ReadsRepresentation(), measure=measure)


# Heads of logarithms


@BOTH
def test_heads_descend_the_logarithm_of_their_loss(measure: bool) -> None:
    model = Linear()
    step = model.step(LogHeads(), measure=measure)
    for task, head in enumerate(model.heads):
        assert step.losses[task] == 2.0 + 2.0 * (task + 1)
        log = torch.autograd.grad(torch.log(model.forward(task, 0).loss), head)[0]
        torch.testing.assert_close(gradient_of(head), log)


# Clipping


@BOTH
@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_the_shared_update_is_clipped_and_the_heads_are_not(method: type[Recorder], measure: bool) -> None:
    free, clipped = Linear(), Linear()
    assert free.step(method(), measure=measure).factor == 1.0
    norm = float(free.update().norm())
    step = clipped.step(method(clip=norm / 4.0), measure=measure)
    assert step.factor == pytest.approx(0.25, rel=1e-14)
    torch.testing.assert_close(clipped.update(), free.update() / 4.0, rtol=1e-14, atol=0.0)
    for head, other in zip(free.heads, clipped.heads, strict=True):
        assert torch.equal(gradient_of(head), gradient_of(other))


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_a_short_update_is_not_touched_by_clipping(method: type[Recorder]) -> None:
    free, clipped = Linear(), Linear()
    free.step(method())
    assert clipped.step(method(clip=1e6)).factor == 1.0
    assert torch.equal(clipped.update(), free.update())


# The norm of the plain sum


@BOTH
@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1.0, 1e10])
@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_every_update_is_brought_to_the_norm_of_the_sum(method: type[Recorder], scale: float, measure: bool) -> None:
    """Squares of 10⁻²⁵ do not exist in single precision; the norm must."""
    native, matched = Linear(torch.float32, scale), Linear(torch.float32, scale)
    native.step(method(), measure=measure)
    step = matched.step(method(clip=1e-9), match_sum=True, measure=measure)
    expected = float(matched.rows.double().sum(dim=0).norm())
    assert float(matched.update().double().norm()) == pytest.approx(expected, rel=1e-6)
    assert step.factor == pytest.approx(expected / float(native.update().double().norm()), rel=1e-6)
    assert step.factor != 1.0
    torch.testing.assert_close(
        matched.update().double(), step.factor * native.update().double(), rtol=1e-6, atol=1e-6 * expected
    )
    for head, other in zip(native.heads, matched.heads, strict=True):
        assert torch.equal(gradient_of(head), gradient_of(other))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches])
def test_the_plain_sum_keeps_its_bits(method: type[Recorder], dtype: torch.dtype, measure: bool) -> None:
    native, matched = Linear(dtype), Linear(dtype)
    native.step(get_method("sum"))
    step = matched.step(method(answer=np.ones(TASKS)), match_sum=True, measure=measure)
    assert step.factor == 1.0
    assert matched.update().numpy().tobytes() == native.update().numpy().tobytes()


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [2.0, 0.25, 1024.0])
def test_a_power_of_two_of_the_sum_becomes_the_sum_in_every_bit(
    factor: float, dtype: torch.dtype, measure: bool
) -> None:
    native, matched = Linear(dtype), Linear(dtype)
    native.step(get_method("sum"))
    step = matched.step(Recorder(answer=np.full(TASKS, factor)), match_sum=True, measure=measure)
    assert step.factor == 1.0 / factor
    assert matched.update().numpy().tobytes() == native.update().numpy().tobytes()


@pytest.mark.parametrize("match_sum", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_an_update_of_zero_stays_zero(match_sum: bool, clip: float | None) -> None:
    for method in (
        Recorder(answer=np.zeros(TASKS), clip=clip),
        Median(change=torch.zeros_like, clip=clip),
    ):
        model = Linear()
        assert model.step(method, match_sum=match_sum).factor == 1.0
        assert model.update().tolist() == [0.0] * SIZE


def test_gradients_that_cancel_leave_no_update() -> None:
    model = Linear()
    model.slopes[0, 2] = -(model.slopes[0, 0] + model.slopes[0, 1])
    step = model.step(Recorder(), match_sum=True)
    assert step.factor < 1e-15 and float(model.update().norm()) < 1e-15


@pytest.mark.parametrize("match_sum", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_measuring_changes_no_bit_of_any_kind(method: type[Recorder], dtype: torch.dtype, match_sum: bool) -> None:
    runs = []
    for measure in (False, True):
        model = Linear(dtype)
        step = model.step(method(clip=0.7), match_sum=match_sum, measure=measure)
        assert (step.gram is not None) == (measure or method is ReadsGram)
        tensors = [model.update(), *(gradient_of(head) for head in model.heads)]
        runs.append((step.factor, [tensor.numpy().tobytes() for tensor in tensors]))
    assert runs[0] == runs[1]
