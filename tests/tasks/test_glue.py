"""Tasks of GLUE, on a replacement of the hub."""

from __future__ import annotations

from typing import Any

import pytest
from task_faults import make

from mtlbench.errors import UsageError
from mtlbench.text.floors import floors


class TestGlue:
    @pytest.mark.parametrize(
        ("name", "columns", "outputs", "metrics"),
        [
            ("cola", "sentence", 2, ("matthews",)),
            ("sst2", "sentence", 2, ("accuracy",)),
            ("mrpc", "sentence1 sentence2", 2, ("accuracy", "f1")),
            ("stsb", "sentence1 sentence2", 1, ("pearson", "spearman")),
            ("qqp", "question1 question2", 2, ("accuracy", "f1")),
            ("mnli", "premise hypothesis", 3, ("accuracy",)),
            ("qnli", "question sentence", 2, ("accuracy",)),
            ("rte", "sentence1 sentence2", 2, ("accuracy",)),
            ("wnli", "sentence1 sentence2", 2, ("accuracy",)),
        ],
    )
    def test_every_task(self, hub: Any, name: str, columns: str, outputs: int, metrics: tuple[str, ...]) -> None:
        rows: dict[str, list[Any]] = {column: [f"{column} 1", f"{column} 2"] for column in columns.split()}
        rows |= {"label": [1, 0], "idx": [0, 1]}
        hidden = {**rows, "label": [-1, -1]}
        dev = ["validation_matched", "validation_mismatched"] if name == "mnli" else ["validation"]
        asked = hub({"train": rows, "test": hidden, **dict.fromkeys(dev, rows)})
        task = make(f"glue[task={name}]")
        splits = task.load(None)
        assert asked == [("nyu-mll/glue", name, None)]
        assert (task.key, task.outputs, task.metrics) == (name, outputs, metrics)
        for found in (splits.train, splits.dev):
            assert list(found.texts) == [tuple(f"{column} {n}" for column in columns.split()) for n in (1, 2)]
            assert found.labels.tolist() == [1, 0]
        assert set(floors(task, splits)) == set(metrics)

    def test_mnli_mismatched(self, hub: Any) -> None:
        rows = {"premise": ["a"], "hypothesis": ["b"], "label": [2]}
        other = {"premise": ["other"], "hypothesis": ["b"], "label": [0]}
        hub({"train": rows, "validation_matched": rows, "validation_mismatched": other})
        task = make("glue[task=mnli,mismatched=true]")
        assert task.key == "mnli-mm" and task.load(None).dev.texts[0] == ("other", "b")
        with pytest.raises(UsageError, match="mismatched=true is for task=mnli, not rte"):
            make("glue[task=rte,mismatched=true]")

    def test_a_task_that_is_none(self) -> None:
        with pytest.raises(UsageError, match="parameter task=ax should be 'cola', 'sst2', 'mrpc'"):
            make("glue[task=ax]")

    def test_what_an_encoder_may_have_been_tuned_on(self) -> None:
        assert [make(f"glue[task={name}]").corpus for name in ("qqp", "rte")] == ["quora", ""]
