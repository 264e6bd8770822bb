"""The preset for a GPU at a reduced budget: BERT-base whole, few rows and steps, on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.training.train import train

REDUCED_STEPS = 3
REDUCED = {
    "device": "cpu",
    "steps": REDUCED_STEPS,
    "batch_size": 2,
    "evaluations": 1,
    "dev_limit": 8,
    "test_rows": 4,
    "measure_every": 1,
    "threads": 2,
}


@pytest.fixture(scope="module")
def bert_base(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """BERT-base with random weights, and a small vocabulary's tokenizer."""
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("bert-base")
    BertConfig().save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(tiny_bert / name, folder / name)
    return f"{folder}[init=random]"


@pytest.mark.slow
@pytest.mark.parametrize("name", load_suite("cs224n-base").methods)
def test_the_preset_for_a_gpu_trains_the_same_in_half_precision_and_in_single(
    name: str, bert_base: str, table_tasks: tuple[str, ...], data_dir: Path
) -> None:
    suite, registry = load_suite("cs224n-base"), load_registry()
    losses = []
    for precision in ("bfloat16", "float32"):
        recipe = suite.recipe({**REDUCED, "tasks": table_tasks, "model": bert_base, "precision": precision})
        workload = Workload.load("cs224n-base", recipe, registry, data_dir=data_dir)
        outcome = train(workload, registry.method(name), 0)
        losses.append([loss for row in outcome.history if "losses" in row for loss in row["losses"].values()])
    half, single = losses
    assert len(half) == len(single) >= REDUCED_STEPS * len(table_tasks)
    np.testing.assert_allclose(half, single, rtol=0.05, atol=0.02)
