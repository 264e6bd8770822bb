"""Folders with tiny random models of any family that transformers has, and tokenizers of a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
WORDS = (
    "the", "a", "dog", "cat", "runs", "sleeps", "slowly", ".", "in", "red", "house", "good", "bad", "film", "very",
)  # fmt: skip
VOCABULARY = 60
POSITIONS = 40
TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_words": VOCABULARY, "pad_token_id": 0,
    "num_hidden_layers": 2, "n_layers": 2, "n_layer": 2, "num_layers": 2,
    "encoder_layers": 2, "decoder_layers": 2, "num_decoder_layers": 1,
    "hidden_size": 16, "embedding_size": 16, "dim": 16, "d_model": 16, "emb_dim": 16, "n_embd": 16,
    "true_hidden_size": 16, "intra_bottleneck_size": 16,
    "num_attention_heads": 2, "n_heads": 2, "n_head": 2, "num_heads": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "d_head": 8, "d_kv": 8,
    "intermediate_size": 32, "hidden_dim": 32, "d_inner": 32, "d_ff": 32, "ffn_dim": 32, "n_inner": 32,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "max_position_embeddings": POSITIONS, "n_positions": POSITIONS, "max_seq_len": POSITIONS,
}  # fmt: skip
"""Small values of settings, whichever of them a family has."""
OWN: dict[str, dict[str, Any]] = {
    "lilt": {"hidden_size": 24, "channel_shrink_ratio": 2},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "architectures": ["FunnelModel"]},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "intermediate_size": 32},
    "reformer": {
        "axial_pos_shape": [4, 10], "axial_pos_embds_dim": [8, 8], "attn_layers": ["local", "lsh"],
        "attention_head_size": 8, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "feed_forward_size": 32,
        "num_buckets": 2,
    },
}  # fmt: skip
"""What some families need beside :data:`TINY`."""


def write_model(folder: Path, family: str, **settings: Any) -> Path:
    """Write a tiny random model of a family to a folder, and return the folder."""
    from transformers import AutoConfig, AutoModel

    usual = AutoConfig.for_model(family)
    known = set(usual.to_dict()) - set(usual.attribute_map)
    chosen = {name: value for name, value in TINY.items() if name in known}
    config = AutoConfig.for_model(family, **chosen | OWN.get(family, {}) | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, *, first: bool = True, separators: bool = True, more: tuple[str, ...] = ()) -> Path:
    """Write a tokenizer of words that are between spaces, of the usual class, and return the folder.

    :param first: put ``[CLS]`` before a text.
    :param separators: put ``[SEP]`` after each text.
    :param more: tokens beyond the vocabulary's end.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    numbers = {token: number for number, token in enumerate((*SPECIAL, *WORDS))}
    numbers |= {token: VOCABULARY + number for number, token in enumerate(more)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    begin, end = "[CLS] " if first else "", " [SEP]" if separators else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin}$A{end}",
        pair=f"{begin}$A{end} $B:1{f'{end}:1' if end else ''}",
        special_tokens=[(token, numbers[token]) for token in ("[CLS]", "[SEP]")],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


def write_folder(folder: Path, family: str, **settings: Any) -> Path:
    """Write a model and a tokenizer with all marks to a folder, and return the folder."""
    return write_tokenizer(write_model(folder, family, **settings))
