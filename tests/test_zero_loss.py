"""A loss of exactly 0, at a task that is solved: no method's cell dies of it, and the record says what was done."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import UsageError, backward
from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.observation import FLOOR, above_zero
from mtlbench.diagnose import diagnose
from mtlbench.errors import CellError
from mtlbench.execute.worker import save
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.header import header
from mtlbench.records.history_form import check_row
from mtlbench.records.record_file import read_history, read_record
from mtlbench.records.store import Store
from mtlbench.training.result import CellProgress, CellResult
from mtlbench.training.train import train
from mtlbench.upkeep.export import values

Make = Callable[..., Workload]
REGISTRY = load_registry()
READ_LOSSES = sorted(name for name in REGISTRY.catalogue() if REGISTRY.method(name).reads_losses != "no")
VARIANTS = [
    *["log-cagrad", "log-pcgrad", "log-nash-mtl", "log-fairgrad", "log-imtl-g", "cr-mogm-si", "cr-mogm-log-cagrad"],
    *["mgda[normalize=loss]", "mgda[normalize=loss+]", "moco[normalize=loss]", "gradnorm[parameters_of=shared]"],
    *["dwa[window=1]", "stch[warmup=1]", "famo[minimum=-1]"],
]
NOTED = {"db-mtl", "famo", "gls", "log-mgda", "log-sum", "si", "stch", "uw-so"}
NOTED |= {"go4align", "igb", "lbtw", "cov-weighting", "ema-scaling"}
"""Those of the catalogue that take logarithms or ratios of the losses of single steps."""
ZEROS = (("mood",), ("mood", "same", "like"))


class Solved:
    """A task's loss that is exactly 0 from a step on: with a gradient of 0, as a squared error has, or with its own."""

    def __init__(self, loss: Any, step: int, sloped: bool) -> None:
        self.loss, self.step, self.sloped, self.calls = loss, step, sloped, 0

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += torch.is_grad_enabled()  # the pairing's, which comes first, is without
        loss: torch.Tensor = self.loss(outputs, targets)
        if self.calls < self.step:
            return loss
        return loss - loss.detach() if self.sloped else 0.0 * loss


def solved(workload: Workload, tasks: Sequence[str], step: int = 1, sloped: bool = False) -> Workload:
    """Return a workload some of whose tasks have a loss of 0."""
    made = [copy.copy(task) for task in workload.tasks]
    for task in made:
        if task.key in tasks:
            task.loss = Solved(task.loss, step, sloped)  # type: ignore[method-assign]
    return replace(workload, problem=replace(workload.problem, tasks=tuple(made)))  # type: ignore[type-var]


def trained(workload: Workload, method: str | Method) -> CellResult:
    made = REGISTRY.method(method) if isinstance(method, str) else method
    outcome = train(workload, made, 0)
    for row in outcome.history:
        assert np.isfinite([value for name in ("losses", "weights") for value in row.get(name, {}).values()]).all()
    return outcome


# every method in every engine, for one task and for all, from the first step and from the second; variants in two

CASES = [("packed", 0, 1, False), ("lean", 1, 2, False), ("loop", 1, 1, True), ("loop", 0, 2, False)]


@pytest.mark.parametrize("spec", [*READ_LOSSES, *VARIANTS])
def test_no_cell_dies(make_workload: Make, spec: str) -> None:
    for engine, which, step, sloped in CASES if spec in READ_LOSSES else CASES[:2]:
        workload, tasks = make_workload(engine=engine, evaluations=1, steps=3), ZEROS[which]
        outcome = trained(solved(workload, tasks, step, sloped), spec)
        if spec in NOTED:
            rows = [row for row in outcome.history if "losses" in row]
            assert [set(row.get("floored", ())) for row in rows[step:]] == [set(tasks)] * (3 - step)


@pytest.mark.parametrize(("precision", "engine"), [("float16", "packed"), ("bfloat16", "lean"), ("float16", "loop")])
@pytest.mark.parametrize("spec", ["si", "log-mgda", "db-mtl"])
def test_no_cell_dies_in_half_precision(make_workload: Make, spec: str, engine: str, precision: str) -> None:
    workload = make_workload(engine=engine, precision=precision, evaluations=1, steps=3)
    trained(solved(workload, ZEROS[1], 2, sloped=True), spec)


@pytest.mark.parametrize("name", sorted(set(REGISTRY.catalogue()) - {*READ_LOSSES} - {"krum"}))
def test_methods_that_read_no_losses_have_nothing_to_note(make_workload: Make, name: str) -> None:
    """A task without a gradient is a matter of its own; krum needs more tasks than there are."""
    outcome = trained(solved(make_workload(engine="loop", steps=1, evaluations=1), ["same"]), name)
    assert not any("floored" in row for row in outcome.history)


