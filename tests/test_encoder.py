"""Encoders: found, hashed, never replaced in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.text import encoder as encoder_module
from mtlbench.text.batches import batch_schedule
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel, load_encoder
from mtlbench.text.tokens import Tokenizer

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


@pytest.mark.parametrize("family", TINY)
def test_bert_like_families_load_from_a_folder_with_fewer_layers(family: str, tmp_path: Path) -> None:
    folder = save_tiny(family, tmp_path / family)
    encoder = Encoder.parse(f"{folder}[layers=1]")
    model = load_encoder(encoder, encoder.locate(), seed=0)
    assert model.config.num_hidden_layers == 1
    assert not any("pooler" in name for name, _ in model.named_parameters())
    assert model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.shape == (1, 3, 16)


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("bert", tmp_path / "bert")
    first = Encoder.parse(str(folder)).locate().fingerprint
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / "model.safetensors")
    assert Encoder.parse(str(other)).locate().fingerprint != first


def test_a_checkpoint_that_lacks_weights_is_an_error_not_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("bert", tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "layer.1.attention" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder.parse(str(folder))
    with pytest.raises(UsageError, match="lacks 1 weights of a BertModel"):
        load_encoder(encoder, encoder.locate(), seed=0)


def test_more_layers_than_there_are_is_one_line(tmp_path: Path) -> None:
    folder = save_tiny("bert", tmp_path / "bert")
    encoder = Encoder.parse(f"{folder}[layers=3]")
    with pytest.raises(UsageError, match="has 2 layers, not 3"):
        load_encoder(encoder, encoder.locate(), seed=0)


def test_a_folder_without_weights_names_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model weights in .*Hugging Face id.*a folder.*minilm"):
        Encoder.parse(str(tmp_path)).locate()


def test_a_hub_that_cannot_be_reached_names_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*arguments: object, **options: object) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    expected = r"cannot get model 'some/model' \(ConnectionError: no route\): give a"
    with pytest.raises(UsageError, match=expected) as caught:
        Encoder.parse("some/model").locate()
    assert "\n" not in str(caught.value)


@pytest.mark.minilm
def test_packaged_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Encoder.parse("minilm").locate().tuned_on == ("quora",)
    monkeypatch.setattr(encoder_module, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UsageError, match="not the published ones"):
        Encoder.parse("minilm").locate()


@pytest.mark.minilm
def test_a_missing_package_names_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "MINILM_PACKAGE", "no-such-package")
    with pytest.raises(UsageError, match=r"model 'minilm' is not installed: .*mtlbench\[offline\]"):
        Encoder.parse("minilm").locate()


@pytest.mark.minilm
def test_pairs_are_joined_with_sep_or_encoded_apart() -> None:
    for pairs, texts in (("cross", 1), ("apart", 2)):
        encoder = Encoder.parse(f"minilm[layers=1,pairs={pairs}]")
        encoded = Tokenizer(encoder, encoder.locate(), 32).encode([("a cat", "a dog runs"), ("one", "two")])
        batch = encoded.take(np.array([0, 1]))
        assert (batch.rows, len(batch.lengths)) == (2, 2 * texts)
        separators = (batch.ids[: batch.lengths[0]] == 102).sum()
        assert separators == (2 if pairs == "cross" else 1)
        assert batch.kinds.max() == (1 if pairs == "cross" else 0)


def test_the_shared_parameters_end_with_the_last_shared_layer_and_the_tables(
    make_workload: Callable[..., Workload],
) -> None:
    workload = make_workload()
    model = MultiTaskModel(workload.encoder, workload.files, workload.tasks, 0)
    dense = model.shared[: len(model.shared) - len(model.tables)]
    assert [id(p) for p in dense[-2:]] == [id(p) for p in model.fine_tuning.parameters()]
    assert [id(p) for p in model.shared[len(dense) :]] == [id(p) for p in model.tables]
    assert len(model.tables) == 3  # words, positions, kinds
    heads = {id(parameter) for parameter in model.heads.parameters()}
    assert not heads & {id(parameter) for parameter in model.shared}
    assert len(heads) + len(model.shared) == len(list(model.parameters()))


def test_every_row_is_seen_equally_often() -> None:
    schedule = batch_schedule(seed=0, task="a", rows=10, total=20)
    assert schedule.shape == (20,)
    assert np.array_equal(np.bincount(schedule), np.full(10, 2))
    assert not np.array_equal(schedule, batch_schedule(seed=1, task="a", rows=10, total=20))
    assert not np.array_equal(schedule, batch_schedule(seed=0, task="b", rows=10, total=20))
    assert np.array_equal(schedule[:12], batch_schedule(seed=0, task="a", rows=10, total=12))
