"""Batches: the schedule of rows, and the vectors of frozen encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from text_runs import run

from mtlbench.engine.packed.pack import Pack
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.schedule import batch_schedule
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.tokens import Tokenizer

Make = Callable[..., Workload]


def test_every_row_is_seen_equally_often() -> None:
    schedule = batch_schedule(seed=0, task="a", rows=10, total=20)
    assert schedule.shape == (20,)
    assert np.array_equal(np.bincount(schedule), np.full(10, 2))
    assert not np.array_equal(schedule, batch_schedule(seed=1, task="a", rows=10, total=20))
    assert not np.array_equal(schedule, batch_schedule(seed=0, task="b", rows=10, total=20))
    assert np.array_equal(schedule[:12], batch_schedule(seed=0, task="a", rows=10, total=12))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many sequences the encoder reads, call by call."""
    found: list[int] = []
    original = MultiTaskModel.pooled

    def spy(self: MultiTaskModel, pack: Pack) -> torch.Tensor:
        if pack.vectors is None:
            found.append(len(pack.lengths))
        return original(self, pack)

    monkeypatch.setattr(MultiTaskModel, "pooled", spy)
    return found


def frozen(tiny_bert: Path, *more: str) -> str:
    return f"{tiny_bert}[{','.join(['layers=1', 'frozen=true', *more])}]"


@pytest.mark.parametrize("more", [(), ("pairs=apart", "pooling=mean")])
@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
def test_a_frozen_encoder_runs_once_and_trains_as_if_it_ran_every_step(
    make_workload: Make,
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoded: list[int],
    engine: str,
    more: tuple[str, ...],
) -> None:
    workload = make_workload(model=frozen(tiny_bert, *more), engine=engine, steps=8, measure_every=1)
    once = run(workload, "pcgrad")
    sides = 2 if more else 1
    assert sum(encoded) == 2 * 24 * (1 + 2 * sides)  # every row of three tasks' two splits; 32 drawn rows cover 24
    encoded.clear()
    monkeypatch.setattr(TaskData, "freeze", lambda self, pooled: None)
    every = run(workload, "pcgrad")
    assert sum(encoded) > 8 * 4 * (1 + 2 * sides)
    for mine, yours in zip(once.history, every.history, strict=True):
        for field in ("losses", "weights", "norms"):
            assert mine.get(field, {}) == pytest.approx(yours.get(field, {}), rel=1e-4)
    for task, outputs in every.outputs["dev"].items():
        np.testing.assert_allclose(once.outputs["dev"][task], outputs, rtol=1e-4, atol=1e-6)


def test_vectors_are_the_encoders(make_workload: Make, tiny_bert: Path) -> None:
    workload = make_workload(model=frozen(tiny_bert))
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, workload.tasks, 0).train()
    made = Tokenizer(workload.problem.encoder, workload.problem.files, 32)
    data = [
        TaskData.prepare(task, splits, made, seed=0, sizes=np.full(3, 4), batches=3, device="cpu")
        for task, splits in zip(workload.tasks, workload.problem.splits, strict=True)
    ]
    for one in data:
        one.freeze(model.pooled)
    for step in range(3):
        for number in range(3):
            pack = Pack.of([one.batch(step, number)[0] for one in data], "cpu")
            assert pack.vectors is not None and not pack.vectors.requires_grad
            with torch.no_grad():
                expected = model.pooled(replace(pack, vectors=None))
            torch.testing.assert_close(pack.vectors, expected, rtol=1e-5, atol=1e-6)


def test_vectors_do_not_depend_on_how_many_batches_a_method_draws(make_workload: Make, tiny_bert: Path) -> None:
    """To the last bit: the pairing's hashes must be equal between methods."""
    workload = make_workload(model=frozen(tiny_bert), steps=2)
    assert load_registry().method("modo").batches > 1
    assert run(workload, "modo").pairing == run(workload, "sum").pairing


def test_only_rows_that_are_drawn_are_encoded(make_workload: Make, tiny_bert: Path, encoded: list[int]) -> None:
    run(make_workload(model=frozen(tiny_bert), steps=2, evaluations=1), "sum")
    assert sum(encoded) == 3 * (2 * 4 + 24)
