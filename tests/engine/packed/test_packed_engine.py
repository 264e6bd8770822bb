"""The packed engine against autograd task by task, and against the loop engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from step_batches import batches, close, forward, native, seeds, truths
from tiny_models import (
    FAMILIES,
    WAYS,
    WIDTH,
    Model,
    Plain,
    Truth,
    grads,
    make_engine,
    shared_of,
    truth,
)
from torch import nn

from mtlbench import get_method
from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import Vector
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.layout import Layout
from mtlbench.engine.packed.lean import Lean
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.packed.passes import JointForward
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError, UsageError

METHODS = (
    "sum",
    "fixed[w=1:2:0.5]",
    "famo",
    "pcgrad",
    "mgda",
    "gradnorm[lr=0.2]",
    "mgda-ub",
    "graddrop",
    "db-mtl",
    "moco",
    "sdmgrad",
)

ONE_OF_EACH = ("fixed[w=1:2:0.5]", "pcgrad", "gradnorm[lr=0.2]", "graddrop")

STEPS = 3

methods = pytest.mark.parametrize("name", METHODS)

modes = pytest.mark.parametrize("way", list(WAYS))


def expected(method: Method, family: str, dropout: float, step: int) -> tuple[Vector | None, torch.Tensor]:
    """Return the weights and the update that a method makes of the true gradients."""
    true = truths(family, dropout, step)
    given: dict[str, Any] = {"losses": true.losses}
    if method.reads == "gram":
        by_kind = {
            "shared": true.gram,
            "last_shared_layer": true.gram_of_last,
            "representation": true.gram_of_representation,
        }
        given["gram"] = by_kind[method.gram_of]
    elif method.reads == "cross_gram":
        one, other = (truths(family, dropout, step, number).rows for number in (1, 2))
        given["cross_gram"] = (one @ other.T).numpy()
    elif method.reads == "gradients":
        given["gradients"] = true.rows.clone()
    seen = observe(method, **given)
    if method.returns == "update":
        return None, method.update(seen)
    weights = np.asarray(method.weights(seen))
    return weights, torch.from_numpy(weights) @ true.rows


def after(method: Method, losses: Vector) -> None:
    if method.reads_after:
        method.after_step(losses * [0.9, 0.8, 0.95])


def check_heads(model: Model, method: Method, step: Step, true: Truth, tolerance: float) -> None:
    for task, head in enumerate(model.heads):
        factor = 1.0
        if method.heads == "weighted" and step.weights is not None:
            factor = step.weights[task]
        elif method.heads == "log":
            factor = 1.0 / true.losses[task]
        correct = factor * true.heads[task].double()
        assert float((grads(list(head.parameters())).double() - correct).norm()) <= tolerance * float(correct.norm())


# Several steps of every method on every model


@modes
@pytest.mark.parametrize(
    ("family", "dropout", "name"),
    [
        *(("plain", 0.0, name) for name in METHODS),
        *(("bert", 0.3, name) for name in METHODS),
        *((family, 0.3, name) for family in FAMILIES[1:] for name in ONE_OF_EACH),
        *((family, 0.0, "pcgrad") for family in FAMILIES),
    ],
)
def test_steps_are_those_of_autograd(family: str, dropout: float, way: str, name: str) -> None:
    model = native(family, dropout)
    shared, before = shared_of(model)[0], torch.get_rng_state()
    engine, method, reference = make_engine(model, way), get_method(name), get_method(name)
    for number in range(STEPS):
        step = engine.step(method, forward(model, number), measure=number == 1)
        true = truths(family, dropout, number)
        weights, correct = expected(reference, family, dropout, number)
        factor = 1.0 if method.clip_norm is None else min(1.0, method.clip_norm / float(correct.norm()))
        assert step.factor == pytest.approx(factor, rel=1e-10)
        assert close(step.losses, true.losses, 1e-12)
        assert (step.weights is None) == (weights is None)
        assert weights is None or close(step.weights, weights, 1e-8)
        if step.weights is not None:  # the update apart from what a solver makes of rounding
            correct = torch.from_numpy(step.weights) @ true.rows
        assert close(grads(shared), factor * correct, 1e-10)
        assert (step.gram is None) <= (number != 1)
        assert step.gram is None or close(step.gram, true.gram, 1e-10)
        check_heads(model, method, step, true, 1e-10)
        after(method, step.losses)
        after(reference, step.losses)
    assert torch.equal(torch.get_rng_state(), before)


@methods
@modes
@pytest.mark.parametrize("family", ["plain", "bert"])
def test_single_precision_is_close(family: str, way: str, name: str) -> None:
    model = native(family, 0.0, torch.float32)
    engine, method = make_engine(model, way), get_method(name)
    for number in range(2):
        step = engine.step(method, forward(model, number), measure=True)
        true = truths(family, 0.0, number)
        if step.weights is None:  # methods draw other numbers in single precision
            assert close(engine._buffers["step"].buffer.double(), true.rows, 1e-5)
        else:
            correct = step.factor * torch.from_numpy(step.weights) @ true.rows
            assert close(grads(shared_of(model)[0]).double(), correct, 1e-5)
        assert close(step.gram, true.gram, 1e-5)
        check_heads(model, method, step, true, 1e-5)
        after(method, step.losses)


@pytest.mark.parametrize("tasks", [1, 24])
@pytest.mark.parametrize("name", ["sum", "pcgrad", "gradnorm", "graddrop"])
@modes
def test_one_task_and_many(tasks: int, name: str, way: str) -> None:
    model = Plain(tasks)
    true = truth(Plain(tasks), batches(0, 0, tasks))
    method = get_method(name)
    step = make_engine(model, way).step(method, forward(model, 0, tasks), measure=True)
    assert close(step.gram, true.gram, 1e-10)
    if step.weights is not None:
        assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, 1e-10)
    check_heads(model, method, step, true, 1e-10)


@modes
def test_methods_may_follow_each_other(way: str) -> None:
    """Every way to write the update leaves no row of a table behind for the next."""
    model = Plain()
    engine, shared = make_engine(model, way), shared_of(model)[0]
    names = ["sum", "graddrop", "sum", "pcgrad", "graddrop", "pcgrad", "sdmgrad", "fixed[w=1:2:0.5]", "mgda-ub"]
    for number, name in enumerate(names):
        step = engine.step(get_method(name), forward(model, number % STEPS))
        true = truths("plain", 0.0, number % STEPS)
        if step.weights is not None:
            assert close(grads(shared), torch.from_numpy(step.weights) @ true.rows, 1e-10)
        untouched = (true.rows == 0.0).all(dim=0)
        assert bool(untouched.any()) and bool((grads(shared)[untouched] == 0.0).all())


@modes
def test_buffers_are_reused(way: str) -> None:
    model = Plain()
    engine, actual = make_engine(model, way), set()
    for number in range(STEPS):
        for name in ("graddrop", "sdmgrad"):
            engine.step(get_method(name), forward(model, number))
            actual.add(tuple(sorted((name, rows.buffer.data_ptr()) for name, rows in engine._buffers.items())))
            actual.add((("update", engine.update.data_ptr()),))
    assert len(actual) == 3  # the update; one buffer; and with the two of sdmgrad three


# Bits


@methods
@modes
def test_measuring_changes_no_bit(name: str, way: str) -> None:
    actual = []
    for measure in (False, True):
        model = native("bert", 0.2, torch.float32)
        engine, method, bits = make_engine(model, way), get_method(name), []
        for number in range(2):
            step = engine.step(method, forward(model, number), measure=measure)
            bits.append(grads([*shared_of(model)[0], *model.heads.parameters()]).numpy().tobytes())
            bits.append(None if step.weights is None else step.weights.tobytes())
            after(method, step.losses)
        assert not measure or step.gram is not None
        actual.append(bits)
    assert actual[0] == actual[1]


# Against the loop engine


@methods
@pytest.mark.parametrize(("way", "match_sum"), [("buffer", False), ("lean", True), ("two passes", False)])
def test_loop_engine_agrees(name: str, way: str, match_sum: bool) -> None:
    one, other = native("roberta", 0.2), native("roberta", 0.2)
    engine = make_engine(one, way, match_sum=match_sum)
    loop = LoopEngine(shared_of(other)[0], list(other.last.parameters()), match_sum=match_sum)
    packed_method, loop_method = get_method(name), get_method(name)
    for number in range(2):
        actual = engine.step(packed_method, forward(one, number), measure=True)

        def alone(task: int, batch: int, step: int = number) -> Forward:
            pack = Pack.of([batches(step, batch)[task]], "cpu", (seeds(step, batch)[task],))
            return other.forwards(pack, [task])[0]

        tasks = [
            TaskLoss(lambda batch, task=task: alone(task, batch), list(head.parameters()))  # type: ignore[misc]
            for task, head in enumerate(other.heads)
        ]
        correct = loop.step(loop_method, tasks, measure=True)
        assert close(actual.losses, correct.losses, 1e-12) and close(actual.gram, correct.gram, 1e-10)
        assert actual.factor == pytest.approx(correct.factor, rel=1e-7)
        assert (actual.weights is None) == (correct.weights is None)
        assert actual.weights is None or close(actual.weights, correct.weights, 1e-7)
        assert close(grads(shared_of(one)[0]), grads(shared_of(other)[0]), 1e-7)
        assert close(grads(list(one.heads.parameters())), grads(list(other.heads.parameters())), 1e-7)
        after(packed_method, actual.losses)
        after(loop_method, correct.losses)


@methods
@modes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_match_sum_brings_the_norm_to_that_of_the_plain_sum(name: str, way: str, dtype: torch.dtype) -> None:
    model = native("plain", 0.0, dtype)
    engine = make_engine(model, way, match_sum=True)
    step = engine.step(get_method(name), forward(model))
    correct = float(truths("plain", 0.0, 0).rows.sum(dim=0).norm())
    assert float(grads(shared_of(model)[0]).double().norm()) == pytest.approx(correct, rel=1e-5)
    if name == "sum":
        assert step.factor == 1.0


# Parameters that are frozen, tied, or not reached


def freeze_weight(model: Plain) -> None:
    model.first.weight.requires_grad_(False)
    model.norm.weight.requires_grad_(False)


def freeze_bias(model: Plain) -> None:
    model.first.bias.requires_grad_(False)
    model.norm.bias.requires_grad_(False)


def freeze_words(model: Plain) -> None:
    model.words.requires_grad_(False)


def freeze_below(model: Plain) -> None:
    for layer in (model.words, model.positions, model.norm, model.first, model.second):
        layer.requires_grad_(False)


def freeze_last_weight(model: Plain) -> None:
    model.last.weight.requires_grad_(False)


def freeze_last_bias(model: Plain) -> None:
    model.last.bias.requires_grad_(False)


def norm_without_bias(model: Plain) -> None:
    model.norm.register_parameter("bias", None)


def not_reached(model: Plain) -> None:
    """Give the model layers that nothing calls."""
    model.last.unused = nn.Linear(3, 3).double()
    model.norm.unused = nn.Embedding(5, 2).double()


def tied_calls(model: Plain) -> None:
    """Use one linear layer and one norm twice."""
    model.between = lambda states, _: torch.tanh(model.last(model.norm(states)))


def tied_weights(model: Plain) -> None:
    """Let two linear layers share a weight, and two tables be one, of which only one use has padding."""
    again = nn.Linear(WIDTH, WIDTH, bias=False)
    again.weight = model.last.weight
    model.positions.add_module("again", again)
    model.between = lambda states, _: torch.tanh(again(states))


def tied_tables(model: Plain) -> None:
    model.positions.weight = model.words.weight


def tied_to_table(model: Plain) -> None:
    """Let a linear layer have the words' table as its weight: every row of it is written."""
    again = nn.Linear(WIDTH, 60, bias=False)
    again.weight = model.words.weight
    model.positions.add_module("again", again)
    model.between = lambda states, _: states + again(states).tanh()[:, :WIDTH]


