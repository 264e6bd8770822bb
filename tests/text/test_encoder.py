"""Encoders: location of their files, fingerprints, and errors where they are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_encoders import save_tiny

from mtlbench.errors import UsageError
from mtlbench.text import encoder as encoder_module
from mtlbench.text.encoder import Encoder
from mtlbench.text.pretrained import load_encoder


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny("bert", tmp_path / "bert")
    first = Encoder.parse(str(folder)).locate().fingerprint
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / "model.safetensors")
    assert Encoder.parse(str(other)).locate().fingerprint != first


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
