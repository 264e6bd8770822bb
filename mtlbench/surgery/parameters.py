"""Resolve what a user passes as parameters, and refuse what gradient surgery cannot handle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    for name, parameter in _walk(argument, source):
        if id(parameter) in names:
            continue
        _refuse(argument, name, parameter)
        unique = name if name not in result else f"{name} ({len(result)})"
        names[id(parameter)] = unique
        result[unique] = parameter
    return result


def shared_parameters(source: Any) -> dict[str, torch.Tensor]:
    """Return the shared parameters by name, of which at least one requires a gradient.

    :param source: as for :func:`named_parameters`.
    :raises UsageError: as :func:`named_parameters`, and when no parameter requires a gradient.
    """
    result = named_parameters("shared", source)
    if not result:
        raise UsageError("shared has no parameters: pass the module that all tasks share, or its parameters")
    if not any(parameter.requires_grad for parameter in result.values()):
        raise UsageError(f"none of the {len(result)} shared parameters requires a gradient: unfreeze some")
    return result


def _walk(argument: str, source: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(source, nn.Module):
        yield from source.named_parameters()
    elif isinstance(source, torch.Tensor):
        yield f"{argument} of shape {tuple(source.shape)}", source
    elif isinstance(source, Mapping):
        yield from _walk(argument, list(source.items()))
    elif isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str):
        for name, parameter in _walk(argument, source[1]):
            yield (source[0] if isinstance(source[1], torch.Tensor) else f"{source[0]}.{name}"), parameter
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes):
        for item in source:
            yield from _walk(argument, item)
    else:
        raise UsageError(f"{argument} must be {ACCEPTED}, not {type(source).__name__}")


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
            f"{argument}: {name} is sharded over processes (FSDP, tensor parallel or ZeRO), where no process sees whole "
            "task gradients: use DistributedDataParallel"
        )


def _dtensor() -> tuple[type, ...]:
    if not torch.distributed.is_available():
        return ()
    from torch.distributed.tensor import DTensor

    return (DTensor,)
