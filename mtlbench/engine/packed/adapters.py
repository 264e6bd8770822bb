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
    if "peft" not in sys.modules:  # then it has wrapped nothing
        return None
    from peft import PeftModel
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    if isinstance(module, PeftModel) and module.active_peft_config.is_prompt_learning:
        return f"{module.active_peft_config.peft_type.value} of peft, which puts tokens before the texts"
    if isinstance(module, ModulesToSaveWrapper):
        kind = type(module.original_module)
        return _state(module, module.modules_to_save) if kind in supported else f"a copy of {kind.__name__} by peft"
    if not isinstance(module, BaseTunerLayer):
        return None
    if type(module) is not Linear:
        return f"{type(module).__module__.split('.')[2]}.{type(module).__name__} of peft"
    if module.lora_variant:
        return f"LoRA as {type(next(iter(module.lora_variant.values()))).__name__}"
    return _state(module, module.lora_A)


def _state(module: Any, adapters: nn.ModuleDict) -> str | None:
    if len(adapters) != 1:
        return f"{len(adapters)} adapters, {', '.join(adapters)}: delete all but one"
    if getattr(module, "merged", False):
        return "an adapter that is merged into its layer, where it is not trained: unmerge it"
    if module.disable_adapters or not set(adapters) & set(module.active_adapters):
        return "an adapter that is switched off: make it active"
    return None
