"""The padded model, with which ``mtlbench bench`` compares, computes what the package's own model computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.bench.contenders import Padded, PaddedModel, make_optimizer
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.text.batches import TaskData
from mtlbench.text.engines import make_engine
from mtlbench.text.inputs import Inputs
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.tokens import Tokenizer

SETTINGS = ["", ",pooling=mean", ",pairs=apart", ",pooling=mean,pairs=apart", ",pooling=last", ",adapter=lora"]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_padded_model_computes_what_ours_does(
    settings: str, make_workload: Callable[..., Workload], tiny_bert: Path
) -> None:
    """The plain sum that all is compared with has the gradients of our own sum, without dropout."""
    workload = make_workload(model=f"{tiny_bert}[layers=1{settings}]", engine="packed")
    tokenizer = Tokenizer(workload.problem.encoder, workload.problem.files, 32)
    data = [
        TaskData.prepare(task, replace(splits), tokenizer, seed=0, sizes=np.full(1, 4), batches=1, device="cpu")
        for task, splits in zip(workload.tasks, workload.problem.splits, strict=True)
    ]
    arguments: Any = (workload.problem.encoder, workload.problem.files, workload.tasks, 0)
    ours, padded = MultiTaskModel(*arguments).eval(), PaddedModel(*arguments).eval()
    padded.fine_tuning.load_state_dict(ours.fine_tuning.state_dict())
    padded.heads.load_state_dict(ours.heads.state_dict())
    contender = Padded(padded, make_optimizer(list(padded.parameters()), workload.recipe), data)
    contender.step(0)
    engine = make_engine(ours, Inputs(ours, data, 0, "cpu"), workload.recipe)
    engine.step(load_registry().method("sum"), 0, measure=False)
    named = dict(padded.named_parameters())
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
        if parameter.grad is None:
            continue
        torch.testing.assert_close(parameter.grad, named[name].grad, rtol=1e-4, atol=1e-6)