SINGLE = (
    freeze_weight,
    freeze_bias,
    freeze_words,
    freeze_below,
    freeze_last_weight,
    freeze_last_bias,
    norm_without_bias,
    not_reached,
)

TIED = (tied_calls, tied_weights, tied_tables, tied_to_table)

KINDS = ("sum", "fixed[w=1:2:0.5]", "pcgrad", "gradnorm", "graddrop", "sdmgrad", "mgda-ub")


def changed(change: Callable[[Plain], None]) -> Plain:
    model = Plain()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        change(model)
    return model


def check_changed(change: Callable[[Plain], None], name: str, *, way: str, measure: bool = True) -> None:
    """Take three steps, the second of them measured."""
    model = changed(change)
    engine, shared, method = make_engine(model, way), shared_of(model)[0], get_method(name)
    for number in range(STEPS):
        true = truth(changed(change), batches(number))
        step = engine.step(method, forward(model, number), measure=measure and number == 1)
        if step.weights is not None:
            assert close(grads(shared), torch.from_numpy(step.weights) @ true.rows, 1e-10)
        else:
            rows = engine._buffers["step"].buffer
            assert close(rows, true.rows, 1e-10)
        assert step.gram is None or close(step.gram, true.gram, 1e-10)
        if method.gram_of == "last_shared_layer" and number == 0:
            rates = get_method(name).weights(observe(method, losses=true.losses, gram=true.gram_of_last))
            assert close(step.weights, rates, 1e-10)
        check_heads(model, method, step, true, 1e-10)


