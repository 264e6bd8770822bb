"""A method or a micro-batch that fails: state, gradients and rows are put back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from fault_cases import freed, gradients, message, same
from library_cases import Biggest, Toy

from mtlbench import Method, SolverError, Surgery
from mtlbench.contract.observation import Observation, Vector


@dataclass
class Bad(Method):
    """Counts its calls, draws a number, and then does what a test asks for."""

    name = "bad"
    state = "K"
    act: Any = None
    calls: int = field(default=0, init=False)
    numbers: Any = field(default_factory=list, init=False)

    def weights(self, observation: Observation) -> Vector:
        self.calls += 1
        self.numbers.append(float(self.generator.random()))
        self.extra = self.calls  # an attribute that is no field
        return np.ones(observation.tasks) if self.act is None else self.act(observation)


def throw(error: BaseException) -> Callable[[Observation], Vector]:
    def act(observation: Observation) -> Vector:
        raise error

    return act


# Faults of methods


@dataclass
class Tracking(Biggest):
    """Keeps K × P numbers."""

    name = "tracking"
    state: ClassVar[Literal["none", "K", "K × P"]] = "K × P"  # type: ignore[misc]


ANSWERS: list[tuple[str, Any, str]] = [
    ("raises", throw(ValueError("x\ny")), "method bad: weights() raised ValueError: x y"),
    ("StopIteration", throw(StopIteration()), "raised StopIteration"),
    ("SolverError", throw(SolverError("no minimum")), "no minimum"),
    ("NaN", lambda seen: np.full(seen.tasks, np.nan), "[nan, nan, nan], not 3 finite numbers"),
    ("K + 1", lambda seen: np.ones(seen.tasks + 1), "not 3 finite numbers"),
    ("None", lambda seen: None, "returned weights None"),
    ("text", lambda seen: "abc", "returned weights 'abc'"),
    ("generator", lambda seen: (1.0 for _ in range(seen.tasks)), "not 3 finite numbers"),
    ("tensors with graphs", lambda seen: [torch.ones((), requires_grad=True)] * 3, "not 3 finite numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "fragment"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_a_method_that_fails_is_put_back(act: Any, fragment: str) -> None:
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, Bad(act)), Surgery(other.trunk, Bad())
    assert fragment in message(lambda: surgery.loss(toy.losses()))
    assert surgery.weights is None and surgery.losses is None
    surgery.method.act = None  # type: ignore[attr-defined]
    assert not hasattr(surgery.method, "extra")
    surgery.loss(toy.losses()).backward()
    reference.loss(other.losses()).backward()
    same(gradients(toy), gradients(other))
    assert surgery.method.numbers == reference.method.numbers  # type: ignore[attr-defined]
    assert surgery.method.calls == 1  # type: ignore[attr-defined]


def test_an_interrupted_method_is_put_back() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, Bad(throw(KeyboardInterrupt())), accumulate=2)
    surgery.loss(toy.losses()).backward()
    with pytest.raises(KeyboardInterrupt) as caught:
        surgery.loss(toy.losses())
    assert caught.value.__notes__ == ["the next call is micro-batch 1 of 2 again"]
    assert surgery.method.calls == 0  # type: ignore[attr-defined]
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_a_large_state_is_not_copied_and_the_message_says_so() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, Tracking(lambda update: update * torch.nan))
    assert "the state of tracking may have changed" in message(lambda: surgery.loss(toy.losses()))
    assert "may have changed" not in message(lambda: surgery.loss([]))


def test_a_failed_report_after_the_step_is_undone() -> None:
    @dataclass
    class Reported(Bad):
        name = "reported"
        reads_after = True

        def after_step(self, losses: Vector) -> None:
            self.calls += 10
            raise ValueError("no")

    toy = Toy()
    surgery = Surgery(toy.trunk, Reported())
    surgery.loss(toy.losses()).backward()
    assert "after_step() raised ValueError: no" in message(lambda: surgery.after_step([1.0, 2.0, 3.0]))
    assert surgery.method.calls == 1  # type: ignore[attr-defined]


AFTER: list[tuple[str, Any, str]] = [
    ("None", None, "not None"),
    ("number", 3, "not an int"),
    ("empty", [], "at least one loss"),
    ("too few", [1.0], "1 losses for 3 tasks"),
    ("all None", [None] * 3, "all losses are None"),
    ("a None", [1.0, 2.0, None], "3 finite losses"),
    ("text", list("abc"), "loss 0 is a str, not a tensor or number"),
    ("truth", [True] * 3, "loss 0 is a bool"),
    ("complex", [1j] * 3, "loss 0 is a complex"),
    ("huge", [10**400] * 3, "loss 0 is too large"),
    ("NaN", [float("nan")] * 3, "3 finite losses"),
    ("matrix", torch.ones(2, 2), "shape (2, 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("losses", "fragment"), [row[1:] for row in AFTER], ids=[row[0] for row in AFTER])
def test_wrong_losses_after_the_step(losses: Any, fragment: str) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, "famo")
    surgery.loss(toy.losses()).backward()
    state = repr(surgery.state_dict())
    assert fragment in message(lambda: surgery.after_step(losses))
    assert repr(surgery.state_dict()) == state
    surgery.after_step([np.float32(1.0), torch.tensor(2.0), 3])
    assert repr(surgery.state_dict()) != state


# Micro-batches

MICRO: list[tuple[str, Callable[[Toy, Surgery], Any], str]] = [
    ("NaN", lambda t, s: s.loss([loss * torch.nan for loss in t.losses()]), "loss of task 0 is nan"),
    ("fewer", lambda t, s: s.loss(t.losses()[:2]), "micro-batch 2 of 3 has other tasks, or"),
    ("a None", lambda t, s: s.loss([*t.losses()[:2], None]), "has other tasks, or"),
    ("freed", lambda t, s: s.loss(freed(t)), "freed"),
    ("text", lambda t, s: s.loss("abc"), "not a str"),
    ("frozen", lambda t, s: (t.trunk[0].requires_grad_(False), s.loss(t.losses())), "or other shared parameters"),
]  # fmt: skip


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("wrong", "fragment"), [row[1:] for row in MICRO], ids=[row[0] for row in MICRO])
def test_a_fault_in_a_micro_batch_starts_the_step_again(wrong: Any, fragment: str, skip: bool) -> None:
    toy, other = Toy(), Toy()
    surgery = Surgery(toy.trunk, "pcgrad", accumulate=3, skip_zero_rows=skip)
    surgery.loss([7.0 * loss for loss in toy.losses()]).backward()
    text = message(lambda: wrong(toy, surgery))
    assert fragment in text and text.endswith("; the next call is micro-batch 1 of 3 again")
    toy.requires_grad_(True)
    reference = Surgery(other.trunk, "pcgrad", accumulate=3, skip_zero_rows=skip)
    for model, own in ((toy, surgery), (other, reference)):
        for scale in (1.0, 2.0, 3.0):
            assert all(parameter.grad is None for parameter in model.parameters())
            own.loss([scale * loss for loss in model.losses()]).backward()
    same(gradients(toy), gradients(other))


def test_closing_between_micro_batches_starts_the_step_again() -> None:
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, accumulate=2), Surgery(other.trunk, accumulate=2)
    surgery.loss([7.0 * loss for loss in toy.losses()]).backward()
    surgery.close()
    for model, own in ((toy, surgery), (other, reference)):
        own.loss(model.losses()).backward()
        own.loss(model.losses()).backward()
    same(gradients(toy), gradients(other))
