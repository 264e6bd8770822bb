"""The model: its encoder as loaded from files, and its parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_encoders import TINY, save_tiny

from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.pretrained import load_encoder


@pytest.mark.parametrize("family", TINY)
def test_bert_like_families_load_from_a_folder_with_fewer_layers(family: str, tmp_path: Path) -> None:
    folder = save_tiny(family, tmp_path / family)
    encoder = Encoder.parse(f"{folder}[layers=1]")
    model = load_encoder(encoder, encoder.locate(), seed=0)
    assert model.config.num_hidden_layers == 1
    assert not any("pooler" in name for name, _ in model.named_parameters())
    assert model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.shape == (1, 3, 16)


def test_a_checkpoint_that_lacks_weights_is_an_error_not_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("bert", tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "layer.1.attention" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = Encoder.parse(str(folder))
    with pytest.raises(UsageError, match="lacks 1 weights of a BertModel"):
        load_encoder(encoder, encoder.locate(), seed=0)


def test_the_shared_parameters_end_with_the_last_shared_layer_and_the_tables(
    make_workload: Callable[..., Workload],
) -> None:
    workload = make_workload()
    model = MultiTaskModel(workload.problem.encoder, workload.problem.files, workload.tasks, 0)
    dense = model.shared[: len(model.shared) - len(model.tables)]
    assert [id(p) for p in dense[-2:]] == [id(p) for p in model.fine_tuning.parameters()]
    assert [id(p) for p in model.shared[len(dense) :]] == [id(p) for p in model.tables]
    assert len(model.tables) == 3  # words, positions, kinds
    heads = {id(parameter) for parameter in model.heads.parameters()}
    assert not heads & {id(parameter) for parameter in model.shared}
    assert len(heads) + len(model.shared) == len(list(model.parameters()))