@modes
@pytest.mark.parametrize("name", KINDS[1:-1])
@pytest.mark.parametrize("change", SINGLE, ids=lambda change: change.__name__)
def test_frozen_and_unreached_parameters(change: Callable[[Plain], None], name: str, way: str) -> None:
    check_changed(change, name, way=way)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("change", TIED, ids=lambda change: change.__name__)
def test_tied_parameters_add_up(change: Callable[[Plain], None], name: str) -> None:
    needs_no_buffer = name in ("sum", "fixed[w=1:2:0.5]", "sdmgrad", "mgda-ub")
    check_changed(change, name, way="buffer", measure=not needs_no_buffer)


@pytest.mark.parametrize("name", ["pcgrad", "mgda"])
@pytest.mark.parametrize("change", TIED, ids=lambda change: change.__name__)
def test_tied_parameters_without_a_buffer_are_refused(change: Callable[[Plain], None], name: str) -> None:
    model = changed(change)
    with pytest.raises(CellError, match="used twice in one forward"):
        make_engine(model, "lean").step(get_method(name), forward(model))


@pytest.mark.parametrize("name", ["sum", "sdmgrad"])
def test_tied_parameters_cannot_be_measured_beside_known_weights(name: str) -> None:
    model = changed(tied_calls)
    with pytest.raises(CellError, match="used twice in one forward"):
        make_engine(model).step(get_method(name), forward(model), measure=True)


