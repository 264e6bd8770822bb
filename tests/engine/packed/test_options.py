"""Options of a step that must not change it (parts of a batch, recomputation), and errors that name their cause."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, WAYS, Encoded, Model, Plain, grads, make_engine, sequences, shared_of

from mtlbench import get_method
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Observation, Vector
from mtlbench.engine.loop import LoopEngine, TaskLoss
from mtlbench.engine.packed.layers import Recomputation
from mtlbench.engine.packed.pack import Pack, Sequences
from mtlbench.engine.packed.packed_engine import PackedEngine
from mtlbench.engine.step import Forward, NotFinite, Step
from mtlbench.errors import CellError, UsageError
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

Make = Callable[..., Workload]
LENGTHS = ([3, 5, 1, 8, 2, 2], [7, 1, 4, 4, 6, 9], [2, 3, 12, 1, 1, 5])


def batch(task: int, number: int, part: int = 0, parts: int = 1) -> Sequences:
    """Return a task's batch of six sequences, or one of its equal parts; the tokens are the same either way."""
    whole = sequences(LENGTHS[task], 10 * number + task)
    size = len(whole.lengths) // parts
    ends = np.concatenate([[0], np.cumsum(whole.lengths)])[[part * size, (part + 1) * size]]
    tokens, rows = slice(*ends), slice(part * size, (part + 1) * size)
    return Sequences(whole.ids[tokens], whole.kinds[tokens], whole.lengths[rows])


def step(model: Model, engine: PackedEngine, method: Method, *, measure: bool = False, parts: int = 1) -> Step:
    def forward(number: int, part: int = 0, tasks: Sequence[int] = range(3), recompute: bool = False) -> list[Forward]:
        return model.forwards(Pack.of([batch(task, number, part, parts) for task in tasks], "cpu"), tasks)

    return engine.step(method, forward, measure=measure)


def everything(model: Model) -> torch.Tensor:
    """Return the gradients of shared parameters and heads."""
    return grads([*shared_of(model)[0], *model.heads.parameters()])


def run(workload: Workload, method: Method | str) -> CellResult:
    made = load_registry().method(method) if isinstance(method, str) else method
    return train(workload, made, 0)


def losses_of(outcome: CellResult) -> list[dict[str, float]]:
    return [row["losses"] for row in outcome.history if "losses" in row]


# Batches in parts

EVERY_KIND = (
    *("sum", "fixed[w=1:2:0.5]", "rlw", "famo", "uw", "gls", "pcgrad", "mgda", "gradnorm[lr=0.2]", "mgda-ub"),
    *("graddrop", "db-mtl", "moco", "sdmgrad", "log-pcgrad"),
)


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("parts", [2, 3])
def test_a_step_in_parts_is_the_whole_batchs_step(name: str, parts: int) -> None:
    for options in ({}, {"match_sum": True}):
        whole, pieces = Plain(), Plain()
        one, other = make_engine(whole, **options), make_engine(pieces, parts=parts, **options)
        method, same = get_method(name), get_method(name)
        for number in range(3):  # buffers are used again; the second step is measured
            measure = number == 1
            reference = step(whole, one, method, measure=measure)
            actual = step(pieces, other, same, measure=measure, parts=parts)
            for each, taken in ((method, reference), (same, actual)):
                if each.reads_after:
                    each.after_step(np.array([0.9, 0.8, 0.5]) * taken.losses)
            torch.testing.assert_close(everything(pieces), everything(whole), rtol=1e-8, atol=1e-11)
            np.testing.assert_allclose(actual.losses, reference.losses, rtol=1e-12)
            if reference.weights is not None and actual.weights is not None:
                np.testing.assert_allclose(actual.weights, reference.weights, rtol=1e-7)
            if measure and reference.gram is not None and actual.gram is not None:
                np.testing.assert_allclose(actual.gram, reference.gram, rtol=1e-9)


@pytest.mark.parametrize("name", ["sum", "pcgrad", "famo"])
def test_a_step_of_a_whole_encoder_in_parts_is_the_whole_batchs_step(name: str) -> None:
    whole, pieces = Encoded("bert").pack_attention(), Encoded("bert").pack_attention()
    step(whole, make_engine(whole), get_method(name))
    step(pieces, make_engine(pieces, parts=3), get_method(name), parts=3)
    torch.testing.assert_close(everything(pieces), everything(whole), rtol=1e-8, atol=1e-11)


