"""A watch in the trainers of Hugging Face and Lightning: same weights, optimizer steps, scores of evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from own_training import TASKS, Model, batches, digest

import mtlbench
from mtlbench.records.record_file import read_history
from mtlbench.records.store import Store

ROWS = list(torch.cat(list(batches(8))))
"""48 rows: with 4 rows a micro-batch and 3 micro-batches a step, 4 steps an epoch."""


def rows_of(folder: Path) -> list[dict[str, Any]]:
    (record,) = Store(folder).scan().records
    return [dict(row) for row in read_history(record)]


def check_history(folder: Path, metric: str) -> None:
    """Check that rows are steps of the optimizer, not micro-batches, with looks and scores at their steps."""
    rows = rows_of(folder)
    steps, scores = [row for row in rows if "losses" in row], [row for row in rows if "scores" in row]
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert [row["step"] for row in steps if "norms" in row] == [1, 4, 7]
    assert [(row["step"], row["scores"]) for row in scores] == [
        (4, {"mood": {metric: 0.5}}),
        (8, {"mood": {metric: 0.5}}),
    ]


def train_with_transformers(folder: Path, watched: bool) -> Model:
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(0)
    model = Model()
    watch = mtlbench.Watch(model.encoder, TASKS, folder / "results", every=3, methods=["pcgrad"]) if watched else None

    class OwnTrainer(Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            losses = model.losses(inputs["ids"])
            if watch:
                watch(losses)
            loss = torch.stack(losses).sum()
            return (loss, {"logits": inputs["ids"]}) if return_outputs else loss

    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=True,
    )
    data: Any = [{"ids": row, "labels": row[0]} for row in ROWS]
    trainer = OwnTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data[:8],
        compute_metrics=lambda _: {"mood": 0.5},
        callbacks=[],
    )
    if watch:
        from mtlbench.watch.transformers import WatchCallback

        trainer.add_callback(WatchCallback(watch, scores={"mood": "eval_mood"}))
    trainer.train()
    return model


def test_the_trainer_of_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="the Trainer of transformers needs accelerate")
    alone = train_with_transformers(tmp_path / "alone", watched=False)
    model = train_with_transformers(tmp_path / "watched", watched=True)
    assert digest(model) == digest(alone)
    check_history(tmp_path / "watched" / "results", "eval_mood")


def train_with_lightning(folder: Path, watched: bool) -> Model:
    import lightning as L

    torch.manual_seed(0)
    model = Model()
    watch = mtlbench.Watch(model.encoder, TASKS, folder, every=3, methods=["pcgrad"]) if watched else None

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            losses = self.model.losses(batch)
            if watch:
                watch(losses)
            return torch.stack(losses).sum()

        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            losses = self.model.losses(batch)
            if watch:
                watch(losses)  # no graph is recorded here, so it is passed over
            self.log("val_mood", 0.5)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(ROWS, batch_size=4)

        def val_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(ROWS[:8], batch_size=4)

    callbacks: list[Any] = []
    if watch:
        from mtlbench.watch.lightning import WatchCallback

        callbacks.append(WatchCallback(watch, scores={"mood": "val_mood"}))
    trainer = L.Trainer(
        max_epochs=2,
        accumulate_grad_batches=3,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module())
    return model


@pytest.mark.filterwarnings("ignore")  # Lightning warns of few workers, short epochs and its own internals
def test_the_trainer_of_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs the extra 'lightning'")
    alone = train_with_lightning(tmp_path / "alone", watched=False)
    model = train_with_lightning(tmp_path / "watched", watched=True)
    assert digest(model) == digest(alone)
    check_history(tmp_path / "watched", "val_mood")


def test_scores_of_other_tasks_or_that_never_come_are_told(tmp_path: Path) -> None:
    from mtlbench.watch.scores import NamedScores

    shared = torch.nn.Linear(2, 1)
    watch = mtlbench.Watch(shared, ["a"], tmp_path)
    with pytest.raises(mtlbench.UsageError, match="scores= names task 'b'; the watch has a"):
        NamedScores(watch, {"b": "eval_b"})
    scores = NamedScores(watch, {"a": "eval_accuracy"})
    scores.take({"eval_loss": 1.0}, 0)
    with pytest.warns(UserWarning, match="no evaluation had the metric eval_accuracy of task a"):
        scores.check()
