"""Adapters that peft has put into a model: LoRA's linear layers are packed; any other is told here.

A linear layer with LoRA is made of linear layers and a dropout, which :mod:`mtlbench.engine.packed.layers` installs as
everywhere. Only what peft does around them must be as usual: one active adapter, beside its layer, not merged into it.
"""

from __future__ import annotations

import sys
from typing import Any

from torch import nn


def adapter_fault(module: nn.Module, supported: tuple[type[nn.Module], ...]) -> str | None:
    """Return in a few words what of peft's in a module cannot be packed, or ``None``.

    :param module: any module; its children are not looked at.
    :param supported: classes of layers that can be installed.
    """
    if sys.modules.get("peft") is None:  # then it has wrapped nothing
        return None
    from peft import PeftModel
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    if isinstance(module, PeftModel) and module.active_peft_config.is_prompt_learning:
        return f"{module.active_peft_config.peft_type.value} of peft, which puts tokens before the texts"
    if isinstance(module, ModulesToSaveWrapper):
        return _copy_fault(module, supported)
    kind: type[object] = type(module)
    if kind is Linear:
        return _lora_fault(module)
    if isinstance(module, BaseTunerLayer):
        return f"{kind.__module__.split('.')[2]}.{kind.__name__} of peft"
    return None


def _copy_fault(layer: Any, supported: tuple[type[nn.Module], ...]) -> str | None:
    kind = type(layer.original_module)
    return _state_fault(layer, layer.modules_to_save) if kind in supported else f"a copy of {kind.__name__} by peft"


def _lora_fault(layer: Any) -> str | None:
    if layer.lora_variant:
        return f"LoRA as {type(next(iter(layer.lora_variant.values()))).__name__}"
    if layer.merged:
        return "an adapter that is merged into its layer, where it is not trained: unmerge it"
    return _state_fault(layer, layer.lora_A)


def _state_fault(layer: Any, adapters: nn.ModuleDict) -> str | None:
    if len(adapters) != 1:
        return f"{len(adapters)} adapters, {', '.join(adapters)}: delete all but one"
    if layer.disable_adapters or not set(adapters) & set(layer.active_adapters):
        return "an adapter that is switched off: make it active"
    return None