def test_only_the_weight_of_the_last_layer_is_looked_at() -> None:
    """Its bias goes into the full Gram matrix alone, and the other way round."""
    for part in ("weight", "bias"):
        model, correct = Plain(), Plain()
        engine = make_engine(model, "lean")
        engine.last_shared_layer = [getattr(model.last, part)]
        pack = Pack.of(batches(0), "cpu")
        lean = Lean(engine.layout, pack, subset=engine.last_shared_layer)
        graphs = model.forwards(pack, range(3))
        engine._backward(graphs, lean)
        gradients = torch.stack(
            [
                torch.autograd.grad(graph.loss, getattr(correct.last, part), retain_graph=True)[0].flatten()
                for graph in correct.forwards(pack, range(3))
            ]
        ).detach()
        assert close(lean.gram_of_subset(), gradients @ gradients.T, 1e-10)
        assert close(lean.gram(), truths("plain", 0.0, 0).gram, 1e-10)


def test_a_native_use_of_a_shared_parameter_is_refused() -> None:
    """Autograd would add up all tasks there."""
    model = Plain()
    model.between = lambda states, _: nn.functional.linear(states, model.last.weight)
    with pytest.raises(CellError, match="used outside its layer"):
        make_engine(model).step(get_method("sum"), forward(model))


