"""Trial of tiny random models of many families: which are accepted, up to their last position, and which refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import POSITIONS, write_folder, write_model

from mtlbench.errors import UsageError
from mtlbench.text.encoder import Encoder
from mtlbench.text.model_config import CAUSAL, UNLIMITED
from mtlbench.text.model_trial import Traits, try_model
from mtlbench.text.pretrained import load_encoder

BEYOND = 600
"""More tokens than the tiny models have positions for."""
FROM_ZERO = (
    "albert", "bert", "bert-generation", "big_bird", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "esmc",
    "eurobert", "flaubert", "gte", "jina_embeddings_v3", "layoutlm", "megatron-bert", "mobilebert", "modernbert",
    "nomic_bert", "rembert", "roc_bert", "roformer", "splinter", "squeezebert", "xlm",
)  # fmt: skip
FROM_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl",
)  # fmt: skip
UNBOUNDED = ("xlnet",)
READS_PADDING = ("canine", "convbert", "fnet", "funnel", "nystromformer", "yoso")
NO_TEXT = ("bros", "dpr", "lxmert", "vit", "wav2vec2", "xmod")
DECODING = ("bart", "mbart", "mt5", "t5", "t5gemma", "whisper")
FAST = {"camembert", "distilbert", "gpt2", "llama", "longformer", "modernbert", "mpnet", "convbert", "vit"}
"""Those that every run of the tests tries; the others take a minute, most of it to import their code."""


def families(*names: str) -> list[Any]:
    """Return parameters for families, those that are not tried by default marked as slow."""
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


def tried(folder: Path, pooling: str = "cls", max_length: int = BEYOND, pairs: bool = True, more: str = "") -> Traits:
    """Try a folder's model as a grid does before it begins."""
    encoder = Encoder.parse(f"{folder}[pooling={pooling}{more}]")
    return try_model(encoder, encoder.locate(), max_length, pairs=pairs)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", families(*FROM_ZERO, *FROM_PADDING, *UNBOUNDED))
def test_encoders_are_read_up_to_their_last_position(family: str, pooling: str, tmp_path: Path) -> None:
    """With the usual padding token of fairseq; MPNet counts from it in any case."""
    folder = write_folder(tmp_path / family, family, **{"pad_token_id": 1} if family in FROM_PADDING else {})
    positions = POSITIONS - 2 if family in FROM_PADDING else UNLIMITED if family in UNBOUNDED else POSITIONS
    assert Encoder.parse(str(folder)).locate().longest == positions
    packed = family in ("bert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
    assert (tried(folder, pooling).unpacked is None) == packed


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FROM_ZERO, *FROM_PADDING])
def test_there_is_no_position_that_is_not_used(family: str, tmp_path: Path) -> None:
    """Rotary and relative positions go on; where positions are a table, the next one is not in it."""
    endless = ("esmc", "eurobert", "gte", "jina_embeddings_v3", "modernbert", "nomic_bert")
    model = load_encoder(encoder := Encoder.parse(str(write_model(tmp_path, family))), files := encoder.locate(), 0)
    ids = torch.full((1, files.longest + 1), 5)
    try:
        with torch.inference_mode():
            model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        fits = True
    except (IndexError, RuntimeError, ValueError):
        fits = False
    assert fits == (family in endless)


@pytest.mark.parametrize("family", families(*sorted(CAUSAL)))
def test_causal_models_are_refused_at_cls_and_read_at_last_and_mean(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / family, family)
    encoder = Encoder.parse(str(folder))
    files = encoder.locate()
    assert files.causal and encoder.settled(files).pooling == "last"
    with pytest.raises(UsageError, match=r"does not see the rest of its text.*write .*\[pooling=last\]$"):
        tried(folder)
    assert tried(folder, "last").unpacked == tried(folder, "mean").unpacked is not None
    with pytest.raises(UsageError, match=r"does not see the rest of its text.*write .*\[pooling=last\]$"):
        try_model(encoder, replace(files, causal=False), BEYOND, pairs=True)


REFUSED = {
    **dict.fromkeys(READS_PADDING, "reads the padding behind a text"),
    **dict.fromkeys(NO_TEXT, "is not an encoder that reads token numbers alone"),
    "mra": "do not see one another",
    "reformer": "gives 32 numbers per token, not its width, 16",
    "perceiver": "cannot load model",
}


@pytest.mark.parametrize("family", families(*REFUSED))
def test_other_architectures_are_refused_in_one_line(family: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / family, family)
    for pooling in ("cls", "mean"):
        with pytest.raises(UsageError, match=REFUSED[family]) as caught:
            tried(folder, pooling)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        *[(family, "is an encoder-decoder") for family in DECODING],
        ("clip", r"is made of several models \(text_config, vision_config\)"),
        ("clap", "is made of several models"),
    ],
)
def test_what_a_configuration_says_needs_no_weights(family: str, message: str, tmp_path: Path) -> None:
    from transformers import AutoConfig

    AutoConfig.for_model(family).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=message):
        Encoder.parse(f"{tmp_path}[init=random]").locate()
