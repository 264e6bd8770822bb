"""A watch measures a training and changes nothing of it."""

from __future__ import annotations

import gc
import json
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_training import TASKS, Model, batches, digest, train

import mtlbench
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store


def rows_of(folder: Path, name: str = "training") -> list[dict[str, Any]]:
    records = [record for record in Store(folder).scan().records if record["suite"] == name]
    assert len(records) == 1
    return [dict(row) for row in read_history(records[0])]


def record_of(folder: Path) -> dict[str, Any]:
    (record,) = Store(folder).scan().records
    return dict(record)


def state() -> tuple[bytes, Any, str]:
    """Return the states of all global random generators."""
    return bytes(torch.get_rng_state().numpy()), random.getstate(), str(np.random.get_state())


def test_training_has_the_same_bits_with_a_watch(tmp_path: Path) -> None:
    alone, losses = train(25)
    watches: list[mtlbench.Watch] = []

    def watched(model: Model) -> mtlbench.Watch:
        watches.append(mtlbench.Watch(model.encoder, TASKS, tmp_path, every=3, methods=["pcgrad", "rlw"]))
        return watches[0]

    model, watched_losses = train(25, watched)
    assert digest(model) == digest(alone)
    assert watched_losses == losses
    watches[0].close()
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 26))
    assert [row["step"] for row in rows if "norms" in row] == list(range(1, 26, 3))
    assert [value for row in rows for value in row["losses"].values()] == pytest.approx(losses, rel=1e-7)


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    model = Model()
    model.encoder.embeddings.word_embeddings.weight.requires_grad_(False)
    hooks: list[str] = []
    watched = model.encoder.encoder.layer[0].output.dense.weight
    watched.register_post_accumulate_grad_hook(lambda parameter: hooks.append("accumulated"))
    watched.register_hook(lambda gradient: hooks.append("gradient"))
    losses = model.losses(next(batches(1)))
    expected = [
        torch.autograd.grad(loss, list(model.encoder.encoder.parameters()), retain_graph=True) for loss in losses
    ]
    hooks.clear()
    before = state()
    watch = mtlbench.Watch(model.encoder, TASKS, tmp_path, methods=["cagrad", "random"])
    made = state()
    watch(losses)
    assert state() == made == before
    assert all(parameter.grad is None for parameter in model.parameters())
    assert hooks == []
    assert [parameter for parameter in model.parameters() if parameter._backward_hooks] == [watched]
    again = [torch.autograd.grad(loss, list(model.encoder.encoder.parameters()), retain_graph=True) for loss in losses]
    assert all(
        torch.equal(a, b) for one, other in zip(expected, again, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_no_loss_outlives_its_step(tmp_path: Path) -> None:
    model = Model()
    watch = mtlbench.Watch(model.encoder, TASKS, tmp_path, every=2)
    for ids in batches(2):
        losses = model.losses(ids)
        graphs = [weakref.ref(loss) for loss in losses]
        watch(losses)
        before = [float(loss.detach()) for loss in losses]
        with torch.no_grad():
            losses[0].mul_(7.0)  # the memory of a loss may be used for something else
        del losses
        gc.collect()
        assert [graph() for graph in graphs] == [None] * 3
    watch.close()
    assert list(rows_of(tmp_path)[1]["losses"].values()) == pytest.approx(before)


def test_gradients_live_only_while_it_looks(tmp_path: Path) -> None:
    shared = torch.nn.Parameter(torch.ones(7919))
    watch = mtlbench.Watch([shared], ["a", "b"], tmp_path, every=1, methods=["pcgrad", "nash-mtl"])
    watch([shared.sum(), shared.square().sum()])
    gc.collect()
    tensors = [value for value in gc.get_objects() if type(value) is torch.Tensor]
    assert [tensor.shape for tensor in tensors if tensor.numel() in (7919, 2 * 7919)] == []


def test_the_numbers_are_those_of_the_gradients(tmp_path: Path) -> None:
    shared, extra = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    with mtlbench.Watch([shared, extra], ["a", "b"], tmp_path, methods=["pcgrad", "sum"]) as watch:
        watch([3.0 * shared[0], 4.0 * shared[1] - 4.0 * shared[0]])
    (row,) = rows_of(tmp_path)
    assert row["norms"] == pytest.approx({"a": 3.0, "b": 32.0**0.5})
    assert row["cosines"] == pytest.approx({"a|b": -(0.5**0.5)})
    gram = [[9.0, -12.0], [-12.0, 32.0]]
    assert list(row["proposed"]["pcgrad"].values()) == pytest.approx(mtlbench.weights("pcgrad", gram).tolist())
    assert row["proposed"]["sum"] == {"a": 1.0, "b": 1.0}
    record = record_of(tmp_path)
    watched = record["watched"]
    assert watched["parameters"] == 5 and watched["looks"] == 1
    # ⟨g, u⟩ / ‖u‖² with u = (-1, 4): (-3 + 0) / 17 and (4 + 16) / 17
    assert {task: entry["share"] for task, entry in watched["tasks"].items()} == pytest.approx(
        {"a": -3 / 17, "b": 20 / 17}
    )
    assert record["group"] == record["key"] and record["method"]["spec"] == "own training"


def test_a_task_without_rows_is_left_out_of_the_step(tmp_path: Path) -> None:
    """Batches of one task each, in turn: with every=4, a fixed beat would meet the same task always."""
    shared = torch.nn.Linear(2, 2)
    with mtlbench.Watch(shared, ["a", "b"], tmp_path, every=4, methods=["pcgrad"]) as watch:
        for step in range(16):
            loss = shared(torch.ones(2)).sum()
            watch([loss, None] if step % 2 == 0 else [None, loss])
    rows = rows_of(tmp_path)
    assert [list(row["losses"]) for row in rows] == [["a"], ["b"]] * 8
    looks = {task: [row["step"] for row in rows if task in row.get("norms", {})] for task in "ab"}
    assert looks == {"a": [1, 5, 9, 13], "b": [2, 6, 10, 14]}
    assert not any("proposed" in row for row in rows)
    record = record_of(tmp_path)
    assert record["conflict"] is None and record["watched"]["tasks"]["a"]["share"] is None


def test_separate_graphs_and_mixed_types(tmp_path: Path) -> None:
    shared = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3, dtype=torch.bfloat16)])
    table = torch.nn.Embedding(5, 3, sparse=True)
    unreached = torch.nn.Parameter(torch.ones(4))
    parameters = [*shared.parameters(), *table.parameters(), unreached, unreached]

    def losses() -> list[torch.Tensor]:
        first = shared[0](table(torch.tensor([1, 2]))).sum()
        return [first, shared[1](torch.ones(2, 3, dtype=torch.bfloat16)).float().square().mean()]

    with mtlbench.Watch(parameters, ["a", "b"], tmp_path) as watch:
        watch(losses())
    (row,) = rows_of(tmp_path)
    expected = [
        sum(
            float(g.to_dense().double().square().sum())
            for g in torch.autograd.grad(loss, parameters[:5], allow_unused=True)
            if g is not None
        )
        for loss in losses()
    ]
    assert list(row["norms"].values()) == pytest.approx([value**0.5 for value in expected], rel=1e-3)
    assert row["cosines"] == {"a|b": 0.0}
    assert record_of(tmp_path)["watched"]["parameters"] == 9 + 3 + 9 + 3 + 15 + 4


