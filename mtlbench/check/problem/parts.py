"""Which parameters of a problem's model are shared, and which belong to a task's head; and whether that is so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mtlbench import seeds
from mtlbench.check.problem.subject import Subject
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.contract.problem import Target
from mtlbench.errors import one_line
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.randomness import seeded
from mtlbench.problem.splits import Split

ROWS = 32
"""Rows on which outputs are compared."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """Parameters of a model that belong together.

    :param owner: ``shared``, ``head of`` a task, ``no loss`` or ``frozen``.
    :param parameters: name → how many numbers it has.
    """

    owner: str
    parameters: Mapping[str, int]

    @property
    def numbers(self) -> int:
        """How many numbers they have in all."""
        return sum(self.parameters.values())


def parts_of(subject: Subject) -> list[Part]:
    """Return the parts of a problem's model; those without parameters are left out.

    :param subject: the problem under test.
    :raises UsageError: for a fault of the model, its outputs or its losses.
    """
    loaded = subject.loaded
    loaded.check(subject.workload.recipe)
    structure = loaded.structure
    trained = {
        name for name, p in Hooks(loaded.problem, loaded.tasks).model(0, CPU).named_parameters() if p.requires_grad
    }
    owned = {"shared": list(structure.shared)}
    owned |= {
        f"head of {target.name}": list(names) for target, names in zip(loaded.tasks, structure.heads, strict=True)
    }
    placed = {name for names in owned.values() for name in names}
    owned["no loss"] = [name for name in structure.sizes if name in trained and name not in placed]
    owned["frozen"] = [name for name in structure.sizes if name not in trained]
    return [Part(owner, {name: structure.sizes[name] for name in names}) for owner, names in owned.items() if names]


def told_apart(subject: Subject, parts: Sequence[Part]) -> list[Result]:
    """Change the parameters of one part at a time, and see which tasks' outputs change.

    This is independent of the gradients by which the parts were told apart.

    :param subject: the problem under test.
    :param parts: the parts.
    """
    loaded = subject.loaded
    hooks = Hooks(loaded.problem, loaded.tasks)
    before, again = (_outputs(hooks, hooks.model(0, CPU), loaded.splits["train"]) for _ in range(2))
    if any(not torch.equal(before[task], again[task]) for task in before):
        return [not_claimed("shared and heads", "not tried: in evaluation mode, outputs differ from call to call")]
    results = []
    for part in parts:
        if part.owner == "no loss":
            names = one_line(", ".join(part.parameters), 200)
            results.append(observed("unused", f"no loss reaches {names}: it is never trained"))
        if part.owner in ("no loss", "frozen"):
            continue
        model = hooks.model(0, CPU)
        _move(model, part.parameters)
        after = _outputs(hooks, model, loaded.splits["train"])
        changed = {task for task in before if not torch.equal(before[task], after[task])}
        expected = {part.owner.removeprefix("head of ")} if part.owner != "shared" else set(before)
        if changed != expected:
            found = ", ".join(sorted(changed)) or "no task"
            detail = f"other values of the part '{part.owner}' change the outputs of {found}"
            return [*results, Result("shared and heads", False, detail)]
    heads = sum(part.owner.startswith("head of") for part in parts)
    shared = next(part.numbers for part in parts if part.owner == "shared")
    detail = f"{shared} shared numbers change the outputs of all tasks"
    detail += f", {heads} heads those of their own task alone" if heads else ""
    return [Result("shared and heads", True, detail), *results]


def _outputs(hooks: Hooks, model: nn.Module, split: Split) -> dict[str, torch.Tensor]:
    """Return each task's outputs in evaluation mode, of rows with its label where tasks have batches of their own."""
    separate = hooks.problem.separate
    groups: list[Sequence[Target]] = [(target,) for target in hooks.targets] if separate else [hooks.targets]
    outputs: dict[str, torch.Tensor] = {}
    model.eval()
    for tasks in groups:
        rows = (split.numbers(tasks[0].name) if separate else np.arange(len(split)))[:ROWS]
        with torch.no_grad(), seeded(seeds.derive("check", "outputs"), CPU):
            inputs = hooks.inputs(lambda rows=rows: split.take(rows), CPU)  # type: ignore[misc]
            outputs |= hooks.outputs(model, inputs, tasks, len(rows))
    return outputs


def _move(model: nn.Module, names: Mapping[str, int]) -> None:
    generator = torch.Generator().manual_seed(seeds.derive("check", "parts"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * 0.1)
