"""Calls of the code that a problem's author wrote, with checks whose messages name problem, hook and task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from mtlbench import seeds
from mtlbench.contract.problem import Problem, Target
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said, shown
from mtlbench.problem.loss_fault import loss_fault
from mtlbench.problem.randomness import seeded
from mtlbench.problem.targets import is_missing
from mtlbench.surgery.parameters import named_parameters


class Hooks:
    """The hooks of a problem that need a model.

    :param problem: the problem.
    :param targets: the chosen tasks.
    """

    def __init__(self, problem: Problem, targets: Sequence[Target]) -> None:
        self.problem, self.targets = problem, tuple(targets)
        self._where = f"problem {problem.name}"

    def model(self, seed: int, device: torch.device) -> nn.Module:
        """Return a new model on a device and in training mode; its weights depend on the seed alone.

        :param seed: the cell's seed.
        :param device: the device; the model is made on the CPU.
        :raises CellError: when it is no module, or has nothing to train.
        """
        with seeded(seeds.derive(seed, "model"), torch.device("cpu")):
            model = self._call("model", self.problem.model, self.targets)
        if not isinstance(model, nn.Module):
            raise CellError(f"{self._where}: model() returned {shown(model)}; return a torch.nn.Module")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise CellError(f"{self._where}: model() returned a module without a parameter that requires a gradient")
        return model.to(device).train()

    def outputs(self, model: nn.Module, inputs: Any, tasks: Sequence[Target], rows: int) -> dict[str, torch.Tensor]:
        """Return the outputs of some tasks, checked.

        :param model: the model.
        :param inputs: of the rows, on the model's device.
        :param tasks: the tasks.
        :param rows: B.
        :raises CellError: naming the hook, and the task if it is about one.
        """
        names = [target.name for target in tasks]
        outputs = self._call("outputs", self.problem.outputs, model, inputs, names)
        if not isinstance(outputs, Mapping):
            raise CellError(
                f"{self._where}: outputs() returned {_kind(outputs)}; return a mapping from task to outputs"
            )
        for target in tasks:
            fault = _output_fault(outputs, target, rows)
            if fault is not None:
                raise CellError(f"{self._where}: outputs() {fault}", task=target.name)
        return {name: outputs[name] for name in names}

    def loss(self, target: Target, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return a task's mean loss over the labelled rows of a batch, checked.

        :param target: the task.
        :param outputs: (B, C) outputs of these rows.
        :param labels: their labels.
        :raises CellError: naming the task.
        """
        loss = self._call("loss", self.problem.loss, target, outputs, labels, task=target)
        fault = loss_fault(loss, outputs)
        if fault is not None:
            raise CellError(
                f"{self._where}: task {target.name}: loss() returned {fault}; return the mean over rows, one "
                "real number computed from the outputs by torch",
                task=target.name,
            )
        return cast(torch.Tensor, loss)

    def inputs(self, take: Callable[[], Any], device: torch.device) -> Any:
        """Return the inputs of a batch on a device.

        :param take: reads them.
        :param device: the device.
        :raises CellError: when the author's reader raises.
        """
        return _moved(self._call("inputs[...]", take), device)

    def parameters(self, hook: str, model: nn.Module) -> dict[str, torch.Tensor] | None:
        """Return the parameters that ``shared`` or ``last_shared_layer`` names, by their names in the model.

        :param hook: the hook's name.
        :param model: the model.
        :returns: those that require a gradient; ``None`` where the author names none.
        :raises CellError: when something is not part of the model, or nothing in it is trained.
        """
        source = self._call(hook, getattr(self.problem, hook), model)
        if source is None:
            return None
        try:
            parameters = named_parameters(f"{hook}()", _not_once(source))
        except UsageError as error:
            raise CellError(f"{self._where}: {error}") from error
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for name, parameter in parameters.items():
            if id(parameter) not in names:
                raise CellError(f"{self._where}: {hook}() returned {name}, which is no parameter of the model")
        trained = {names[id(parameter)]: parameter for parameter in parameters.values() if parameter.requires_grad}
        if not trained:
            raise CellError(f"{self._where}: {hook}() returned no parameter that requires a gradient")
        return trained

    def representation(self, model: nn.Module) -> nn.Module | None:
        """Return the module whose output all heads read, if the author names one.

        :param model: the model.
        :raises CellError: when it is not part of the model.
        """
        module = self._call("representation", self.problem.representation, model)
        if module is None:
            return None
        if not isinstance(module, nn.Module) or all(module is not part for part in model.modules()):
            raise CellError(f"{self._where}: representation() returned {_kind(module)}; return a module of the model")
        return module

    def _call(self, hook: str, function: Callable[..., Any], *arguments: Any, task: Target | None = None) -> Any:
        place = self._where if task is None else f"{self._where}: task {task.name}"
        key = None if task is None else task.name
        try:
            return function(*arguments)
        except (CellError, UsageError):
            raise
        except Exception as error:  # an author's code may raise anything
            if is_out_of_memory(error):
                raise
            if is_missing(error):
                raise CellError(f"{place}: {hook}() is missing; write it", task=key) from None
            shapes = [f"{tuple(part.shape)}" for part in arguments if isinstance(part, torch.Tensor)]
            on = f", on tensors of shape {' and '.join(shapes)}" if shapes else ""
            name = f"{hook}()" if hook.isidentifier() else hook
            raise CellError(f"{place}: {name} raised {said(error)}{on}", task=key) from error


def _output_fault(outputs: Mapping[str, Any], target: Target, rows: int) -> str | None:
    """Return what is wrong with a task's outputs, or ``None``."""
    if target.name not in outputs:
        return f"returned no outputs of task {target.name}, but of {', '.join(map(str, outputs)) or 'none'}"
    output = outputs[target.name]
    if not isinstance(output, torch.Tensor):
        return f"returned {_kind(output)} for task {target.name}; return a tensor"
    if output.shape != (rows, target.outputs):
        return f"returned the shape {tuple(output.shape)} for task {target.name}, not {(rows, target.outputs)}"
    return (
        None if output.is_floating_point() else f"returned {output.dtype} for task {target.name}; return real numbers"
    )


def _moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, torch.Tensor):
        return inputs.to(device, non_blocking=True)
    if isinstance(inputs, Mapping):
        return {name: _moved(part, device) for name, part in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)([_moved(part, device) for part in inputs])
    return inputs


def _not_once(source: Any) -> Any:
    """Return parameters in a form that can be read more than once."""
    kinds = (nn.Module, torch.Tensor, Mapping, str)
    return list(source) if isinstance(source, Iterable) and not isinstance(source, kinds) else source


def _kind(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
