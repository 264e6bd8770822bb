"""Half precision in forward and backward: gradients, loss scaling, and steps that overflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import get_method
from mtlbench.contract.method import Method, Reads
from mtlbench.contract.observation import Observation, Vector
from mtlbench.engine.scaling import MOST_SKIPPED, LossScale
from mtlbench.engine.step import Step
from mtlbench.errors import CellError
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.text import engines
from mtlbench.text.batches import TaskData
from mtlbench.text.engines import make_engine
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.tokens import Tokenizer
from mtlbench.training.result import CellResult
from mtlbench.training.train import Training, train

Make = Callable[..., Workload]

CLOSE = {"bfloat16": 0.02, "float16": 0.004}

halves = pytest.mark.parametrize("precision", list(CLOSE))


def run(workload: Workload, method: Method | str) -> CellResult:
    made = load_registry().method(method) if isinstance(method, str) else method
    return train(workload, made, 0)


def steps_of(outcome: CellResult) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key != "seconds"} for row in outcome.history if "losses" in row
    ]


def one_step(workload: Workload, method: Method) -> tuple[Step, torch.Tensor, torch.Tensor, MultiTaskModel]:
    """Take one step, with its dropout; return it with the gradients of shared parameters and of heads."""
    recipe = workload.recipe
    tokenizer = Tokenizer(workload.problem.encoder, workload.problem.files, recipe.max_length)
    sizes: dict[str, Any] = {"sizes": np.full(1, recipe.batch_size), "batches": method.batches}
    data = [
        TaskData.prepare(task, splits, tokenizer, seed=0, device="cpu", **sizes)
        for task, splits in zip(workload.tasks, workload.problem.splits, strict=True)
    ]
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, list(workload.tasks), 0).train()
    inputs = Inputs(model, data, 0, "cpu", precision=recipe.precision, parts=recipe.accumulate)
    taken = make_engine(model, inputs, recipe).step(method, 0, measure=True)
    actual = [
        torch.cat([parameter.grad.flatten() for parameter in group if parameter.grad is not None])
        for group in (model.shared, model.heads.parameters())
    ]
    return taken, actual[0], actual[1], model


# Gradients


KINDS = ("sum", "fixed[w=1:2:0.5]", "famo", "mgda-ub", "pcgrad", "gradnorm", "graddrop", "log-pcgrad")

EXACT: dict[str, tuple[Step, torch.Tensor, torch.Tensor, MultiTaskModel]] = {}


@halves
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, "packed") for name in KINDS),
        *((name, "lean") for name in ("fixed[w=1:2:0.5]", "pcgrad", "gradnorm")),
        *((name, "loop") for name in ("famo", "mgda-ub", "pcgrad")),
    ],
)
def test_updates_are_close_to_those_of_single_precision(
    make_workload: Make, precision: str, engine: str, name: str
) -> None:
    """Dropout masks included, which no precision changes."""
    if name not in EXACT:
        EXACT[name] = one_step(make_workload(batch_size=8), get_method(name))
    exact, shared, heads, _ = EXACT[name]
    taken, half, half_heads, model = one_step(
        make_workload(batch_size=8, engine=engine, precision=precision), get_method(name)
    )
    weights = None if taken.weights is None or exact.weights is None else (taken.weights, exact.weights)
    spread = 0.0 if weights is None else float(np.abs(weights[0] - weights[1]).max() / np.abs(weights[1]).max())
    limit = CLOSE[precision]
    if name == "graddrop":  # its signs are drawn: a small change may turn some
        turned = (half - shared).abs() > 0.3 * shared.abs().mean()
        assert float(turned.float().mean()) < 0.005
        half, shared = half.masked_fill(turned, 0.0), shared.masked_fill(turned, 0.0)
    limit += 2.0 * spread  # a weight that moved moves the update
    assert spread < 0.05
    assert half.dtype == torch.float32 and all(p.dtype == torch.float32 for p in model.parameters())
    assert float((half - shared).norm() / shared.norm()) < limit
    assert float((half_heads - heads).norm() / heads.norm()) < limit
    assert float((half - shared).norm()) > 0.0
    np.testing.assert_allclose(taken.losses, exact.losses, rtol=CLOSE[precision])
    if taken.gram is not None and exact.gram is not None:
        lengths = np.sqrt(np.diagonal(exact.gram))
        assert (np.abs(taken.gram - exact.gram) < 2.0 * CLOSE[precision] * np.outer(lengths, lengths)).all()


@halves
def test_packed_and_lean_find_the_same_inner_products(make_workload: Make, precision: str) -> None:
    grams = [
        one_step(make_workload(batch_size=8, engine=engine, precision=precision), get_method("pcgrad"))[0].gram
        for engine in ("packed", "lean")
    ]
    assert grams[0] is not None and grams[1] is not None
    lengths = np.sqrt(np.diagonal(grams[0]))
    assert (np.abs(grams[0] - grams[1]) < 0.1 * CLOSE[precision] * np.outer(lengths, lengths)).all()


# Training


@pytest.mark.parametrize(
    ("method", "precision", "options"),
    [
        ("pcgrad", "bfloat16", {"update_norm": "sum"}),
        ("pcgrad", "float16", {"update_norm": "sum"}),
        ("cagrad", "float16", {"engine": "lean"}),
        ("graddrop", "float16", {"accumulate": 2}),
        ("uw", "bfloat16", {"checkpointing": True}),
        ("nash-mtl", "float16", {"engine": "loop"}),
        ("famo", "float16", {}),
        ("sdmgrad", "bfloat16", {"accumulate": 2}),
        ("stl", "bfloat16", {}),
    ],
)
def test_training_gives_the_same_bits_every_time(
    make_workload: Make, method: str, precision: str, options: dict[str, Any]
) -> None:
    workload = make_workload(precision=precision, steps=3, evaluations=1, **options)
    one, other = run(workload, method), run(workload, method)
    assert steps_of(one) == steps_of(other) and one.scores == other.scores
    assert all(np.isfinite(list(row["losses"].values())).all() for row in steps_of(one))
    assert [row.get("skipped", False) for row in steps_of(one)].count(True) <= (1 if precision == "float16" else 0)
    assert all(np.isfinite(list(row["norms"].values())).all() for row in steps_of(one) if "norms" in row)


@halves
def test_recomputed_activations_give_the_same_bits(make_workload: Make, precision: str) -> None:
    usual, saved = (run(make_workload(precision=precision, checkpointing=each), "pcgrad") for each in (False, True))
    assert steps_of(saved) == steps_of(usual)


def test_precision_belongs_to_the_key_and_single_is_no_news(make_workload: Make) -> None:
    named = {"precision": "float32", "accumulate": 1, "checkpointing": False}
    assert make_workload(**named).identity() == make_workload().identity()
    for changed in ({"precision": "bfloat16"}, {"accumulate": 2}, {"checkpointing": True}):
        assert make_workload(**changed).identity() != make_workload().identity()


@dataclass
class Counting(Method):
    """Counts its calls in its state, and weights by it."""

    name = "counting"
    reads: Reads = "losses"
    calls: int = field(default=0, init=False)
    seen: list[int] = field(default_factory=list, init=False)

    @property
    def reads_losses(self) -> Any:
        return "any"

    def weights(self, seen: Observation) -> Vector:
        self.calls += 1
        self.seen.append(self.calls)
        return np.full(seen.tasks, 1.0 / self.calls) * self.generator.uniform(0.5, 1.0)


@pytest.mark.parametrize(
    ("engine", "reads"),
    [
        *(("packed", "losses"), ("packed", "gram"), ("packed", "gradients")),
        *(("lean", "gram"), ("loop", "losses"), ("loop", "gram")),
    ],
)
def test_a_step_that_overflows_changes_nothing_but_the_scale(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch, engine: str, reads: Reads
) -> None:
    monkeypatch.setattr(engines, "LossScale", lambda: LossScale(2.0**20))
    method = Counting(reads=reads)
    workload = make_workload(precision="float16", engine=engine, steps=9, evaluations=1)
    rows = steps_of(run(workload, method))
    skipped = [row.get("skipped", False) for row in rows]
    assert skipped[0] and not all(skipped)
    assert all("weights" not in row and "norms" not in row for row in rows if "skipped" in row)
    assert all(np.isfinite(list(row["losses"].values())).all() for row in rows)
    assert method.calls == skipped.count(False)
    assert method.seen == list(range(1, method.calls + 1))
    untouched = Counting(reads=reads)
    reference = [untouched.weights(Observation(losses=np.ones(3)))[0] for _ in range(method.calls)]
    assert [row["weights"]["mood"] for row in rows if "weights" in row] == reference


def test_the_parameters_stay_while_steps_are_skipped(make_workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LossScale", lambda: LossScale(2.0**120))
    workload = make_workload(precision="float16", steps=30, evaluations=1)
    training = Training(workload, get_method("pcgrad"), 0)
    with pytest.raises(CellError, match=r"^step 21: gradients overflowed float16 21 steps in a row"):
        list(training.run())
    outcome = training.result()
    assert [row["skipped"] for row in outcome.history] == [True] * MOST_SKIPPED
    assert not outcome.scores


def test_single_task_training_notes_a_step_that_some_model_skipped(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LossScale", lambda: LossScale(2.0**20))
    rows = steps_of(run(make_workload(precision="float16", steps=8, evaluations=1), "stl"))
    assert rows[0]["skipped"] is True and not all("skipped" in row for row in rows)


def test_a_loss_that_is_nan_is_no_overflow(make_workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = make_workload(precision="float16")
    monkeypatch.setattr(workload.tasks[0], "loss", lambda outputs, targets: outputs.sum() * float("nan"))
    with pytest.raises(CellError, match="step 1: the loss of task mood is nan"):
        run(workload, "pcgrad")
