"""Resolve what a user passes as parameters, and refuse what gradient surgery cannot handle."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mtlbench.errors import UsageError

ACCEPTED = "a module, parameters, named parameters, or a list of these"


def named_parameters(argument: str, source: Any) -> dict[str, torch.Tensor]:
    """Return parameters by name, each once, frozen ones included.

    :param argument: name of the argument, for messages.
    :param source: a module, a tensor, pairs of a name and a tensor, or an iterable or mapping of these.
    :raises UsageError: when something else is in it, or a tensor that no optimizer could train here.
    """
    names: dict[int, str] = {}
    result: dict[str, torch.Tensor] = {}
    try:
        pairs = list(_walk(argument, source))
    except RecursionError:
        raise UsageError(f"{argument} holds itself: give {ACCEPTED}") from None
    for name, parameter in pairs:
        if id(parameter) in names:
            continue
        _refuse(argument, name, parameter)
        unique = name if name not in result else f"{name} ({len(result)})"
        names[id(parameter)] = unique
        result[unique] = parameter
    return result


def shared_parameters(source: Any) -> dict[str, torch.Tensor]:
    """Return the shared parameters by name, of which at least one requires a gradient.

    :param source: as for :func:`named_parameters`, or a :class:`Source`.
    :raises UsageError: as :func:`named_parameters`, and when no parameter requires a gradient.
    """
    result = source.read() if isinstance(source, Source) else named_parameters("shared", source)
    if not result:
        raise UsageError(
            "shared has no parameters: pass the module that all tasks share, or its parameters (a generator of them "
            "can be read only once)"
        )
    if not any(parameter.requires_grad for parameter in result.values()):
        if not any(isinstance(parameter, nn.Parameter) for parameter in result.values()):
            raise UsageError(
                "shared has plain tensors without gradients, such as buffers or the copies in .data and state_dict(): "
                "pass the module or module.parameters()"
            )
        raise UsageError(f"none of the {len(result)} shared parameters requires a gradient: unfreeze some")
    return result


class Source:
    """Parameters by name, to read at every step: a module's may be replaced, as by ``load_state_dict(assign=True)``.

    :param argument: name of the argument, for messages.
    :param source: as for :func:`named_parameters`.
    :raises UsageError: as :func:`named_parameters`.
    """

    def __init__(self, argument: str, source: Any) -> None:
        self.argument, self.parameters = argument, named_parameters(argument, source)
        items = list(source.values()) if isinstance(source, Mapping) else source
        self._roots: list[Any] = list(items) if isinstance(items, list | tuple) else [items]
        if not all(isinstance(item, nn.Module) for item in self._roots):
            self._roots = []
        self._modules = [module for root in self._roots for module in root.modules()]
        self._ids = self._present()

    def read(self) -> dict[str, torch.Tensor]:
        """Return the parameters by name.

        :raises UsageError: when one was replaced by a tensor that no optimizer could train here.
        """
        if self._present() != self._ids:
            self.parameters, self._ids = named_parameters(self.argument, self._roots), self._present()
        return self.parameters

    def _present(self) -> list[int]:
        return [id(parameter) for module in self._modules for parameter in module._parameters.values()]


def described(value: Any) -> str:
    """Return what a wrong argument is, for messages.

    :param value: the argument.
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__} (give an object of it)"
    if isinstance(value, MethodType | FunctionType):
        return f"the function {value.__name__} (call it)"
    if isinstance(value, torch.optim.Optimizer):
        return "an optimizer (which has the heads' parameters too)"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _walk(argument: str, source: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(source, nn.Module):
        yield from source.named_parameters()
    elif isinstance(source, torch.Tensor):
        yield f"a tensor of shape {tuple(source.shape)}", source
    elif isinstance(source, Mapping):
        group = source.get("params")  # a parameter group of an optimizer
        yield from _walk(argument, list(source.items()) if group is None or isinstance(group, torch.Tensor) else group)
    elif isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str):
        for name, parameter in _walk(argument, source[1]):
            yield (source[0] if isinstance(source[1], torch.Tensor) else f"{source[0]}.{name}"), parameter
    elif isinstance(source, set | frozenset):
        raise UsageError(f"{argument} is a set, which has no order: give a list")
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes | type):
        for item in source:
            yield from _walk(argument, item)
    else:
        raise UsageError(f"{argument} must be {ACCEPTED}, not {described(source)}")


def _refuse(argument: str, name: str, parameter: torch.Tensor) -> None:
    """Raise a :class:`UsageError` for a tensor whose gradients cannot be combined here."""
    if is_lazy(parameter):
        raise UsageError(f"{argument}: {name} has no shape yet (a lazy module): run one forward first")
    if not parameter.is_leaf:
        raise UsageError(
            f"{argument}: {name} is computed from other tensors: pass the parameters themselves (an output of the "
            "shared module is what representation= takes)"
        )
    if parameter.is_complex():
        raise UsageError(f"{argument}: {name} is complex: methods are defined for real gradients, so keep it real")
    if parameter.is_meta:
        raise UsageError(f"{argument}: {name} is on the meta device, without values: load the model first")
    sharded = (
        type(parameter).__name__ in {"DTensor", "FlatParameter"}
        or hasattr(parameter, "_fsdp_flattened")
        or hasattr(parameter, "ds_id")
        or isinstance(getattr(parameter, "data", None), _dtensor())
    )
    if sharded:
        raise UsageError(
            f"{argument}: {name} is sharded over processes (FSDP, tensor parallel or ZeRO), where no process sees "
            "whole task gradients: use DistributedDataParallel"
        )


def _dtensor() -> tuple[type, ...]:
    """Return the class of distributed tensors; nothing where its module is not imported: then there is none."""
    module = sys.modules.get("torch.distributed.tensor")
    return () if module is None else (module.DTensor,)