def test_a_cross_entropy_is_zero_from_a_gap_of_17_on() -> None:
    """Where the floor comes from: the true value is near 4·10⁻⁸, and single precision has none."""
    outputs = torch.tensor([[17.4, 0.0]], requires_grad=True)
    loss = torch.nn.functional.cross_entropy(outputs, torch.tensor([0]))
    exact = torch.nn.functional.cross_entropy(outputs.double(), torch.tensor([0]))
    assert loss.item() == 0.0 and FLOOR < exact.item() < 10 * FLOOR
    weights = backward([loss, outputs.square().sum()], "si", [outputs])
    assert weights is not None and weights[0] == 1 / FLOOR and outputs.grad is not None
    assert bool(torch.isfinite(outputs.grad).all())


def test_a_task_with_a_log_head_divides_by_the_floor_in_every_engine(make_workload: Make) -> None:
    heads = {}
    for engine in ("packed", "lean", "loop"):
        outcome = trained(solved(make_workload(engine=engine, steps=2), ["mood"], sloped=True), "log-mgda")
        heads[engine] = [row["losses"] for row in outcome.history if "losses" in row]
    for engine in ("packed", "lean"):
        for ours, loops in zip(heads[engine], heads["loop"], strict=True):
            assert ours == pytest.approx(loops, rel=1e-4)


# What is said of it


def test_record_history_export_and_doctor_say_so(make_workload: Make, tmp_path: Path) -> None:
    workload = solved(make_workload(), ["same"], step=3)
    (cell,) = make_cells(workload, [REGISTRY.method("si")], [0])
    record = header(cell, workload, REGISTRY, {})
    save(record, trained(workload, "si"), Store(tmp_path), CellProgress(1.0), None)
    (path,) = (path for path in tmp_path.rglob("seed-0-*.json"))
    read = read_record(path)
    assert read["floored"] == {"same": 2}
    rows = list(read_history(read))
    assert [row.get("floored") for row in rows if "losses" in row] == [None, None, ["same"], ["same"]]
    assert [row["losses"]["same"] == 0.0 for row in rows if "losses" in row] == [False, False, True, True]
    assert [(one.step, one.task) for one in values(rows) if one.what == "floored"] == [(3, "same"), (4, "same")]
    found = [one for _, findings in diagnose([read]) for one in findings if one.code == "zero-loss"]
    assert [(one.severity, one.tasks, one.method) for one in found] == [("note", ("same",), "si")]
    assert "2 of 4 steps" in found[0].evidence


def test_a_record_without_zeros_has_none(make_workload: Make, tmp_path: Path) -> None:
    workload = make_workload(steps=1, evaluations=1)
    (cell,) = make_cells(workload, [REGISTRY.method("si")], [0])
    record = header(cell, workload, REGISTRY, {})
    assert save(record, trained(workload, "si"), Store(tmp_path), CellProgress(1.0), None)["floored"] == {}
    assert (
        save(record, CellResult(), Store(tmp_path), CellProgress(1.0), ValueError("before the first step"))["floored"]
        is None
    )


@pytest.mark.parametrize("floored", ["mood", ["other"], [1], {"mood": 1}])
def test_a_row_that_says_otherwise_is_not_read(floored: Any) -> None:
    check_row({"step": 1, "losses": {"mood": 0.0}, "floored": ["mood"]}, ["mood", "other"])
    with pytest.raises(ValueError, match="not the form of a history"):
        check_row({"step": 1, "losses": {"mood": 0.0}, "floored": floored}, ["mood", "other"])


def test_positive_losses_and_negative_ones() -> None:
    method = REGISTRY.method("gls")
    seen = observe(method, losses=[0.0, 1e-300, -0.0, FLOOR / 2])
    assert seen.losses.tolist() == [FLOOR, 1e-300, FLOOR, FLOOR / 2] and seen.floored == (0, 2)
    assert above_zero(np.array([1e-12, 0.0])).tolist() == [1e-12, FLOOR]
    for reads_none in ("sum", "uw", "gradnorm"):
        plain = observe(REGISTRY.method(reads_none), losses=[0.0, 1.0], gram=np.eye(2))
        assert plain.losses.tolist() == [0.0, 1.0] and plain.floored == ()
    with pytest.raises(UsageError, match=r"method gls takes logarithms of the losses, so none may be negative"):
        observe(method, losses=[1.0, -1e-30])


@pytest.mark.parametrize("spec", ["si", "log-mgda", "uw", "famo", "dwa[window=1]"])
def test_a_negative_loss_names_the_tasks(make_workload: Make, spec: str) -> None:
    workload = make_workload(evaluations=1)
    broken = copy.copy(workload.tasks[2])
    plain = broken.loss
    broken.loss = lambda outputs, targets: plain(outputs, targets) - 9.0  # type: ignore[method-assign]
    object.__setattr__(workload.problem, "tasks", (*workload.tasks[:2], broken))
    words = r"^step 1: method \S+ .*-\d.*\(tasks, in this order: mood, same, like\)$"
    with pytest.raises(CellError, match=words):
        trained(workload, spec)
