"""Tiny random encoders of several families, saved as a user's own checkpoint would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TINY: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
    "roberta": {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32},
    "electra": {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "embedding_size": 16,
    },
    "distilbert": {"n_layers": 2, "dim": 16, "n_heads": 2, "hidden_dim": 32},
}


def save_tiny(family: str, folder: Path) -> Path:
    """Save a tiny random encoder of a family, as a user's own checkpoint would lie in a folder."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(family, vocab_size=50, max_position_embeddings=40, **TINY[family])
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
