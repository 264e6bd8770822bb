"""Training: pairing, determinism, what is measured and what is recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.errors import CellError
from mtlbench.method import Method, Observation, Vector
from mtlbench.plan import Workload
from mtlbench.registry import load_registry
from mtlbench.train import Outcome, dropout_seed, train

Make = Callable[..., Workload]


@dataclass
class SumInDisguise(Method):
    """The sum, through the path of methods that read gradients."""

    name = "sum-in-disguise"

    def weights(self, seen: Observation) -> Vector:
        return np.ones(seen.tasks)


def run(workload: Workload, method: Method | str, seed: int = 0) -> Outcome:
    outcome = Outcome()
    made = load_registry().method(method) if isinstance(method, str) else method
    train(workload, made, seed, outcome, lambda done, total: None)
    return outcome


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("seconds", "elapsed")} for row in history]


@pytest.fixture(scope="module")
def plain_sum(make_workload: Make) -> Outcome:
    return run(make_workload(), "sum")


def test_methods_that_are_the_same_in_disguise_have_bit_identical_histories(
    make_workload: Make, plain_sum: Outcome
) -> None:
    disguised = run(make_workload(), SumInDisguise())
    assert untimed(disguised.history) == untimed(plain_sum.history)
    assert disguised.scores == plain_sum.scores
    assert disguised.pairing == plain_sum.pairing


def test_the_same_cell_twice_is_bit_identical(make_workload: Make) -> None:
    first, second = run(make_workload(), "pcgrad", seed=3), run(make_workload(), "pcgrad", seed=3)
    assert untimed(first.history) == untimed(second.history)
    assert all(np.array_equal(first.outputs[task], second.outputs[task]) for task in first.outputs)


def test_measuring_more_often_changes_nothing_else(make_workload: Make, plain_sum: Outcome) -> None:
    always = run(make_workload(measure_every=1), "sum")
    assert always.scores == plain_sum.scores
    assert [row["losses"] for row in always.history if "losses" in row] == [
        row["losses"] for row in plain_sum.history if "losses" in row
    ]


def test_every_method_of_a_seed_has_the_same_pairing_hashes(make_workload: Make, plain_sum: Outcome) -> None:
    for method in ("stl", "pcgrad", "mgda"):
        assert run(make_workload(), method).pairing == plain_sum.pairing


def test_other_seeds_have_other_heads_batches_and_masks_but_the_same_encoder(
    make_workload: Make, plain_sum: Outcome
) -> None:
    other = run(make_workload(), "sum", seed=1).pairing
    for part in ("heads", "schedule", "dropout"):
        assert all(other[part][task] != plain_sum.pairing[part][task] for task in ("mood", "same", "like"))


def test_a_task_keeps_its_schedule_and_masks_when_others_are_left_out(make_workload: Make, plain_sum: Outcome) -> None:
    alone = run(make_workload(tasks=make_workload().recipe.tasks[1:2]), "sum").pairing
    for part in ("heads", "schedule", "dropout"):
        assert alone[part] == {"same": plain_sum.pairing[part]["same"]}


def test_the_first_losses_are_equal_between_methods(make_workload: Make, plain_sum: Outcome) -> None:
    single = run(make_workload(), "stl")
    assert single.history[0]["losses"] == plain_sum.history[0]["losses"]
    assert single.history[1]["losses"] != plain_sum.history[1]["losses"]


def test_history_has_every_step_and_evaluation(make_workload: Make, plain_sum: Outcome) -> None:
    steps = [row for row in plain_sum.history if "losses" in row]
    evaluations = [row for row in plain_sum.history if "scores" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert [row["step"] for row in evaluations] == [2, 4]
    assert [row["step"] for row in steps if "cosines" in row] == [2, 4]
    assert set(steps[1]["cosines"]) == {"mood|same", "mood|like", "same|like"}
    assert evaluations[-1]["scores"] == plain_sum.scores
    assert plain_sum.conflict is not None
    assert 0.0 <= plain_sum.conflict["share"] <= 1.0
    assert plain_sum.cost["seconds_per_step"] is not None and plain_sum.cost["peak_memory_bytes"] is not None


def test_single_task_training_has_no_conflict_and_one_model_a_task(make_workload: Make) -> None:
    outcome = run(make_workload(), "stl")
    assert outcome.conflict is None
    assert set(outcome.scores) == {"mood", "same", "like"}
    assert all(set(row["losses"]) == {"mood", "same", "like"} for row in outcome.history if "losses" in row)


def test_frozen_encoder_trains_heads_only(make_workload: Make, tiny_bert: Path) -> None:
    outcome = run(make_workload(model=f"{tiny_bert}[layers=1,frozen=true]"), "pcgrad")
    assert outcome.size["trainable"] == 32 * 32 + 32


def test_pairs_can_be_encoded_apart_and_texts_pooled_by_mean(
    make_workload: Make, tiny_bert: Path, plain_sum: Outcome
) -> None:
    apart = run(make_workload(model=f"{tiny_bert}[layers=1,pairs=apart,pooling=mean]"), "sum")
    assert apart.pairing["dropout"]["same"] != plain_sum.pairing["dropout"]["same"]


def test_random_weights_come_from_the_seed(make_workload: Make, tiny_bert: Path) -> None:
    workload = make_workload(model=f"{tiny_bert}[layers=1,init=random]", steps=1, evaluations=1)
    first, again, other = run(workload, "sum", 0), run(workload, "sum", 0), run(workload, "sum", 1)
    assert first.pairing["shared"] == again.pairing["shared"] != other.pairing["shared"]


def test_a_loss_that_is_nan_names_step_and_task(make_workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = make_workload()
    broken = copy.copy(workload.tasks[1])
    calls = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return outputs.sum() * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(broken, "loss", loss)
    object.__setattr__(workload, "tasks", (workload.tasks[0], broken, workload.tasks[2]))
    outcome = Outcome()
    with pytest.raises(CellError, match="step 3: the loss of task same is nan") as caught:
        train(workload, load_registry().method("pcgrad"), 0, outcome, lambda done, total: None)
    assert (caught.value.step, caught.value.task) == (3, "same")
    assert [row["step"] for row in outcome.history if "losses" in row] == [1, 2]


def test_training_leaves_the_global_generator_alone(make_workload: Make) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    run(make_workload(steps=1, evaluations=1), "sum")
    assert torch.equal(torch.rand(3), expected)


def test_dropout_seed_depends_on_seed_step_and_task() -> None:
    def draw(*key: Any) -> list[float]:
        with dropout_seed(*key, "cpu"):
            values: list[float] = torch.rand(2).tolist()
            return values

    assert draw(0, 0, "a") == draw(0, 0, "a")
    assert len({tuple(draw(*key)) for key in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]}) == 4
