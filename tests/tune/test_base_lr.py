"""``base_lr``, the learning rate that a method brings along: its effect, its keys, and where it is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mtlbench as library
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

Call = Callable[..., subprocess.CompletedProcess[str]]


def test_a_methods_learning_rate_is_that_of_the_recipe_otherwise(make_workload: Callable[..., Workload]) -> None:
    def outcome(spec: str, lr: float) -> CellResult:
        return train(make_workload(lr=lr), load_registry().method(spec), 0)

    own, of_recipe = outcome("gradnorm[base_lr=3e-3]", 1e-4), outcome("gradnorm", 3e-3)
    assert own.scores == of_recipe.scores and own.pairing == of_recipe.pairing
    for name, values in own.outputs["dev"].items():
        assert values.tobytes() == of_recipe.outputs["dev"][name].tobytes()
    assert own.scores != outcome("gradnorm", 1e-4).scores or any(
        values.tobytes() != of_recipe.outputs["dev"][name].tobytes()
        for name, values in outcome("gradnorm", 1e-4).outputs["dev"].items()
    )


def test_a_method_without_a_learning_rate_has_the_key_that_it_had(make_workload: Callable[..., Workload]) -> None:
    workload, registry = make_workload(), load_registry()
    plain, own = registry.method("cagrad"), registry.method("cagrad[base_lr=1e-4]")
    assert "base_lr" not in plain.parameters and own.parameters["base_lr"] == 1e-4
    keys = {cell.key for cell in make_cells(workload, [plain, own], [0])}
    assert len(keys) == 2 and len({cell.group for cell in make_cells(workload, [plain, own], [0])}) == 1


def test_a_learning_rate_is_refused_where_it_has_no_effect(mtlbench: Call, tmp_path: Path) -> None:
    theta = torch.nn.Parameter(torch.ones(2))
    method = load_registry().method("pcgrad[base_lr=1e-4]")
    for use in (
        lambda: library.get_method("pcgrad", base_lr=1e-4),
        lambda: library.weights(method, [[1.0]]),
        lambda: library.aggregate("pcgrad[base_lr=1e-4]", [[1.0]]),
        lambda: library.backward([theta.sum()], method, [theta]),
        lambda: library.backward([theta.sum()], "pcgrad[base_lr=1e-4]", [theta]),
    ):
        with pytest.raises(UsageError, match="base_lr is for mtlbench run"):
            use()
    for command in (("toy", "--output", str(tmp_path), "--methods"), ("check",)):
        done = mtlbench(*command, "pcgrad[base_lr=1e-4]")
        assert done.returncode == 2 and "base_lr is for mtlbench run" in done.stderr
