"""Training: pairing, determinism, what is measured and what is recorded."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch

from mtlbench.contract.method import Method, Reads
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError
from mtlbench.execute.worker import save
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.schedule import batch_schedule
from mtlbench.records.header import header
from mtlbench.records.store import Store
from mtlbench.text.batches import TaskData
from mtlbench.text.inputs import Inputs
from mtlbench.training.result import CellProgress, CellResult
from mtlbench.training.step_effect import Probe
from mtlbench.training.train import Training, train

Make = Callable[..., Workload]


@dataclass
class SumInDisguise(Method):
    """The sum, through the path of methods that read gradients."""

    name = "sum-in-disguise"

    def weights(self, seen: Observation) -> Vector:
        return np.ones(seen.tasks)


def run(workload: Workload, method: Method | str, seed: int = 0) -> CellResult:
    made = load_registry().method(method) if isinstance(method, str) else method
    return train(workload, made, seed)


def numbers(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return every number of a history but times, by its place."""
    return dict(_numbers("", untimed(history)))


def _numbers(place: str, value: Any) -> Iterator[tuple[str, float]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _numbers(f"{place}/{name}", part)
    if isinstance(value, int | float):
        yield place, float(value)


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("seconds", "elapsed")} for row in history]


@pytest.fixture(scope="module")
def plain_sum(make_workload: Make) -> CellResult:
    return run(make_workload(), "sum")


@pytest.fixture(scope="module")
def looped_sum(make_workload: Make) -> CellResult:
    return run(make_workload(engine="loop"), "sum")


def test_methods_that_are_the_same_in_disguise_have_bit_identical_histories(
    make_workload: Make, looped_sum: CellResult
) -> None:
    disguised = run(make_workload(engine="loop"), SumInDisguise())
    assert untimed(disguised.history) == untimed(looped_sum.history)
    assert disguised.scores == looped_sum.scores
    assert disguised.pairing == looped_sum.pairing


@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
def test_the_same_cell_twice_is_bit_identical(make_workload: Make, engine: str) -> None:
    first, second = (run(make_workload(engine=engine), "pcgrad", seed=3) for _ in range(2))
    assert untimed(first.history) == untimed(second.history)
    assert all(np.array_equal(first.outputs["dev"][task], second.outputs["dev"][task]) for task in first.outputs["dev"])


@pytest.mark.parametrize("method", ["sum", "stl", "pcgrad", "mgda", "graddrop", "gradnorm"])
def test_engines_train_alike(make_workload: Make, method: str) -> None:
    """Four steps with dropout: the losses, weights, norms and scores are those of any other engine."""
    engines = ("packed", "lean", "loop")
    made = {engine: run(make_workload(engine=engine, steps=4, measure_every=1), method) for engine in engines}
    expected = numbers(made["loop"].history)
    assert len(expected) > 4 * 6
    for engine in ("packed", "lean"):
        found = numbers(made[engine].history)
        for place, value in expected.items():
            # correlations with outputs that hardly differ yet lose digits, and two of these may swap their ranks
            rel, least = (1e-3 if "pearson" in place else 1e-4), (0.01 if "spearman" in place else 1e-5)
            assert found.pop(place) == pytest.approx(value, rel=rel, abs=least), place
        for task, outputs in made["loop"].outputs["dev"].items():
            np.testing.assert_allclose(made[engine].outputs["dev"][task], outputs, rtol=1e-4, atol=1e-6)
        assert not found
        assert made[engine].pairing == made["loop"].pairing


