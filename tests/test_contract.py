"""What a method may declare, in the engine: what it reads, what it returns, and what is done with that.

The losses are linear, so the gradients are the slopes that the test chose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from mtlbench import Matrix, Method, Observation, Vector, get_method
from mtlbench.contract.method import Parameters, Reads
from mtlbench.contract.method_input import observe
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError, UsageError
from mtlbench.solvers.inner_products import gram

TASKS, SIZE = 3, 11
WEIGHTS = np.array([0.3, 1.7, 0.9])
BOTH = pytest.mark.parametrize("measure", [False, True])


class Linear:
    """Task i on batch b: the loss 2 + ⟨slopes[b, i], θ⟩ + (i + 1) Σ headᵢ, at θ = 0; batches 0, 1 and 2 differ."""

    def __init__(self, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> None:
        draw = torch.Generator().manual_seed(0)
        self.slopes = scale * torch.randn(3, TASKS, SIZE, generator=draw, dtype=dtype)
        self.shared = [nn.Parameter(torch.zeros(5, dtype=dtype)), nn.Parameter(torch.zeros(2, 3, dtype=dtype))]
        self.heads = [nn.Parameter(torch.ones(2, dtype=dtype)) for _ in range(TASKS)]
        self.asked: list[tuple[int, int]] = []

    def forward(self, task: int, batch: int) -> Forward:
        self.asked.append((task, batch))
        theta = torch.cat([parameter.flatten() for parameter in self.shared])
        return Forward(2.0 + self.slopes[batch, task] @ theta + (task + 1) * self.heads[task].sum())

    def step(self, method: Method, *, match_sum: bool = False, measure: bool = False) -> Step:
        tasks = [TaskLoss(lambda batch, i=i: self.forward(i, batch), [self.heads[i]]) for i in range(TASKS)]  # type: ignore[misc]
        return LoopEngine(self.shared, [], match_sum=match_sum).step(method, tasks, measure=measure)

    @property
    def rows(self) -> torch.Tensor:
        return self.slopes[0]

    def update(self) -> torch.Tensor:
        return torch.cat([gradient_of(parameter).flatten() for parameter in self.shared])


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


@dataclass
class Recorder(Method):
    """Gives the weights that it was told, and keeps what it saw."""

    name = "recorder"
    reads: ClassVar[Reads] = "losses"
    given: Any = (0.3, 1.7, 0.9)
    clip: float | None = None
    observed: Any = field(default=None, init=False)

    @property
    def clip_norm(self) -> float | None:
        return self.clip

    def weights(self, observation: Observation) -> Vector:
        self.observed = observation
        return np.array(self.given)


@dataclass
class ReadsGram(Recorder):
    """The same from the Gram matrix."""

    name = "gram"
    reads: ClassVar[Reads] = "gram"


@dataclass
class ReadsGradients(Recorder):
    """The same from the gradients."""

    name = "gradients"
    reads: ClassVar[Reads] = "gradients"

    def weights(self, observation: Observation) -> Vector:
        self.observed = observation.gradients.clone()
        return np.array(self.given)


@dataclass
class ReadsTwoBatches(Recorder):
    """The same from the products of two more batches."""

    name = "two-batches"
    reads: ClassVar[Reads] = "cross_gram"


@dataclass
class ReadsRepresentation(ReadsGram):
    """The same from the gradients of the representation."""

    name = "representation"

    @property
    def gram_of(self) -> Parameters:
        return "representation"


@dataclass
class Median(ReadsGradients):
    """Returns an update: the median of the gradients in every coordinate."""

    name = "median"
    returns: ClassVar[Literal["weights", "update"]] = "update"
    change: Callable[[torch.Tensor], Any] = lambda update: update

    def update(self, observation: Observation) -> torch.Tensor:
        self.observed = observation.gradients.clone()
        return self.change(observation.gradients.median(dim=0).values)


@dataclass
class LogHeads(Recorder):
    """Heads descend the logarithm."""

    name = "log-heads"
    heads: ClassVar[Literal["plain", "weighted", "log"]] = "log"


ALL: list[type[Recorder]] = [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches, Median, LogHeads]


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda update: update[:-1], r"update of shape \(10,\), not \(11,\)"),
        (lambda update: update[None], r"update of shape \(1, 11\), not \(11,\)"),
        (lambda update: update * torch.nan, "update that is not finite"),
        (lambda update: update / 0.0, "update that is not finite"),
        (lambda update: update.numpy(), "update that is not a torch tensor: ndarray"),
    ],
)
def test_a_bad_update_names_the_method(change: Callable[[torch.Tensor], Any], words: str) -> None:
    model = Linear()
    with pytest.raises(CellError, match=f"method median returned an {words}"):
        model.step(Median(change=change))
    assert all(parameter.grad is None for parameter in model.shared)


@pytest.mark.parametrize("method", [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches])
@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [1.0, np.nan, 1.0], [1.0, np.inf, 1.0]])
def test_bad_weights_name_the_method(method: type[Recorder], bad: Any) -> None:
    model = Linear()
    with pytest.raises(CellError, match=f"method {method.name} returned weights .*, not 3 finite numbers"):
        model.step(method(given=bad))
    assert all(parameter.grad is None for parameter in model.shared)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (None, "returned weights None, not 3 finite numbers"),
        ("abc", "returned weights 'abc', not 3"),
        (["1", "2", "3"], r"returned weights \['1', '2', '3'\], not 3"),
        ([1.0, [2.0], 3.0], "returned weights"),
        ({"a": 1.0}, r"returned weights \{'a': 1.0\}, not 3"),
        (np.ones(3) * 1j, r"returned weights array\(\[0.\+1.j"),
        (torch.ones(3, requires_grad=True), "returned weights tensor"),
        (torch.ones(3, dtype=torch.complex64), "returned weights tensor"),
        (ZeroDivisionError("division by zero"), r"weights\(\) raised ZeroDivisionError: division by zero"),
        (NotImplementedError(), r"weights\(\) raised NotImplementedError$"),
        (IndexError("task 3\nof 3"), r"weights\(\) raised IndexError: task 3 of 3"),
    ],
)
def test_whatever_a_method_answers_names_it(bad: Any, words: str) -> None:
    class Answering(Recorder):
        def weights(self, observation: Observation) -> Any:
            if isinstance(bad, Exception):
                raise bad
            return bad

    with pytest.raises(CellError, match=f"^method recorder:? {words}") as caught:
        Linear().step(Answering())
    assert "\n" not in str(caught.value)
    assert not isinstance(bad, Exception) or caught.value.__cause__ is bad


@pytest.mark.parametrize("good", [[1, 2, 3], (True, False, True), torch.tensor([1.0, 2.0, 3.0]), np.float32([1, 2, 3])])
def test_numbers_of_any_kind_are_weights(good: Any) -> None:
    class Answering(Recorder):
        def weights(self, observation: Observation) -> Any:
            return good

    weights = Linear().step(Answering()).weights
    assert weights is not None and weights.tolist() == [float(one) for one in good]


@pytest.mark.parametrize(
    "change", [lambda update: update.to(torch.complex64), lambda update: 1 / 0, lambda update: None]
)
def test_whatever_update_a_method_answers_names_it(change: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(
        CellError, match=r"^method median(: update\(\) raised Zero| returned an update (of|that is not))"
    ):
        Linear().step(Median(change=change))


def test_an_update_with_a_graph_is_taken_without_it() -> None:
    model = Linear()
    model.step(Median(change=lambda update: update.clone().requires_grad_() * 2.0))
    assert all(not gradient_of(parameter).requires_grad for parameter in model.shared)


def test_a_method_is_shown_only_what_it_reads() -> None:
    for method, absent in [(Recorder(), "gram"), (ReadsTwoBatches(), "gradients"), (ReadsGram(), "gradients")]:
        Linear().step(method, measure=True)
        with pytest.raises(UsageError, match=f"{absent} were not given"):
            getattr(method.observed, absent)


# Two more batches


@BOTH
def test_products_are_those_of_batches_1_and_2_and_the_update_is_of_batch_0(measure: bool) -> None:
    model, method = Linear(), ReadsTwoBatches()
    step = model.step(method, measure=measure)
    by_hand = [[float(one @ other) for other in model.slopes[2]] for one in model.slopes[1]]
    assert method.observed.cross_gram == pytest.approx(np.array(by_hand), rel=1e-12)
    torch.testing.assert_close(model.update(), torch.from_numpy(WEIGHTS) @ model.slopes[0])
    assert sorted(model.asked) == sorted((task, batch) for task in range(TASKS) for batch in (0, 1, 2))
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
    """z = Aθ (one for all tasks, or one a task) and the losses ⟨cᵢ, z⟩, so ∂Lᵢ/∂z = cᵢ and gᵢ = Aᵀcᵢ."""

    def __init__(self, together: bool) -> None:
        draw = torch.Generator().manual_seed(1)
        self.matrix = torch.randn(4, 6, generator=draw, dtype=torch.float64)
        self.slopes = torch.randn(TASKS, 4, generator=draw, dtype=torch.float64)
        self.theta = nn.Parameter(torch.zeros(6, dtype=torch.float64))
        self.together = together
        self.engine = LoopEngine([self.theta], [])

    def step(self, method: Method, *, measure: bool = False, given: bool = True) -> Step:
        one = self.matrix @ self.theta

        def forward(task: int) -> Forward:
            z = one if self.together else self.matrix @ self.theta
            return Forward(self.slopes[task] @ z, [z] if given else [])

        tasks = [TaskLoss(lambda batch, i=i: forward(i), []) for i in range(TASKS)]  # type: ignore[misc]
        return self.engine.step(method, tasks, measure=measure, retain_graph=True)


@BOTH
@pytest.mark.parametrize("together", [True, False])
def test_the_gram_matrix_of_the_representation(together: bool, measure: bool) -> None:
    model, method = Encoded(together), ReadsRepresentation()
    step = model.step(method, measure=measure)
    full = (model.slopes @ model.slopes.T).numpy()
    wanted = full if together else np.diag(np.diagonal(full))
    assert method.observed.gram == pytest.approx(wanted, rel=1e-12, abs=0.0)
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
        Encoded(together=True).step(ReadsRepresentation(), measure=measure, given=False)


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
    for one, other in zip(free.heads, clipped.heads, strict=True):
        assert torch.equal(gradient_of(one), gradient_of(other))


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
    wanted = float(matched.rows.double().sum(dim=0).norm())
    assert float(matched.update().double().norm()) == pytest.approx(wanted, rel=1e-6)
    assert step.factor == pytest.approx(wanted / float(native.update().double().norm()), rel=1e-6)
    assert step.factor != 1.0
    torch.testing.assert_close(
        matched.update().double(), step.factor * native.update().double(), rtol=1e-6, atol=1e-6 * wanted
    )
    for one, other in zip(native.heads, matched.heads, strict=True):
        assert torch.equal(gradient_of(one), gradient_of(other))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", [Recorder, ReadsGram, ReadsGradients, ReadsTwoBatches])
def test_the_plain_sum_keeps_its_bits(method: type[Recorder], dtype: torch.dtype, measure: bool) -> None:
    native, matched = Linear(dtype), Linear(dtype)
    native.step(get_method("sum"))
    step = matched.step(method(given=np.ones(TASKS)), match_sum=True, measure=measure)
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
    step = matched.step(Recorder(given=np.full(TASKS, factor)), match_sum=True, measure=measure)
    assert step.factor == 1.0 / factor
    assert matched.update().numpy().tobytes() == native.update().numpy().tobytes()


@pytest.mark.parametrize("match_sum", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_an_update_of_zero_stays_zero(match_sum: bool, clip: float | None) -> None:
    for method in (
        Recorder(given=np.zeros(TASKS), clip=clip),
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
    found = []
    for measure in (False, True):
        model = Linear(dtype)
        step = model.step(method(clip=0.7), match_sum=match_sum, measure=measure)
        assert (step.gram is not None) == (measure or method is ReadsGram)
        tensors = [model.update(), *(gradient_of(head) for head in model.heads)]
        found.append((step.factor, [tensor.numpy().tobytes() for tensor in tensors]))
    assert found[0] == found[1]


# Gradients that single precision can hold, but not square


def observed(rows: Sequence[Sequence[float]]) -> Matrix:
    return observe(ReadsGram(), gram=gram(torch.tensor(rows))).gram


def test_a_tiny_gradient_beside_a_long_one_is_a_gram_matrix() -> None:
    """‖g₂‖² = 10⁻⁴⁸ is 0 in single precision, ⟨g₁, g₂⟩ = 10⁻²⁴ is not: the engine's matrix must be accepted."""
    assert observed([[1.0, 0.0], [1e-24, 0.0]]).tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert np.isfinite(observed([[3.0, 0.0], [3e-23, 1e-23]])).all()