def test_inner_products_are_in_full_precision_under_autocast(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = torch.nn.Linear(64, 64)
    inputs = torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16), mtlbench.Watch(shared, ["a", "b"], tmp_path) as watch:
        outputs = shared(inputs)
        losses = [outputs.float().square().mean(), (outputs.float() - 0.1).square().mean()]
        watch(losses)
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(x, list(shared.parameters()), retain_graph=True)])
        for x in losses
    ]
    (row,) = rows_of(tmp_path)
    assert row["norms"]["a"] == pytest.approx(float(flat[0].double().norm()), rel=1e-6)
    cosine = torch.nn.functional.cosine_similarity(flat[0].double(), flat[1].double(), dim=0)
    assert row["cosines"]["a|b"] == pytest.approx(float(cosine), abs=1e-6)


def test_a_look_inside_autocast_changes_nothing(tmp_path: Path) -> None:
    """Autocast keeps the parameters that it has cast; a look between two uses must not make it cast them again."""

    def trained(watched: bool) -> str:
        torch.manual_seed(0)
        model = Model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        watch = mtlbench.Watch(model.encoder, TASKS, tmp_path, every=2)
        for ids in batches(5):
            with torch.autocast("cpu", torch.bfloat16):
                losses = model.losses(ids)
                if watched:
                    watch(losses)
                losses += model.losses(ids)
                assert torch.is_autocast_enabled("cpu")
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
        return digest(model)

    assert trained(watched=False) == trained(watched=True)


def test_an_evaluation_without_graph_is_passed_over(tmp_path: Path) -> None:
    shared = torch.nn.Linear(2, 1)
    with mtlbench.Watch(shared, ["a"], tmp_path, every=1) as watch:
        for _ in range(2):
            watch([shared(torch.ones(2)).sum()])
            with torch.no_grad():
                watch([shared(torch.ones(2)).sum()])
    assert [row["step"] for row in rows_of(tmp_path)] == [1, 2]