@modes
def test_a_layer_for_one_tasks_rows_is_refused(way: str) -> None:
    """GradientRows of a pack are told apart by their number: a layer sees all tasks' tokens or sequences, or none."""
    model = Plain()
    extra = nn.Linear(WIDTH, WIDTH).double()
    model.norm.add_module("extra", extra)

    def between(states: torch.Tensor, pack: Pack) -> torch.Tensor:
        first, last = pack.token_ranges[1]
        return torch.cat([states[:first], extra(states[first:last]), states[last:]])

    model.between = between
    with pytest.raises(ValueError, match="rows are neither"):
        make_engine(model, way).step(get_method("pcgrad"), forward(model))


@pytest.mark.parametrize("name", ["sum", "pcgrad", "graddrop"])
@modes
def test_padding_rows_and_repeated_tokens(name: str, way: str) -> None:
    """Word 3 is padding; word 7 occurs in every task, and several times in each."""
    words = [np.array([7, 3, 7, 5]), np.array([3, 7, 8, 7]), np.array([7, 7, 7, 3])]
    given = [Sequences(ids, np.zeros(4, np.int64), np.array([3, 1])) for ids in words]
    model, true = Plain(), truth(Plain(), given)

    def run(number: int, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        return model.forwards(Pack.of([given[task] for task in tasks], "cpu"), tasks)

    engine = make_engine(model, way)
    step = engine.step(get_method(name), run, measure=True)
    assert close(step.gram, true.gram, 1e-10)
    if step.weights is not None:
        assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, 1e-10)
    assert model.words.weight.grad is not None
    assert bool((model.words.weight.grad[3] == 0.0).all())
    assert model.words.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [5, 7, 8]


