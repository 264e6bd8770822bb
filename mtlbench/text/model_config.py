"""An encoder's ``config.json``: whether it is a text encoder, and its layers and positions. Does not import torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError, shown

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "seq_length")
"""Names of the setting for the number of positions, which differ between families."""
LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
"""Names of the setting for the number of layers."""
WORDS = ("vocab_size", "n_words")
"""Names of the setting for the size of the vocabulary."""
UNLIMITED = 2**30
"""Number of positions, or of tokens, of an encoder without a limit."""
COUNTS_FROM_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Families that number positions from the padding token's number plus one, as in fairseq, and use no lower ones."""
PACKED_SINCE = {"modernbert": 1, "xlm-roberta": 1}
"""Families that were packed only after cells with them could be trained, and the number of such changes. Packs have
dropout masks of their own, so the number counts for the keys of cells."""
CAUSAL = {
    "apertus", "arcee", "biogpt", "bitnet", "bloom", "cohere", "cohere2", "ctrl", "diffllama", "ernie4_5", "exaone4",
    "falcon", "falcon_h1", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo",
    "gpt_neox", "gpt_neox_japanese", "gpt_oss", "gptj", "granite", "helium", "hunyuan_v1_dense", "jetmoe", "lfm2",
    "llama", "mamba", "minimax", "ministral", "mistral", "mixtral", "modernbert-decoder", "mpt", "nanochat", "nemotron",
    "olmo", "olmo2", "olmo3", "olmoe", "openai-gpt", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe",
    "qwen3", "qwen3_moe", "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2", "xglm",
}  # fmt: skip
"""Families in which each token sees only itself and the tokens before it. Of other families, the trial shows it."""
ENCODER_DECODERS = {
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "encoder-decoder", "fsmt", "led", "longt5",
    "m2m_100", "marian", "mbart", "mt5", "mvp", "nllb-moe", "pegasus", "pegasus_x", "plbart", "prophetnet",
    "switch_transformers", "t5", "t5gemma", "t5gemma2", "udop", "umt5",
}  # fmt: skip
"""Families with a decoder, whose states transformers returns. Many of their configurations do not set
``is_encoder_decoder``."""
PARTS = ("encoder", "decoder", "text_config", "vision_config", "audio_config")
"""Settings that hold the configurations of a model's components."""
INSTEAD = "give a BERT-like encoder, such as a BERT, RoBERTa, DeBERTa or ModernBERT"


@dataclass(frozen=True)
class ModelConfig:
    """A model's configuration.

    :param origin: the model's name as the user wrote it.
    :param settings: the contents of the file.
    """

    origin: str
    settings: dict[str, Any]

    @classmethod
    def read(cls, file: Path, origin: str) -> ModelConfig:
        """Read a configuration; refuse one that is not a text encoder's.

        :func:`mtlbench.text.model_trial.try_model` checks what the configuration does not show.

        :param file: the ``config.json``.
        :param origin: the model's name as the user wrote it.
        :raises UsageError: when the file is not a JSON object, or describes an encoder-decoder, a decoder, a model of
            several components, or positions that transformers does not compute.
        """
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{file} is not JSON: {error}") from None
        if not isinstance(settings, dict):
            raise UsageError(f"{file} is not a JSON object with a model's settings, but {shown(settings)}")
        config = cls(origin, settings)
        config._check()
        return config

    @property
    def family(self) -> str:
        """The name of the architecture; empty where the configuration has none."""
        return str(self.settings.get("model_type") or "")

    @property
    def layers(self) -> int | None:
        """The number of layers, or ``None`` where the configuration does not give it."""
        return self._number(LAYERS)

    @property
    def longest(self) -> int:
        """Length of the longest sequence that the encoder has positions for, in tokens."""
        positions = self._number(POSITIONS)
        if positions is None or positions <= 0:  # as in XLNet, which has no limit
            return UNLIMITED
        return positions - first_position(self.family, self._number(("pad_token_id",)))

    @property
    def words(self) -> int:
        """The size of the vocabulary: the number of tokens that have a vector."""
        words = self._number(WORDS)
        return UNLIMITED if words is None else words

    @property
    def causal(self) -> bool:
        """Whether the family is known to be causal, and the configuration does not switch that off."""
        return self.family in CAUSAL and self.settings.get("is_causal") is not False

    def _check(self) -> None:
        if not self.family:
            raise UsageError(f"the config.json of {self.origin} has no model_type: {INSTEAD}")
        if self.family in ENCODER_DECODERS or self.settings.get("is_encoder_decoder") is True:
            raise UsageError(
                f"model {self.origin} is an encoder-decoder ({self.family}), whose vectors would be its decoder's: "
                f"{INSTEAD}"
            )
        parts = [name for name in PARTS if isinstance(self.settings.get(name), dict)]
        if parts:
            raise UsageError(
                f"model {self.origin} ({self.family}) is made of several models ({', '.join(parts)}): save its text "
                f"encoder to a folder of its own, or {INSTEAD}"
            )
        kind = self.settings.get("position_embedding_type", "absolute")
        if kind != "absolute" and self.family != "esm":
            raise UsageError(
                f"model {self.origin} has {shown(kind)} positions, which transformers no longer computes: {INSTEAD}"
            )
        if self.settings.get("is_decoder") is True or self.settings.get("add_cross_attention") is True:
            raise UsageError(
                f"model {self.origin} is set up as a decoder: set is_decoder and add_cross_attention to false in its "
                f"config.json to read it as an encoder, or {INSTEAD}"
            )

    def _number(self, names: tuple[str, ...]) -> int | None:
        for name in names:
            value = self.settings.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise UsageError(f"the config.json of {self.origin}: {name} is {shown(value)}, not a whole number")
            return value
        return None


def first_position(family: str, padding: int | None) -> int:
    """Return the position of a sequence's first token in the family's table of positions.

    :param family: the name of the architecture.
    :param padding: the number of the padding token.
    """
    if family not in COUNTS_FROM_PADDING:
        return 0
    return 2 if padding is None or family == "mpnet" else padding + 1  # MPNet assumes 1, whatever its padding