def test_the_record_names_the_engine_and_what_was_cut(make_workload: Make, tmp_path: Path) -> None:
    for engine, expected in (
        ("auto", {"name": "lean", "reason": None}),  # so few tokens, in so small a model
        ("packed", {"name": "packed", "reason": None}),
        ("lean", {"name": "lean", "reason": None}),
        ("loop", {"name": "loop", "reason": "asked for"}),
    ):
        workload, registry = make_workload(engine=engine, steps=1, evaluations=1, max_length=8), load_registry()
        cell = make_cells(workload, [registry.method("sum")], [0])[0]
        described = header(cell, workload, registry, {})
        record = save(described, run(workload, "sum"), Store(tmp_path), CellProgress(1.0), None)
        assert record["engine"] == expected
        assert record["cut"]["mood"]["tokens"] == 8
        words = [len(texts[0].split()) for texts in workload.problem.splits[0].dev.texts]
        assert record["cut"]["mood"]["dev"] == sum(length + 2 > 8 for length in words) > 0


@pytest.fixture(scope="session")
def tiny_albert(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that cannot be packed, with the tokenizer of the tiny BERT: its layers share their weights."""
    from transformers import AlbertConfig, AlbertModel

    folder = tmp_path_factory.mktemp("albert")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tiny_bert / name, folder)
    config = AlbertConfig(
        vocab_size=len((folder / "vocab.txt").read_text().splitlines()),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AlbertModel(config).save_pretrained(folder)
    return folder


def test_an_encoder_that_cannot_be_packed_is_looped_and_the_reason_recorded(
    make_workload: Make, tiny_albert: Path
) -> None:
    outcome = run(make_workload(model=str(tiny_albert)), "pcgrad")
    assert outcome.engine["name"] == "loop"
    assert "encoder family albert is not among bert" in str(outcome.engine["reason"])
    assert set(outcome.scores["dev"]) == {"mood", "same", "like"}


@pytest.mark.parametrize("engine", ["packed", "lean"])
def test_packing_an_encoder_that_cannot_be_packed_is_one_line(
    make_workload: Make, tiny_albert: Path, engine: str
) -> None:
    expected = rf"^engine={engine} is not possible: encoder family albert is not among .*; use engine=auto or loop$"
    with pytest.raises(CellError, match=expected):
        run(make_workload(model=str(tiny_albert), engine=engine), "pcgrad")


def test_measuring_more_often_changes_nothing_else(make_workload: Make, plain_sum: CellResult) -> None:
    always = run(make_workload(measure_every=1), "sum")
    assert always.scores == plain_sum.scores
    assert [row["losses"] for row in always.history if "losses" in row] == [
        row["losses"] for row in plain_sum.history if "losses" in row
    ]


def test_every_method_of_a_seed_has_the_same_pairing_hashes(make_workload: Make, plain_sum: CellResult) -> None:
    for method in ("stl", "pcgrad", "mgda"):
        assert run(make_workload(), method).pairing == plain_sum.pairing


def test_other_seeds_have_other_heads_batches_and_masks_but_the_same_encoder(
    make_workload: Make, plain_sum: CellResult
) -> None:
    other = run(make_workload(), "sum", seed=1).pairing
    for part in ("heads", "schedule", "dropout"):
        assert all(other[part][task] != plain_sum.pairing[part][task] for task in ("mood", "same", "like"))


def test_a_task_keeps_its_schedule_and_masks_when_others_are_left_out(
    make_workload: Make, plain_sum: CellResult
) -> None:
    alone = run(make_workload(tasks=make_workload().recipe.tasks[1:2]), "sum").pairing
    for part in ("heads", "schedule", "dropout"):
        assert alone[part] == {"same": plain_sum.pairing[part]["same"]}


def test_the_first_losses_are_equal_between_methods(make_workload: Make, plain_sum: CellResult) -> None:
    single = run(make_workload(), "stl")
    assert single.history[0]["losses"] == plain_sum.history[0]["losses"]
    assert single.history[1]["losses"] != plain_sum.history[1]["losses"]


def test_probed_steps_tell_of_the_path_and_change_nothing(make_workload: Make, plain_sum: CellResult) -> None:
    unmeasured = train(make_workload(measure_every=5), load_registry().method("sum"), 0)
    probed = [row for row in plain_sum.history if "moved" in row]
    assert [row["step"] for row in probed] == [2, 4]
    for row in probed:
        assert 0.0 < row["moved"] < row["size"]
        assert set(row["half"]) == set(row["after"]) == {"mood", "same", "like"}
        assert sum(row["after"].values()) < sum(row["half"].values()) < sum(row["losses"].values())
    assert plain_sum.scores == unmeasured.scores
    losses = [[row["losses"] for row in one.history if "losses" in row] for one in (plain_sum, unmeasured)]
    assert losses[0] == losses[1]
    assert not any("moved" in row for row in unmeasured.history)


def test_a_probe_that_fails_half_way_leaves_the_parameters_as_they_were() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    probe = Probe([parameter], [parameter])
    reached = torch.tensor([1.1, 1.9, 3.3])
    parameter.data.copy_(reached)
    calls = []

    def losses() -> Any:
        calls.append(parameter.detach().clone())
        if len(calls) == 2:
            raise RuntimeError("half-way")
        return np.zeros(1)

    with pytest.raises(RuntimeError, match="half-way"):
        probe.read(losses, None, ["a"])
    assert torch.allclose(calls[1], torch.tensor([1.05, 1.95, 3.15]))
    assert torch.equal(parameter.detach(), reached)


def test_history_has_every_step_and_evaluation(make_workload: Make, plain_sum: CellResult) -> None:
    steps = [row for row in plain_sum.history if "losses" in row]
    evaluations = [row for row in plain_sum.history if "scores" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert [row["step"] for row in evaluations] == [2, 4]
    assert [row["step"] for row in steps if "cosines" in row] == [2, 4]
    assert set(steps[1]["cosines"]) == {"mood|same", "mood|like", "same|like"}
    assert evaluations[-1]["scores"] == plain_sum.scores["dev"]
    assert plain_sum.conflict is not None
    assert 0.0 <= plain_sum.conflict["share"] <= 1.0
    assert plain_sum.cost["seconds_per_step"] is not None and plain_sum.cost["peak_memory_bytes"] is not None


def test_single_task_training_has_no_conflict_and_one_model_a_task(make_workload: Make) -> None:
    outcome = run(make_workload(), "stl")
    assert outcome.conflict is None
    assert set(outcome.scores["dev"]) == {"mood", "same", "like"}
    assert all(set(row["losses"]) == {"mood", "same", "like"} for row in outcome.history if "losses" in row)


def test_frozen_encoder_trains_heads_only(make_workload: Make, tiny_bert: Path) -> None:
    outcome = run(make_workload(model=f"{tiny_bert}[layers=1,frozen=true]"), "pcgrad")
    assert outcome.size["trainable"] == 32 * 32 + 32


def test_pairs_can_be_encoded_apart_and_texts_pooled_by_mean(
    make_workload: Make, tiny_bert: Path, plain_sum: CellResult
) -> None:
    apart = run(make_workload(model=f"{tiny_bert}[layers=1,pairs=apart,pooling=mean]"), "sum")
    assert apart.pairing["dropout"]["same"] != plain_sum.pairing["dropout"]["same"]


def test_random_weights_come_from_the_seed(make_workload: Make, tiny_bert: Path) -> None:
    workload = make_workload(model=f"{tiny_bert}[layers=1,init=random]", steps=1, evaluations=1)
    first, again, other = run(workload, "sum", 0), run(workload, "sum", 0), run(workload, "sum", 1)
    assert first.pairing["shared"] == again.pairing["shared"] != other.pairing["shared"]


def test_a_loss_that_is_nan_names_step_and_task(make_workload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = make_workload(measure_every=5)  # no step is probed
    broken = copy.copy(workload.tasks[1])
    calls = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return outputs.sum() * (float("nan") if len(calls) == 1 + 3 else 1.0)  # the pairing's, and step 3's

    monkeypatch.setattr(broken, "loss", loss)
    object.__setattr__(workload.problem, "tasks", (workload.tasks[0], broken, workload.tasks[2]))
    training = Training(workload, load_registry().method("pcgrad"), 0)
    with pytest.raises(CellError, match="step 3: the loss of task same is nan") as caught:
        list(training.run())
    outcome = training.result()
    assert (caught.value.step, caught.value.task) == (3, "same")
    assert [row["step"] for row in outcome.history if "losses" in row] == [1, 2]


def test_training_leaves_the_global_generator_alone(make_workload: Make) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    run(make_workload(steps=1, evaluations=1), "sum")
    assert torch.equal(torch.rand(3), expected)


def test_masks_depend_on_seed_step_task_and_batch_alone(
    make_workload: Make, masks: dict[tuple[int, tuple[str, ...]], list[tuple[int, ...]]]
) -> None:
    for seed, engine in ((0, "packed"), (1, "packed"), (0, "loop")):
        run(make_workload(engine=engine, steps=2, evaluations=1), TwoMore(), seed)
    together = [number for seeds in masks[0, ("mood", "same", "like")] for number in seeds]
    assert len(together) == len(set(together)) == 2 * 3 * 3  # two steps of three batches of three tasks
    alone = {number for task in ("mood", "same", "like") for (number,) in masks[0, (task,)]}
    assert alone == set(together)
    assert not alone & {number for seeds in masks[1, ("mood", "same", "like")] for number in seeds}


# Methods that need more than a step's own batches, or return more than weights


@dataclass
class TwoMore(Method):
    """The sum, from a method that looks at two more batches."""

    name = "two-more"
    reads: ClassVar[Reads] = "cross_gram"
    seen: Any = field(default_factory=list, init=False)

    def weights(self, seen: Observation) -> Vector:
        self.seen.append(seen.cross_gram)
        return np.ones(seen.tasks)


@dataclass
class Listener(Method):
    """Weights shared parameters and heads alike, and keeps the losses before and after the step."""

    name = "listener"
    reads: ClassVar[Reads] = "losses"
    reads_after: ClassVar[bool] = True
    heads: ClassVar[Literal["plain", "weighted", "log"]] = "weighted"
    weight: float = 1.0
    before: Any = field(default_factory=list, init=False)
    after: Any = field(default_factory=list, init=False)

    def weights(self, seen: Observation) -> Vector:
        self.before.append(seen.losses)
        return np.full(seen.tasks, self.weight)

    def after_step(self, losses: Vector) -> None:
        self.after.append(losses)


@dataclass
class Scaled(Method):
    """A multiple of the sum of the gradients, as an update."""

    name = "scaled"
    reads: ClassVar[Reads] = "gradients"
    returns: ClassVar[Literal["weights", "update"]] = "update"
    factor: float = 1.0
    clip: float | None = None

    @property
    def clip_norm(self) -> float | None:
        return self.clip

    def update(self, seen: Observation) -> torch.Tensor:
        total = torch.zeros_like(seen.gradients[0])
        for row in seen.gradients:
            total += row
        return total * self.factor


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int, int], list[int]]:
    """Record the rows of every batch that training takes: (task, step, batch number) → row numbers."""
    found: dict[tuple[str, int, int], list[int]] = {}
    original = TaskData.batch

    def spy(self: TaskData, step: int, number: int = 0, *part: int) -> Any:
        found[self.task.key, step, number] = self.rows(step, number).tolist()
        return original(self, step, number, *part)

    monkeypatch.setattr(TaskData, "batch", spy)
    return found


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, tuple[str, ...]], list[tuple[int, ...]]]:
    """Record the seeds of the masks of every pack that is made for a step: (seed, tasks) → seeds, each once."""
    found: dict[tuple[int, tuple[str, ...]], list[tuple[int, ...]]] = {}
    original = Inputs._packed

    def spy(self: Inputs, step: int, number: int, tasks: tuple[int, ...], part: int) -> Any:
        pack, targets = original(self, step, number, tasks, part)
        assert pack.seeds is not None
        known = found.setdefault((self.seed, tuple(self.data[task].task.key for task in tasks)), [])
        if pack.seeds not in known:
            known.append(pack.seeds)
        return pack, targets

    monkeypatch.setattr(Inputs, "_packed", spy)
    return found


def test_further_batches_are_others_and_change_nothing_of_the_first(
    make_workload: Make, plain_sum: CellResult, drawn: dict[tuple[str, int, int], list[int]]
) -> None:
    method = TwoMore()
    outcome = run(make_workload(), method)
    assert untimed(outcome.history) == untimed(plain_sum.history)
    assert outcome.pairing == plain_sum.pairing
    for task in ("mood", "same", "like"):
        for step in range(4):
            batches = [drawn[task, step, number] for number in range(3)]
            assert len({tuple(batch) for batch in batches}) == 3
    norms = outcome.history[1]["norms"]
    for cross in method.seen:
        assert np.abs(cross - cross.T).max() > 1e-3 * np.abs(cross).max()  # of two batches, not of one twice
    assert np.sqrt(np.abs(np.diagonal(method.seen[1]))) != pytest.approx(list(norms.values()), rel=1e-3)


def test_further_batches_come_from_the_seed(make_workload: Make, drawn: dict[tuple[str, int, int], list[int]]) -> None:
    seen, rows = [], []
    for seed in (5, 5, 6):
        method = TwoMore()
        run(make_workload(steps=2), method, seed)
        seen.append(np.array(method.seen).tobytes())
        rows.append(dict(drawn))
        drawn.clear()
    assert seen[0] == seen[1] != seen[2]
    assert rows[0] == rows[1] != rows[2]


def test_batches_of_a_method_do_not_depend_on_how_many_it_takes() -> None:
    one, three = ([batch_schedule(0, "a", 24, 24, number) for number in range(count)] for count in (1, 3))
    assert one[0].tolist() == three[0].tolist()
    for schedule in three[1:]:
        assert sorted(np.unique(schedule)) == list(range(24))  # an epoch: every row once


def test_losses_after_the_step_are_those_before_when_nothing_moves(make_workload: Make) -> None:
    """Weights of 0 for shared parameters and heads, and no decay: AdamW stands still. Batch and masks are the same."""
    method = Listener(weight=0.0)
    outcome = run(make_workload(weight_decay=0.0), method)
    assert len(method.before) == len(method.after) == 4
    assert np.array(method.after).tolist() == np.array(method.before).tolist()
    assert len({tuple(row) for row in np.array(method.before).tolist()}) == 4
    assert [list(row["losses"].values()) for row in outcome.history if "losses" in row] == [
        row.tolist() for row in method.before
    ]


def test_losses_after_the_step_are_lower_and_change_nothing(make_workload: Make, plain_sum: CellResult) -> None:
    method = Listener()
    outcome = run(make_workload(), method)
    assert untimed(outcome.history) == untimed(plain_sum.history)
    for before, after in zip(method.before, method.after, strict=True):
        assert after.sum() < before.sum()


def test_losses_after_the_step_are_re_evaluated_with_the_steps_masks(
    make_workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other masks of the same step and batch the losses are others; with the step's own they are these."""
    made: list[Inputs] = []
    original = Inputs.losses_after

    def spy(self: Inputs, step: int) -> Vector:
        made[:] = [self]
        return original(self, step)

    @dataclass
    class Rechecker(Listener):
        name = "rechecker"
        found: Any = field(default_factory=list, init=False)

        def after_step(self, losses: Vector) -> None:
            (own,) = made
            for seed in (0, 1):
                other = Inputs(own.model, own.data, seed, "cpu")
                self.found.append([losses, *(other.losses_after(len(self.found) // 2) for _ in range(1))])

    monkeypatch.setattr(Inputs, "losses_after", spy)
    method = Rechecker()
    run(make_workload(lr=1e-2), method)
    assert len(method.found) == 8
    for number, (losses, again) in enumerate(method.found):
        equal = (losses == again).tolist()
        assert equal == [number % 2 == 0] * 3


def test_a_loss_that_is_nan_after_the_step_names_step_and_task(make_workload: Make) -> None:
    workload = make_workload()
    broken = copy.copy(workload.tasks[2])
    calls: list[int] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return outputs.sum() * (float("nan") if len(calls) == 1 + 2 * 2 else 1.0)  # the pairing's, and two a step

    broken.loss = loss  # type: ignore[method-assign]
    object.__setattr__(workload.problem, "tasks", (*workload.tasks[:2], broken))
    with pytest.raises(CellError, match="step 2: the loss after the step of task like is nan"):
        run(workload, Listener())


@dataclass
class Logarithms(SumInDisguise):
    """Reads logarithms of the losses."""

    name = "logarithms"

    @property
    def reads_losses(self) -> Literal["no", "any", "positive"]:
        return "positive"


def test_what_a_method_cannot_be_shown_names_the_step(make_workload: Make) -> None:
    workload = make_workload()
    broken = copy.copy(workload.tasks[0])
    broken.loss = lambda outputs, targets: 0.0 * outputs.sum() - 1.0  # type: ignore[method-assign]
    object.__setattr__(workload.problem, "tasks", (broken, *workload.tasks[1:]))
    words = (
        r"step 1: method logarithms takes logarithms of the losses, .*: \[-1.0, .*\(tasks, in this order: mood, same"
    )
    with pytest.raises(CellError, match=words) as caught:
        run(workload, Logarithms())
    assert caught.value.step == 1


def test_a_method_that_returns_updates_has_no_weights_in_its_history(
    make_workload: Make, looped_sum: CellResult
) -> None:
    outcome = run(make_workload(engine="loop"), Scaled())
    steps = [row for row in outcome.history if "losses" in row]
    assert all("weights" not in row and "factor" not in row for row in steps)
    without = [{name: value for name, value in row.items() if name != "weights"} for row in untimed(looped_sum.history)]
    assert untimed(outcome.history) == without
    assert outcome.conflict == looped_sum.conflict


def test_clipping_is_recorded_as_the_factor(make_workload: Make) -> None:
    outcome = run(make_workload(), Scaled(clip=1e-3))
    factors = [row["factor"] for row in outcome.history if "losses" in row]
    assert len(factors) == 4 and all(0.0 < factor < 0.1 for factor in factors)


@pytest.mark.parametrize("method", ["sum", "stl"])
def test_the_sums_own_norm_changes_nothing_of_the_sum(make_workload: Make, method: str) -> None:
    native, matched = run(make_workload(), method), run(make_workload(update_norm="sum"), method)
    assert untimed(matched.history) == untimed(native.history)
    assert matched.scores == native.scores and matched.pairing == native.pairing
    assert all("factor" not in row for row in matched.history)


@pytest.mark.parametrize("measure_every", [1, 3])
def test_updates_of_another_length_become_the_sums(
    make_workload: Make, looped_sum: CellResult, measure_every: int
) -> None:
    """A power of two is exact, so that the runs are equal in every bit."""
    changes = {"update_norm": "sum", "measure_every": measure_every, "engine": "loop"}
    outcome = run(make_workload(**changes), Scaled(factor=64.0))
    assert outcome.scores == looped_sum.scores
    steps = [row for row in outcome.history if "losses" in row]
    assert [row["factor"] for row in steps] == [1 / 64] * 4
    assert [row["losses"] for row in steps] == [row["losses"] for row in looped_sum.history if "losses" in row]


def test_methods_keep_their_direction_at_the_sums_norm(make_workload: Make) -> None:
    outcome = run(make_workload(update_norm="sum"), "mgda")
    steps = [row for row in outcome.history if "losses" in row]
    assert all(row["factor"] > 1.0 for row in steps)  # the shortest combination is shorter than the sum
    assert all(sum(row["weights"].values()) == pytest.approx(1.0) for row in steps)  # the method's own, as before
