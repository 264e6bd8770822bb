"""Loading of an encoder's weights with transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mtlbench import seeds
from mtlbench.errors import UsageError
from mtlbench.text.adapters import add_adapters
from mtlbench.text.encoder import Encoder, EncoderFiles


def load_encoder(encoder: Encoder, files: EncoderFiles, seed: int) -> Any:
    """Load an encoder from its files, and add adapters if it has any.

    Whether the architecture suits texts is checked earlier, by :func:`mtlbench.text.model_trial.try_model`.

    :param encoder: which encoder, with how many layers, pretrained or random, with which adapters.
    :param files: its files.
    :param seed: the cell's seed, for random weights.
    :raises UsageError: when ``layers`` exceeds the encoder's layers, or the files lack weights of the architecture,
        which transformers would initialise at random; and as :func:`mtlbench.text.adapters.add_adapters`.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # transformers warns about layers that are left out on purpose
    logging.disable_progress_bar()
    # pass trust_remote_code explicitly everywhere: otherwise transformers asks on the terminal whether to run a
    # model's own code
    config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
    if encoder.layers is not None:
        if encoder.layers > config.num_hidden_layers:
            raise UsageError(f"model {encoder.origin} has {config.num_hidden_layers} layers, not {encoder.layers}")
        config.num_hidden_layers = encoder.layers
    if config.model_type == "big_bird":
        config.attention_type = "original_full"  # sparse attention depends on the batch's longest text, and is random
    if files.causal:
        config.use_cache = False  # keys and values of a text are for the generation of further tokens
    with torch.random.fork_rng(devices=[]):  # restore the generator: loading and init=random draw from it
        torch.manual_seed(seeds.derive(seed, "encoder"))
        if encoder.init == "random":
            model = AutoModel.from_config(config, trust_remote_code=False)
        else:
            model = _pretrained(AutoModel, files, config)
    if getattr(model, "pooler", None) is not None:
        model.pooler = nn.Identity()  # its weights would be shared parameters without a gradient from any task
    if encoder.adapter is not None:
        add_adapters(model, encoder, seed)
    return model


def _pretrained(auto_model: Any, files: EncoderFiles, config: Any) -> Any:
    """Load weights; refuse a checkpoint that lacks any, since transformers would initialise those at random."""
    model, loading = auto_model.from_pretrained(
        files.folder, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    missing = [name for name in loading["missing_keys"] if not name.startswith("pooler.")]
    if missing or loading["mismatched_keys"]:
        raise UsageError(
            f"{files.folder.name} lacks {len(missing)} weights of a {type(model).__name__}, such as "
            f"{(missing or loading['mismatched_keys'])[0]}: it is another architecture's checkpoint"
        )
    return model
