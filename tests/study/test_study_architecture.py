"""The architecture, read from a model object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from model_folders import write_folder
from study_records import suite

from mtlbench import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.study import architecture
from mtlbench.study.parts import study_of
from mtlbench.text.model import MultiTaskModel


def test_boxes_are_the_models(make_workload: Any) -> None:
    workload: Workload = make_workload()
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, workload.tasks, seed=0)
    shared = architecture.shared_boxes(model)
    heads = architecture.head_boxes(model, [task.key for task in workload.tasks])
    assert [box.name for box in shared[1:3]] == ["embeddings", "1 Transformer layer"]
    assert [box.shape for box in heads] == ["linear 32 → 3", "linear 32 → 2", "linear 32 → 1"]
    assert sum(box.parameters for box in (*shared, *heads)) == sum(p.numel() for p in model.parameters())


def test_a_causal_model_with_adapters(make_workload: Any, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    workload: Workload = make_workload(model=f"{write_folder(tmp_path, 'gpt2')}[layers=1,adapter=lora,rank=2]")
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, workload.tasks, seed=0)
    shared = architecture.shared_boxes(model)
    assert [(box.name, box.shape) for box in shared[:-1]] == [
        ("texts", "as the tokenizer marks them"),
        ("wte", "60 tokens × 16"),
        ("wpe", "40 positions × 16"),
        ("1 Transformer layer", "width 16, 2 attention heads, LoRA of rank 2"),
        ("ln_f", "width 16"),
        ("pooling", "the state of the last token"),
    ]
    heads = architecture.head_boxes(model, [task.key for task in workload.tasks])
    assert sum(box.parameters for box in (*shared, *heads)) == sum(p.numel() for p in model.parameters())


def test_the_architecture_is_built_from_a_record(tiny_bert: Path) -> None:
    spec = f"{tiny_bert}[layers=1,pairs=apart]"
    records = suite("main", {"sum": 0.0}, 1, model=spec)
    records[0]["encoder"]["spec"] = spec
    figure = architecture.architecture(study_of(records).suites[0])
    assert "linear 64 → 5" in figure.description and "vectors joined" in figure.description
    assert "1 Transformer layer" in figure.svg
    assert "pooler" not in figure.description
    records[0]["encoder"]["spec"] = "/nowhere"
    with pytest.raises(UsageError):
        architecture.architecture(study_of(records).suites[0])