@pytest.mark.parametrize("name", ["sum", "fixed[w=1:2:0.5]", "mgda", "mgda-ub", "graddrop"])
@modes
def test_a_task_that_reaches_nothing(name: str, way: str) -> None:
    """Its gradient is zero, and that of a head that its loss does not use, as in the loop engine."""
    model = Plain()

    def run(number: int, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        graphs = forward(model)(number, tasks=tasks)
        if 1 in tasks:
            place = tasks.index(1)
            graphs[place] = Forward((model.heads[1].bias ** 2).sum() + 1.0, graphs[place].representation)
        return graphs

    step = make_engine(model, way).step(get_method(name), run, measure=True)
    assert step.gram is not None and not step.gram[1].any() and not step.gram[:, 1].any()
    head = model.heads[1]
    assert head.weight.grad is not None and not head.weight.grad.any()
    assert step.weights is None or close(
        grads(shared_of(model)[0]), torch.from_numpy(step.weights * [1, 0, 1]) @ truths("plain", 0.0, 0).rows, 1e-10
    )


@pytest.mark.parametrize("name", ["fixed", "log-pcgrad", "db-mtl"])
def test_tasks_without_heads(name: str) -> None:
    model = Plain()
    made = make_engine(model)
    engine = PackedEngine(made.layout, made.last_shared_layer, model.tape, [[], [], []], strategy=WAYS["buffer"])
    engine.step(get_method(name), forward(model))


def test_a_last_shared_layer_that_is_not_shared_is_refused() -> None:
    model = Plain()
    with pytest.raises(UsageError, match="not among the shared"):
        PackedEngine(
            Layout(*shared_of(model)),
            list(model.heads[0].parameters()),
            model.tape,
            [[], [], []],
            strategy=WAYS["buffer"],
        )


@modes
def test_methods_of_the_representation_need_one(way: str) -> None:
    model = Plain()
    with pytest.raises(UsageError, match="method mgda-ub reads the gradients of the representation"):
        make_engine(model, way).step(
            get_method("mgda-ub"), lambda number: [Forward(graph.loss) for graph in forward(model)(number)]
        )


# What is not finite


def broken(model: Plain, what: str) -> JointForward:
    """Return forwards of three tasks, of which the second has a bad loss, or a finite loss and a bad gradient."""

    def below(states: torch.Tensor, pack: Pack) -> torch.Tensor:
        first, last = pack.token_ranges[1]
        zeros = (states[first:last] * 0.0).sqrt()  # its gradient is ∞ · 0
        return torch.cat([states[:first], states[first:last] + zeros, states[last:]])

    def run(number: int, recompute: bool = False) -> list[Forward]:
        graphs = forward(model)(number)
        features = graphs[1].representation[0]
        bad = {
            "nan": graphs[1].loss * torch.nan,
            "inf": graphs[1].loss + torch.inf,
            "nan gradient": graphs[1].loss + (features * 0.0).sum().sqrt(),
            "infinite gradient": graphs[1].loss + (features[0, 0] - features[0, 0].detach()).sqrt(),
            "below": graphs[1].loss,
        }
        graphs[1] = Forward(bad[what], graphs[1].representation)
        return graphs

    if what == "below":
        model.between = below
    return run


@methods
@modes
@pytest.mark.parametrize("what", ["nan", "inf"])
def test_a_loss_that_is_not_finite_names_the_task(what: str, name: str, way: str) -> None:
    model = Plain()
    engine = make_engine(model, way)
    good, bad = forward(model), broken(model, what)
    with pytest.raises(NotFinite, match=f"loss of task 1 is {what}") as caught:
        engine.step(get_method(name), lambda number, **_: good(number) if number else bad(number))
    assert (caught.value.task, caught.value.what) == (1, "loss")


@methods
@modes
@pytest.mark.parametrize(
    ("what", "option"),
    [("nan gradient", ""), ("infinite gradient", ""), ("below", ""), ("below", "measure"), ("below", "match_sum")],
)
def test_a_gradient_that_is_not_finite_names_the_task(what: str, option: str, name: str, way: str) -> None:
    model = Plain()
    engine = make_engine(model, way, match_sum=option == "match_sum")
    good, bad = forward(model), broken(model, what)
    with pytest.raises(NotFinite, match=r"gradient of task 1 is (nan|inf)") as caught:
        engine.step(
            get_method(name),
            lambda number, **_: good(number) if number and what != "below" else bad(number),
            measure=option == "measure",
        )
    assert (caught.value.task, caught.value.what) == (1, "gradient")


@modes
def test_a_step_after_a_bad_one_is_right(way: str) -> None:
    model = Plain()
    engine = make_engine(model, way)
    for name in ("sum", "pcgrad", "graddrop"):
        with pytest.raises(NotFinite):
            engine.step(get_method(name), broken(model, "nan gradient"))
        step = engine.step(get_method("pcgrad"), forward(model, 1))
        true = truths("plain", 0.0, 1)
        assert close(grads(shared_of(model)[0]), torch.from_numpy(step.weights) @ true.rows, 1e-10)


def test_an_infinite_gradient_beside_one_of_zero() -> None:
    """0 · ∞ in the bounds of the Gram matrix is no news."""
    model = Plain()

    def run(number: int) -> list[Forward]:
        graphs = broken(model, "infinite gradient")(number)
        graphs[0] = Forward((model.heads[0].bias ** 2).sum())
        return graphs

    with pytest.raises(NotFinite, match="gradient of task 1"):
        make_engine(model, "lean").step(get_method("pcgrad"), run)