def test_parts_have_masks_of_their_own_and_one_part_has_those_without_the_option(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    of = Pack.of

    def watched(batches: Sequence[Sequences], device: str, seeds: tuple[int, ...] | None = None) -> Pack:
        if seeds is not None:
            seen.append(seeds)
        return of(batches, device, seeds)

    monkeypatch.setattr(Pack, "of", watched)
    run(make_workload(steps=1, evaluations=1), "sum")
    plain, seen[:] = set(seen[-1]), []
    run(make_workload(steps=1, evaluations=1, accumulate=2), "sum")
    first, second = set(seen[-2]), set(seen[-1])
    assert len(plain | first | second) == 3 * len(plain)


@pytest.mark.parametrize("method", ["pcgrad", "famo", "sdmgrad"])
def test_training_in_parts_gives_the_same_bits_every_time(make_workload: Make, method: str) -> None:
    workload = make_workload(accumulate=2, steps=3, evaluations=1)
    assert losses_of(run(workload, method)) == losses_of(run(workload, method))


@pytest.mark.parametrize("method", ["sum", "famo", "pcgrad", "gradnorm"])
def test_measuring_changes_no_bit_of_a_step_in_parts(make_workload: Make, method: str) -> None:
    changes = {"accumulate": 2, "steps": 3, "evaluations": 1}
    never, always = (run(make_workload(measure_every=every, **changes), method) for every in (9, 1))
    assert losses_of(always) == losses_of(never) and always.scores == never.scores
    assert all("norms" in row for row in always.history if "losses" in row)


def test_what_cannot_be_taken_in_parts_is_said_in_one_line(make_workload: Make, suite_file: Any) -> None:
    suite = load_suite(str(suite_file))
    with pytest.raises(UsageError, match=r"^option accumulate=3 does not divide batch_size=4$"):
        suite.recipe({"accumulate": 3})
    with pytest.raises(UsageError, match=r"engine=lean keeps all rows .* accumulate=2 needs engine=packed"):
        suite.recipe({"accumulate": 2, "engine": "lean"})
    with pytest.raises(CellError, match=r"accumulate needs the packed engine, not the loop \(asked for\)"):
        run(make_workload(accumulate=2, engine="loop"), "sum")


# Recomputation


@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
@pytest.mark.parametrize("method", ["sum", "pcgrad", "famo"])
def test_recomputed_activations_give_the_same_bits(make_workload: Make, engine: str, method: str) -> None:
    """With the dropout of the tiny encoder; in the loop all tasks' graphs are alive, each with a pack of its own."""
    changes = {"engine": engine, "steps": 3, "evaluations": 1}
    usual, saved = (run(make_workload(checkpointing=each, **changes), method) for each in (False, True))
    assert losses_of(saved) == losses_of(usual)
    assert saved.scores == usual.scores and saved.pairing == usual.pairing


@pytest.mark.parametrize("method", ["sum", "pcgrad"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_recomputed_activations_of_padded_rows_give_the_same_bits(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch, method: str, precision: str
) -> None:
    """As in an encoder that cannot be packed, whose masks come from torch's own generator."""
    monkeypatch.setattr("mtlbench.text.model.FAMILIES", {})
    changes = {"precision": precision, "steps": 2, "evaluations": 1}
    usual, saved = (run(make_workload(checkpointing=each, **changes), method) for each in (False, True))
    assert usual.engine["name"] == "loop"
    assert losses_of(saved) == losses_of(usual)


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputation_keeps_less_between_forward_and_backward(family: str) -> None:
    kept, updates = {}, []
    for recomputed in (False, True):
        model = Encoded(family, dropout=0.1).pack_attention().train()
        engine = make_engine(model)
        if recomputed:
            Recomputation(model.encoder, model.tape).switch(True)
        storages: dict[int, int] = {}

        def keep(tensor: torch.Tensor, storages: dict[int, int] = storages) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        pack = Pack.of([batch(task, 0) for task in range(3)], "cpu", (1, 2, 3))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            graphs = model.forwards(pack, range(3))
        kept[recomputed] = sum(storages.values())
        engine.step(get_method("pcgrad"), lambda number, graphs=graphs: graphs)
        updates.append(everything(model))
    assert torch.equal(*updates)
    assert kept[True] < 0.5 * kept[False]


def test_an_encoder_without_such_layers_is_refused() -> None:
    model = Plain()
    with pytest.raises(CellError, match="checkpointing is not possible"):
        Recomputation(model, model.tape)


# Errors


def spoil(model: Plain, task: int) -> None:
    """Make one task's gradients of the embeddings' norm, and of all below it, NaN."""

    def between(pack: Pack) -> Callable[[torch.Tensor], torch.Tensor]:
        first, last = pack.token_ranges[task] if pack.count > 1 else (0, len(pack.ids))

        def hook(gradient: torch.Tensor) -> torch.Tensor:
            gradient = gradient.clone()
            gradient[first:last] = float("nan")
            return gradient

        return hook

    def watched(states: torch.Tensor, pack: Pack) -> torch.Tensor:
        states.register_hook(between(pack))
        return states

    model.between = watched
    model.words.requires_grad_(False)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("name", ["sum", "fixed[w=1:2:0.5]", "mgda-ub", "pcgrad", "gradnorm", "graddrop", "sdmgrad"])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_task_and_the_first_parameter_are_named(name: str, way: str, parts: int) -> None:
    model = Plain()
    spoil(model, task=1)
    with pytest.raises(NotFinite) as caught:
        step(model, make_engine(model, way, parts=parts), get_method(name), parts=parts)
    assert (caught.value.task, caught.value.what, caught.value.parameter) == (1, "gradient", "positions.weight")
    assert caught.value.about("qqp") == "the gradient of task qqp is nan, first in positions.weight"


@pytest.mark.parametrize("name", ["sum", "pcgrad", "graddrop"])
@pytest.mark.parametrize("named", [False, True])
def test_the_loop_names_them_too_where_it_has_names(name: str, named: bool) -> None:
    model = Plain()
    names = list(model.named_parameters()) if named else []
    engine = LoopEngine(shared_of(model)[0], list(model.last.parameters()), names=names)

    def forward(task: int) -> Forward:
        (graph,) = model.forwards(Pack.of([batch(task, 0)], "cpu"), [task])
        return Forward(graph.loss * float("inf") * 0.0 if task == 2 else graph.loss)

    def broken(task: int) -> Forward:
        loss = forward(task).loss
        return Forward(loss if task != 2 else nan_gradient(model.second.weight, loss))

    def nan_gradient(weight: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        (graph,) = model.forwards(Pack.of([batch(2, 0)], "cpu"), [2])
        return graph.loss + torch.sqrt(0.0 * weight.sum())  # 0, with the gradient ∞ · 0

    tasks = [
        TaskLoss(lambda number, task=task: broken(task), list(head.parameters()))  # type: ignore[misc]
        for task, head in enumerate(model.heads)
    ]
    with pytest.raises(NotFinite) as caught:
        engine.step(get_method(name), tasks)
    assert (caught.value.task, caught.value.parameter) == (2, "second.weight" if named else None)


@pytest.mark.parametrize("name", ["sum", "pcgrad", "graddrop"])
def test_a_head_is_named(name: str) -> None:
    model = Plain()
    model.heads[2].weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NotFinite, match=r"task 2 .*, first in heads\.2\.weight"):
        step(model, make_engine(model), get_method(name))


@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
def test_a_cell_names_step_task_and_parameter(make_workload: Make, engine: str) -> None:
    workload = make_workload(engine=engine)
    broken = copy.copy(workload.tasks[1])
    usual = broken.loss
    broken.loss = lambda outputs, targets: usual(outputs, targets) + torch.sqrt(0.0 * outputs.sum())  # type: ignore
    object.__setattr__(workload.problem, "tasks", (workload.tasks[0], broken, workload.tasks[2]))
    with pytest.raises(CellError, match=r"^step 1: the gradient of task same is nan, first in encoder\.embeddings\."):
        run(workload, "pcgrad")


class Hungry(Method):
    """Asks for memory in several ways."""

    name = "hungry"
    reads = "losses"

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__()
        self.ask = ask

    def weights(self, seen: Observation) -> Vector:
        self.ask()
        return np.ones(seen.tasks)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda: torch.empty(10**15), r"you tried to allocate 4000000000000000 bytes.*"),
        (lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")), r"CUDA .* 2 GiB"),
        (lambda: _raise(MemoryError()), r"MemoryError"),
    ],
)
def test_a_lack_of_memory_says_what_helps(make_workload: Make, ask: Callable[[], object], reason: str) -> None:
    advice = r"\): try engine=lean, --accumulate, or a smaller --batch-size$"
    with pytest.raises(CellError, match=rf"^step 1: out of memory \(.*{reason}{advice}") as caught:
        run(make_workload(), Hungry(ask))
    assert caught.value.step == 1 and "\n" not in str(caught.value)


def test_a_lack_of_memory_in_evaluation_says_where(make_workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlbench.text.session.evaluate", lambda *_: _raise(MemoryError("full")))
    with pytest.raises(CellError, match=r"^evaluation after step 2: out of memory \(full\)"):
        run(make_workload(), "sum")


@pytest.mark.parametrize("error", [RuntimeError("no weights today"), KeyError("a"), OSError(5, "Input/output error")])
def test_other_errors_name_the_method_and_stay_the_cause(make_workload: Make, error: Exception) -> None:
    words = rf"^step 1: method {Hungry.name}: weights\(\) raised {type(error).__name__}: "
    with pytest.raises(CellError, match=words) as caught:
        run(make_workload(), Hungry(lambda: _raise(error)))
    assert caught.value.step == 1 and caught.value.__cause__ is error