def test_micro_batches_are_steps_of_the_optimizer(tmp_path: Path) -> None:
    shared = torch.nn.Linear(2, 1)
    with mtlbench.Watch(shared, ["a", "b"], tmp_path, every=2) as watch:
        for step in range(1, 6):
            watch.begin(step)
            for part in range(3):
                loss = float(part) * shared(torch.ones(2)).sum() + shared.bias.sum()
                watch([loss, None if part < 2 else loss])
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "norms" in row] == [1, 3, 5]
    assert set(rows[0]["norms"]) == {"a", "b"}  # measured in the first part, and in the third
    with torch.no_grad():
        output, bias = float(shared(torch.ones(2)).sum()), float(shared.bias.sum())
    assert rows[0]["losses"] == pytest.approx({"a": output + bias, "b": 2 * output + bias})


def test_a_number_that_is_not_finite_is_recorded_as_such(tmp_path: Path) -> None:
    shared = torch.nn.Parameter(torch.zeros(2))
    with mtlbench.Watch([shared], ["a", "b", "c"], tmp_path, every=1, methods=["mgda"]) as watch:
        watch([shared.sum(), shared.sum() * float("inf"), shared.sqrt().sum()])  # loss NaN, then gradient infinite
        watch([shared.sum(), 2 * shared.sum(), 3 * shared.sum()])
    bad, good = rows_of(tmp_path)
    assert np.isnan(bad["losses"]["b"]) and bad["norms"]["c"] == float("inf")
    assert bad["norms"]["a"] == pytest.approx(2**0.5)
    assert bad["cosines"] == {"a|b": None, "a|c": None, "b|c": None} and "proposed" not in bad
    assert "mgda" in good["proposed"]
    record = record_of(tmp_path)
    assert [entry["not_finite"] for entry in record["watched"]["tasks"].values()] == [0, 1, 1]
    json.loads(Path(record["path"]).read_text(), parse_constant=lambda name: pytest.fail(name))


def test_a_method_that_refuses_a_step_warns_once_and_does_not_stop_the_training(tmp_path: Path) -> None:
    shared = torch.nn.Parameter(torch.ones(2))
    watch = mtlbench.Watch([shared], ["a", "b"], tmp_path, every=1, methods=["gls", "pcgrad"])
    with pytest.warns(UserWarning, match="no weights of gls at this look.*negative"):
        watch([-shared.sum(), shared[0]])
    for _ in range(2):  # a second warning would be an error
        watch([-shared.sum(), shared[0]])
    watch.close()
    assert all(list(row["proposed"]) == ["pcgrad"] for row in rows_of(tmp_path))
    assert record_of(tmp_path)["watched"]["proposed"]["gls"] == {"looks": 0, "shares": {}}


def test_checkpointed_activations(tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))

    def run(folder: Path | None, reentrant: bool = False, reached: bool = False) -> torch.Tensor:
        torch.manual_seed(3)
        inputs = torch.ones(5, 4, requires_grad=True)
        layer.zero_grad()
        outputs = checkpoint(layer, inputs, use_reentrant=reentrant)
        losses = [outputs.sum(), outputs.square().sum()]
        if folder:
            shared = [inputs, *layer.parameters()] if reached else layer
            mtlbench.Watch(shared, ["a", "b"], folder)(losses)
        sum(losses).backward()
        return torch.cat([layer[0].weight.grad.flatten(), torch.rand(3)])

    assert torch.equal(run(None), run(tmp_path / "one"))
    for reached in (True, False):  # without a parameter before the layer, autograd finds nothing, and says nothing
        with pytest.raises(mtlbench.UsageError, match="task a: activation checkpointing needs use_reentrant=False"):
            run(tmp_path / str(reached), reentrant=True, reached=reached)


def test_a_backward_pass_that_writes_to_buffers_is_refused(tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    outputs = checkpoint(layer, torch.randn(6, 4), use_reentrant=False)
    with pytest.raises(mtlbench.UsageError, match=r"would change the training.*buffer 1\.num_batches_tracked"):
        mtlbench.Watch(layer, ["a"], tmp_path)([outputs.square().sum()])


def test_scores_are_recorded(tmp_path: Path) -> None:
    shared = torch.nn.Linear(2, 1)
    with mtlbench.Watch(shared, ["a", "b"], tmp_path) as watch:
        for step in range(4):
            watch([shared(torch.ones(2)).sum()] * 2)
            watch.score("a", 0.1 * step, "accuracy")
        watch.score("b", float("nan"), step=3)
    record = record_of(tmp_path)
    assert record["scores"] == {"a": {"accuracy": pytest.approx(0.3)}, "b": {"score": None}}
    assert record["tasks"]["a"]["metrics"] == ["accuracy"]
    evaluations = [row for row in rows_of(tmp_path) if "scores" in row]
    assert [row["step"] for row in evaluations] == [1, 2, 3, 4, 3]
