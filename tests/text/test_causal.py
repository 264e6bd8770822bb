"""Causal language models as encoders: pooling, padding on both sides, gradients, and training."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_cases import make_model, packed, step, texts, true_gradients
from model_folders import write_folder

from mtlbench import get_method
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.store import Store
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import FAMILIES as PACKED
from mtlbench.text.model import padding_token
from mtlbench.text.tokens import Tokenizer

Make = Callable[..., Workload]
Command = Callable[..., subprocess.CompletedProcess[str]]

FAMILIES = ("gpt2", "llama")
ADAPTERS = ("", "adapter=lora,rank=3,alpha=5,")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny causal models; GPT-2 has no padding token, as the published one."""
    more: dict[str, Any] = {"gpt2": {"pad_token_id": None, "bos_token_id": 3, "eos_token_id": 3}}
    folder = tmp_path_factory.mktemp("causal")
    return {family: write_folder(folder / family, family, **more.get(family, {})) for family in FAMILIES}


# Pooling and padding


@pytest.mark.parametrize("settings", ADAPTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_either_side_changes_nothing(family: str, settings: str, folders: dict[str, Path]) -> None:
    """A text alone, beside longer ones, and padded on the left or right by hand have the same vector."""
    model = make_model(f"{folders[family]}[{settings}pooling=last]")
    short, *others = texts(0)
    longest = [*others[0], *others[1], *others[2]]
    with torch.no_grad():
        alone = model.pooled(packed([[short]]))[0]
        beside = model.pooled(packed([[longest, short]]))[1]
        torch.testing.assert_close(alone, beside, rtol=1e-10, atol=1e-12)
        for count in (1, 7):
            for side in ("left", "right"):
                text, padding = torch.tensor(short), torch.full((count,), 9)
                pieces = [padding, text] if side == "left" else [text, padding]
                mask = torch.cat(
                    [torch.zeros(count) if piece is padding else torch.ones(len(text)) for piece in pieces]
                )
                inputs = {
                    "input_ids": torch.cat(pieces)[None],
                    "attention_mask": mask.long()[None],
                    "position_ids": (mask.cumsum(0) - 1).clamp(min=0).long()[None],
                }
                states = model.encoder(**inputs).last_hidden_state[0]
                last = states[count + len(short) - 1] if side == "left" else states[len(short) - 1]
                torch.testing.assert_close(alone, last, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_padding_token_and_its_side_in_the_tokenizer_change_nothing(
    family: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(str(folders[family]))
    pack = packed([texts(0)])
    vectors = model.pooled(pack)
    for token in (1, 7):
        monkeypatch.setattr(model.encoder.config, "pad_token_id", token)
        assert torch.equal(model.pooled(pack), vectors)
    folder = shutil.copytree(folders[family], tmp_path / family)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    rows = [("the dog runs",), ("a cat sleeps slowly in the red house .",)]
    for side in ("left", "right"):
        (folder / "tokenizer_config.json").write_text(json.dumps({**about, "padding_side": side}))
        encoder = Encoder.parse(str(folder))
        tokens = Tokenizer(encoder, encoder.locate(), 32).encode(rows)
        assert tokens.lengths().tolist() == [3 + 2, 9 + 2]


def test_rows_are_filled_up_with_a_token_that_has_a_vector(folders: dict[str, Path]) -> None:
    from transformers import GPT2Config, LlamaConfig

    assert padding_token(GPT2Config()) == 0  # none of its own
    assert padding_token(LlamaConfig(pad_token_id=5)) == 5
    assert padding_token(LlamaConfig(pad_token_id=-1)) == 0  # as in early Llamas
    assert padding_token(LlamaConfig(vocab_size=50, pad_token_id=50)) == 0  # added to the tokenizer alone
    assert make_model(str(folders["gpt2"])).encoder.config.pad_token_id is None


@pytest.mark.parametrize("family", FAMILIES)
def test_last_is_the_default_and_cls_is_refused(family: str, folders: dict[str, Path]) -> None:
    encoder = Encoder.parse(str(folders[family]))
    files = encoder.locate()
    assert encoder.settled(files).spec == f"{folders[family]}[pooling=last]"
    assert Encoder.parse(f"{folders[family]}[pooling=mean]").settled(files).pooling == "mean"
    with pytest.raises(UsageError, match=r"is causal: .* write .*\[pooling=last\]$"):
        Encoder.parse(f"{folders[family]}[pooling=cls]").settled(files)


def test_a_model_that_is_set_to_look_both_ways_is_not_causal(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "llama", "llama", is_causal=False)
    files = Encoder.parse(str(folder)).locate()
    assert not files.causal and Encoder.parse(str(folder)).settled(files).pooling == "cls"


def test_keys_with_mean_stay_and_last_written_or_not_is_one_key(
    make_workload: Make, folders: dict[str, Path], tiny_bert: Path
) -> None:
    def workload(model: str) -> Workload:
        return make_workload(model=model)

    def key(model: str) -> str:
        return make_cells(workload(model), [load_registry().method("sum")], [0])[0].key

    gpt2 = str(folders["gpt2"])
    assert key(gpt2) == key(f"{gpt2}[pooling=last]") != key(f"{gpt2}[pooling=mean]")
    assert workload(f"{gpt2}[pooling=mean,layers=1]").problem.encoder.counted == {"pooling": "mean", "layers": 1}
    assert key(str(tiny_bert)) == key(f"{tiny_bert}[pooling=cls]") != key(f"{tiny_bert}[pooling=last]")
    assert workload(f"{tiny_bert}[pooling=cls]").identity()["encoder"].keys() == {"origin"}


# Gradients and training


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("settings", ADAPTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_autograd(family: str, settings: str, pooling: str, folders: dict[str, Path]) -> None:
    model = make_model(f"{folders[family]}[{settings}pooling={pooling}]")
    taken = step(model, get_method("fixed[w=1:2]"), "loop")
    rows = true_gradients(model, pooling)
    update = torch.cat([parameter.grad.flatten() for parameter in model.shared if parameter.grad is not None])
    torch.testing.assert_close(update, rows[0] + 2 * rows[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.as_tensor(taken.gram), rows @ rows.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("settings", ["", "adapter=lora,rank=2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_they_train_on_the_loop_engine_which_the_record_says(
    family: str, settings: str, folders: dict[str, Path], mtlbench: Command, tmp_path: Path
) -> None:
    model = f"{folders[family]}[{settings}]" if settings else str(folders[family])
    done = mtlbench("run", "--results", str(tmp_path / "out"), "--model", model, "--methods", "pcgrad")
    assert done.returncode == 0, done.stderr
    assert "pooling=last" in done.stdout + done.stderr
    (record,) = Store(tmp_path / "out").scan().records
    more = f",{settings}" if settings else ""
    assert record["encoder"]["spec"] == f"{folders[family]}[pooling=last{more}]"
    assert record["engine"] == {
        "name": "loop",
        "reason": f"encoder family {family} is not among {', '.join(PACKED)}",
    }
    assert (record["encoder"]["trainable"] < record["encoder"]["parameters"]) == bool(settings)
    packed = mtlbench("run", "--results", str(tmp_path / "no"), "--model", model, "--engine", "packed")
    assert packed.returncode == 2 and packed.stderr.count("\n") == 1 and "use engine=auto or loop" in packed.stderr
