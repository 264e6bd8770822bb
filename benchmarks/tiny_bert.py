"""A BERT that trains in seconds, with its tokenizer, as a user's own checkpoint would lie in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tiny_bert(
    folder: Path, words: Sequence[str], *, layers: int = 2, width: int = 32, weights: bool = True
) -> Path:
    """Write model and tokenizer to a folder, which is made if it is not there, and return it.

    :param words: that the tokenizer knows.
    :param weights: random ones, always the same; without, the configuration alone (for ``init=random``).
    """
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [*SPECIAL, *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    if weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            BertModel(config).save_pretrained(folder)
    else:
        config.save_pretrained(folder)
    return folder
