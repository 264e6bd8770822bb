"""The batched trainer: scores, cells that diverge, measurements of the plain sum, and input that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ordinary import distance, looped_model, losses_of

from mtlbench import SolverError, UsageError
from mtlbench.batched import OneByOne
from mtlbench.map import trainer
from mtlbench.map.agreement import batched_weights, ordinary_training
from mtlbench.map.cells import BEST, DIVERGED, Column, Features, Setting, Trained
from mtlbench.map.trainer import train
from mtlbench.problem.schedule import batch_schedule

SHORT = Setting(steps=12, loss_ratio=3.0)


def test_scores_are_those_of_the_ordinary_trainers_outputs() -> None:
    columns = [Column("pcgrad", 0.05), Column("sum", 0.05), Column("sum", 0.05, single=1)]
    seeds = [3, 4]
    trained = train([SHORT, Setting(steps=12)], seeds, columns)
    assert trained.dev.shape == trained.test.shape == (2, 2, 3, 2) and not trained.diverged.any()
    for position, column in enumerate(columns):
        training = ordinary_training(SHORT, column, seeds[1], "float32")
        for _ in training.run():
            pass
        result = training.result()
        for split, scores in (("dev", trained.dev), ("test", trained.test)):
            for task in range(2):
                outputs, labels = result.outputs[split][f"task{task}"][:, 0], result.labels[split][f"task{task}"]
                expected = float(((outputs - labels) ** 2).mean())
                if column.single in (None, task):
                    assert scores[0, 1, position, task] == pytest.approx(expected, rel=1e-4)
                else:
                    assert np.isnan(scores[0, 1, position, task])
    assert (trained.dev != trained.test)[..., :2, :].all() and len(np.unique(trained.test[..., :2, :])) == 16


def test_an_untrained_network_has_about_the_variance_of_the_labels_as_its_error() -> None:
    scores = train([Setting(steps=1, width=1)], [0, 1], [Column("sum", 1e-9)]).dev
    assert scores.min() > 0.8 and scores.max() < 3.0


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_cell_that_diverges_has_the_worst_score_and_leaves_the_others_alone(optimizer: Any) -> None:
    setting = Setting(steps=60, optimizer=optimizer)
    methods = ["sum", "pcgrad", "nash-mtl", "famo", "uw", "gradnorm"]
    good, bad = [Column(m, 0.01) for m in methods], [Column(m, 1e30) for m in methods if m not in ("nash-mtl", "famo")]
    good.append(Column("sum", 0.01, weights=(0.5, 1.5), step_rule="log"))
    mixed = train([setting], [0, 1], [*bad, *good])
    assert mixed.diverged[..., : len(bad)].all() and not mixed.diverged[..., len(bad) :].any()
    assert (mixed.dev[0, :, : len(bad)] == DIVERGED).all() and (mixed.test[0, :, : len(bad)] == DIVERGED).all()
    alone = train([setting], [0, 1], good)
    assert np.allclose(mixed.test[:, :, len(bad) :], alone.test, rtol=1e-3)
    assert set(mixed.failures) >= {(0, seed, position) for seed in (0, 1) for position in range(1, len(bad))}
    assert "losses must be K finite numbers" in mixed.failures[0, 1, 1] and not alone.failures


def test_a_method_that_fails_for_one_cell_ends_that_cell_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(OneByOne):
        """Fails for its second problem in the third step."""

        steps = 0

        def compute(self, losses: Any, gram: Any) -> Any:
            self.steps += 1
            if self.steps == 3:
                self.fail(1, SolverError("no minimum"))
            return super().compute(losses, gram)

    columns = [Column("sum", 0.01), Column("mgda", 0.01), Column("mgda", 0.02)]
    before = train([SHORT], [0, 1], columns)
    monkeypatch.setattr("mtlbench.map.weighing.batched", Failing)
    after = train([SHORT], [0, 1], columns)
    assert after.failures == {(0, 0, 2): "no minimum"}
    assert np.argwhere(after.diverged).tolist() == [[0, 0, 2]] and (after.test[0, 0, 2] == DIVERGED).all()
    assert np.allclose(after.test[~after.diverged], before.test[~after.diverged], rtol=1e-4)


def test_scores_are_clipped() -> None:
    trained = train([Setting(steps=3)], [0], [Column("sum", 30.0), Column("sum", 0.01)])
    assert trained.test[0, 0, 0].max() == DIVERGED and not trained.diverged.any()
    assert trained.test.min() >= BEST and trained.test[0, 0, 1].max() < 3.0


def test_cells_do_not_depend_on_what_is_trained_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, seeds = [SHORT, Setting(steps=12)], [0, 1, 2]
    columns = [Column(method, lr) for lr in (0.01, 0.1) for method in ("rlw", "mgda", "sum", "famo")]
    together = train(settings, seeds, columns, precision="float64")
    done: list[tuple[int, int]] = []
    monkeypatch.setattr(trainer, "BLOCK", 1)
    apart = train(settings, seeds, columns[::-1], precision="float64", listener=lambda *count: done.append(count))
    assert done == [(number, 6) for number in range(1, 7)]
    assert np.allclose(together.test, apart.test[:, :, ::-1], rtol=1e-9, atol=0.0)
    assert set(together.seconds) >= {"setup", "forward and backward", "methods", "optimizer", "evaluation"}


def test_a_seed_decides_the_draws_of_a_random_method() -> None:
    found = batched_weights([SHORT], [0, 1], [Column("rlw", 0.01), Column("rlw", 0.01), Column("rlw", 0.02)])
    assert np.array_equal(found[0, 0, 0], found[0, 0, 1]) and distance(found[0, 0, 0], found[0, 1, 0]) > 0.1


def gradients(setting: Setting, model: Any, seed: int, numbers: Any) -> torch.Tensor:
    """Return (K, P) gradients of the shared layer by autograd."""
    losses, shared = losses_of(setting, model, seed, numbers), list(model["trunk"].parameters())
    rows = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def test_the_plain_sum_is_measured_after_forty_steps() -> None:
    setting, seed = Setting(steps=50, loss_ratio=10.0, noise_ratio=5.0), 2
    columns = [Column("mgda", 0.01), Column("sum", 0.03), Column("sum", 0.01, step_rule="log"), Column("sum", 0.01)]
    features = train([Setting(steps=50), setting], [seed, 7], columns, precision="float64").features
    assert features is not None and features.columns.tolist() == [1, 3] and features.step == 40
    for place, column in enumerate((columns[1], columns[3])):
        model = looped_model(setting, column, seed, stop=40)
        batches = [batch_schedule(seed, "", 1024, 41 * 32, number)[-32:] for number in (0, 1)]
        first, second, full = (gradients(setting, model, seed, rows) for rows in (*batches, np.arange(1024)))
        pairs = {"gram": (first, first), "second_gram": (second, second), "cross_gram": (first, second)}
        pairs["full_gram"] = (full, full)
        for name, (left, right) in pairs.items():
            np.testing.assert_allclose(getattr(features, name)[1, 0, place], left @ right.T, rtol=1e-9)
        recent = []
        for step in range(30, 40):
            before = looped_model(setting, column, seed, stop=step)
            rows = batch_schedule(seed, "", 1024, (step + 1) * 32)[-32:]
            recent.append([float(loss.detach()) for loss in losses_of(setting, before, seed, rows)])
        np.testing.assert_allclose(features.losses[1, 0, place], np.mean(recent, axis=0), rtol=1e-9)
    assert features.start.shape == features.losses.shape == (2, 2, 2, 2)
    assert (features.start > features.losses).all()


@pytest.mark.parametrize(("steps", "columns"), [(40, [Column("sum", 0.01)]), (41, [Column("si", 0.01)])])
def test_without_more_than_forty_steps_or_a_plain_sum_nothing_is_measured(steps: int, columns: list[Column]) -> None:
    assert train([Setting(steps=steps)], [0], columns).features is None


def test_features_follow_their_definitions() -> None:
    rng = np.random.default_rng(0)
    signal = np.array([[3.0, 0.0, 0.0], [-3.0, 4.0, 0.0]])
    draws = signal[None, None] + np.array([0.1, 2.0])[:, None] * rng.normal(size=(20_000, 2, 2, 3))
    grams = [
        np.einsum("nkp,nlp->nkl", draws[:, a], draws[:, b]).mean(axis=0)[None, None, None]
        for a, b in ((0, 0), (1, 1), (0, 1))
    ]
    start, losses = np.full((1, 1, 1, 2), 2.0), np.array([[[[2.0, 0.2]]]])
    features = Features(np.array([0]), 40, start, losses, *grams, full_gram=(signal @ signal.T)[None, None, None])
    assert features.loss_ratio.item() == pytest.approx(10.0)
    np.testing.assert_allclose(features.progress[0, 0, 0], [0.0, np.log(0.1)])
    np.testing.assert_allclose(features.noise[0, 0, 0], [3 * 0.01 / 9.0, 3 * 4.0 / 25.0], rtol=0.1)
    np.testing.assert_allclose(features.norm_ratio, np.sqrt((25 + 12.0) / 9.03), rtol=0.05)
    assert features.full_cosine.item() == pytest.approx(-0.6) and features.batch_cosine.item() < 0.0


WRONG = [
    ("no-such", {}, "unknown method 'no-such'"),
    ("stl", {}, "the map trains single tasks as columns of sum"),
    ("mgda-ub", {}, "reads gradients of the representation, which the map does not compute"),
    ("modo", {}, "only methods that read losses or gram"),
    ("graddrop", {}, "only methods that read losses or gram"),
    ("sum[base_lr=1]", {}, "base_lr is for mtlbench run"),
    ("krum", {}, "needs at least 4 tasks"),
    ("sum", {"weights": (1.0, 2.0, 3.0)}, r"weights=\(1.0, 2.0, 3.0\) are 3 for 2 tasks"),
    ("sum", {"single": 2}, "single=2 should be a task from 0 to 1"),
]


@pytest.mark.parametrize(("method", "fields", "message"), WRONG)
def test_a_column_that_does_not_suit_the_family_is_one_clear_line(
    method: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        train([SHORT], [0], [Column(method, 0.01, **fields)])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "seeds", "columns", "message"),
    [
        ([], [0], [Column("sum", 0.1)], "at least one setting, one seed and one column"),
        ([SHORT], [], [Column("sum", 0.1)], "at least one setting"),
        ([SHORT], [0], [], "at least one setting"),
        (
            [SHORT, Setting(steps=13)],
            [0],
            [Column("sum", 0.1)],
            "map: settings with steps 12 and 13 cannot be trained together",
        ),
        ([SHORT, Setting(steps=12, optimizer="sgd")], [0], [Column("sum", 0.1)], "optimizer adam and sgd"),
        ([SHORT, SHORT], [-1], [Column("sum", 0.1)], "instance=-1 should be greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be_trained_together(
    settings: list[Setting], seeds: list[int], columns: list[Column], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(settings, seeds, columns)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "setting: steps=0 should be at least 1"),
        ({"batch": 0}, "setting: batch=0 should be at least 1"),
        ({"optimizer": "lion"}, "setting: optimizer='lion' should be one of adam, sgd, momentum"),
        ({"rows": 9999}, "rows=9999 should be less than or equal to 4096"),
        ({"relatedness": -1.0}, "relatedness=-1.0 should be greater than or equal to 0"),
    ],
)
def test_settings_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Setting(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, "lr=0.0 should be a positive number"),
        ({"lr": float("nan")}, "should be a positive number"),
        ({"step_rule": "cube"}, "step_rule='cube' should be one of plain, unit, log"),
        ({"method": "pcgrad", "step_rule": "unit"}, "are controls of method sum"),
        ({"method": "pcgrad", "weights": (1.0, 1.0)}, "are controls of method sum"),
        ({"single": 0, "step_rule": "log"}, "a single task has neither weights nor a step rule"),
        ({"weights": (1.0, 0.0)}, r"weights=\(1.0, 0.0\) should be positive numbers"),
    ],
)
def test_columns_out_of_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Column(**{"method": "sum", "lr": 0.1, **fields})


def test_a_shard_holds_what_was_asked_for() -> None:
    trained = train([SHORT], [5], [Column("sum", 0.1)])
    assert isinstance(trained, Trained) and trained.settings == [SHORT] and trained.seeds == [5]
