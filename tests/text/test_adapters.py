"""Adapters: which parameters are trained, from which values, their gradients, keys, records, and bad settings."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_cases import make_model, packed, step, texts, true_gradients
from model_folders import write_folder
from text_runs import run

from mtlbench import get_method
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.records.store import Store
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel
from mtlbench.text.model_trial import try_model
from mtlbench.training.train import Training

Make = Callable[..., Workload]
Command = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("peft")


def model_of(spec: str, seed: int = 0) -> MultiTaskModel:
    encoder = Encoder.parse(spec)
    return MultiTaskModel(encoder, encoder.locate(), [], seed)


# What is trained


def test_adapters_the_fine_tuning_layer_and_heads_are_trained_and_nothing_else(
    make_workload: Make, tiny_bert: Path
) -> None:
    workload = make_workload(model=f"{tiny_bert}[adapter=lora,rank=2]")
    training = Training(workload, load_registry().method("pcgrad"), 0)
    base = MultiTaskModel(Encoder.parse(str(tiny_bert)), workload.problem.files, workload.tasks, 0)
    next(done for done in training.run() if done == 3)
    assert training._current is not None
    model, state = training._current._session.model, training.state_dict()["current"]["model"]
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"encoder", "fine_tuning", "heads"}
    assert all("lora_" in name for name in trained if name.startswith("encoder."))
    assert set(state) - trained == {name for name, _ in model.named_buffers()}  # the whole checkpoint of the model
    before = dict(base.encoder.named_parameters())
    for name, parameter in model.encoder.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, before[name.replace(".base_layer", "")])
    assert all(parameter.any() for name, parameter in model.named_parameters() if "lora_B" in name)  # all have moved
    shared = {id(parameter) for parameter in model.shared}
    assert shared == {id(p) for n, p in model.named_parameters() if n in trained and not n.startswith("heads")}


def test_a_record_counts_trained_and_all_parameters(mtlbench: Command, tiny_bert: Path, tmp_path: Path) -> None:
    done = mtlbench("run", "--results", str(tmp_path), "--model", f"{tiny_bert}[layers=1,adapter=lora,rank=2]")
    assert done.returncode == 0, done.stderr
    (record,) = Store(tmp_path).scan().records
    encoder = record["encoder"]
    assert encoder["spec"] == f"{tiny_bert}[layers=1,adapter=lora,rank=2]"
    assert encoder["name"] == f"{tiny_bert.name}, first 1 layers, LoRA of rank 2"
    width, adapters = 32, 2 * (4 * (32 + 32) + 2 * (32 + 64))
    assert encoder["trainable"] == adapters + width * width + width
    base = model_of(f"{tiny_bert}[layers=1]")
    assert encoder["parameters"] == sum(parameter.numel() for parameter in base.parameters()) + adapters
    assert record["engine"]["name"] in ("packed", "lean")
    assert record["environment"]["versions"]["peft"] == version("peft")


def test_the_model_starts_as_it_was_and_values_depend_on_seed_and_layer(tiny_bert: Path) -> None:
    base, some = model_of(f"{tiny_bert}[init=random]"), model_of(f"{tiny_bert}[init=random,adapter=lora]")
    pack = packed([texts(0)])
    assert torch.equal(some.eval().pooled(pack), base.eval().pooled(pack))
    others = model_of(f"{tiny_bert}[init=random,adapter=lora,targets=value/attention.output.dense]")
    second = model_of(f"{tiny_bert}[init=random,adapter=lora]", seed=1)
    mine = {name: value for name, value in some.encoder.named_parameters() if "lora_A" in name}
    yours = {name: value for name, value in others.encoder.named_parameters() if "lora_A" in name}
    assert len(mine) == 12 and len(yours) == 4
    assert {name.split(".")[-4] for name in yours} == {"value", "dense"}
    for name, value in yours.items():
        assert torch.equal(value, mine[name])
    values = [value.flatten()[:16].tolist() for value in mine.values()]
    assert len({tuple(value) for value in values}) == len(values)
    assert not any(torch.equal(value, dict(second.encoder.named_parameters())[name]) for name, value in mine.items())


def test_adding_adapters_draws_nothing_from_the_global_generator(tiny_bert: Path) -> None:
    before = torch.get_rng_state()
    model_of(f"{tiny_bert}[adapter=lora]")
    assert torch.equal(before, torch.get_rng_state())


# Gradients


@pytest.mark.parametrize("engine", ["packed", "lean", "loop"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_gradients_are_those_of_autograd(family: str, pooling: str, engine: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / family, family)
    model = make_model(f"{folder}[pooling={pooling},adapter=lora,rank=3,alpha=5]")
    taken = step(model, get_method("fixed[w=1:2]"), engine)
    rows = true_gradients(model, pooling)
    update = torch.cat([parameter.grad.flatten() for parameter in model.shared if parameter.grad is not None])
    torch.testing.assert_close(update, rows[0] + 2 * rows[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.as_tensor(taken.gram), rows @ rows.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("more", ["", ",dropout=0.3", ",targets=query/value,pooling=mean,pairs=apart"])
def test_engines_agree(make_workload: Make, tiny_bert: Path, more: str) -> None:
    """With dropout in the adapters, whose masks are those of the pack."""
    results = []
    for engine in ("packed", "lean", "loop"):
        model = f"{tiny_bert}[layers=1,adapter=lora,rank=4{more}]"
        results.append(run(make_workload(model=model, engine=engine, steps=6, lr=1e-2), "pcgrad"))
    packed, *others = results
    assert packed.engine["name"] == "packed" and others[1].engine["name"] == "loop"
    for other in others:
        for mine, yours in zip(packed.history, other.history, strict=True):
            for field in ("losses", "weights", "norms", "cosines"):
                assert mine.get(field, {}) == pytest.approx(yours.get(field, {}), rel=1e-3, abs=1e-5)
        assert other.pairing == packed.pairing


@pytest.mark.parametrize(
    "changes", [{"checkpointing": True}, {"accumulate": 2}, {"engine": "lean", "checkpointing": True}], ids=str
)
def test_less_memory_is_the_same_step(make_workload: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_folder(tmp_path / "bert", "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    dropout = 0.0 if "accumulate" in changes else 0.3  # every part of a batch has masks of its own
    recipe = {"model": f"{folder}[adapter=lora,rank=4,dropout={dropout}]", "engine": "packed", "steps": 5, "lr": 1e-2}
    whole, parts = (run(make_workload(**{**recipe, **more}), "pcgrad").history for more in ({}, changes))
    for mine, yours in zip(whole, parts, strict=True):
        for field in ("losses", "norms"):
            assert mine.get(field, {}) == pytest.approx(yours.get(field, {}), rel=1e-3)


@pytest.mark.parametrize("engine", ["packed", "loop"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(make_workload: Make, tiny_bert: Path, engine: str, precision: str) -> None:
    recipe: dict[str, Any] = {"model": f"{tiny_bert}[adapter=lora,rank=4]", "engine": engine, "steps": 3}
    full = [row["losses"] for row in run(make_workload(**recipe), "pcgrad").history if "losses" in row]
    half = run(make_workload(**recipe, precision=precision), "pcgrad").history
    for mine, row in zip(full, [row for row in half if "losses" in row], strict=True):
        assert row["losses"] == pytest.approx(mine, rel=0.05, abs=0.02) and row["losses"] != mine


# Keys and specs


def test_the_settings_of_adapters_are_part_of_the_key(make_workload: Make, tiny_bert: Path) -> None:
    def key(settings: str) -> str:
        workload = make_workload(model=f"{tiny_bert}[{settings}]")
        return make_cells(workload, [load_registry().method("sum")], [0])[0].key

    specs = ["layers=1", *(f"adapter=lora{more}" for more in ("", ",rank=4", ",alpha=8", ",dropout=0.1"))]
    specs += ["adapter=lora,targets=query", "adapter=lora,targets=query/value"]
    assert len({key(spec) for spec in specs}) == len(specs)
    assert key("adapter=lora,rank=8,alpha=16,dropout=0,targets=all") == key("adapter=lora")


def test_specs_read_back() -> None:
    for text in (
        "minilm[adapter=lora]",
        "minilm[layers=2,adapter=lora,rank=4,alpha=8.0,targets=query/value,dropout=0.1]",
    ):
        assert Encoder.parse(text).spec == text
    assert Encoder.parse("minilm[adapter=lora,rank=8,targets=all]").spec == "minilm[adapter=lora]"
    assert Encoder.parse("minilm").counted == {}


# Bad settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("rank=4", r"rank is a parameter of adapters: write .*\[adapter=lora,rank=\.\.\.\]$"),
        ("targets=query", "targets is a parameter of adapters"),
        ("adapter=ia3", "adapter=ia3 should be 'lora'"),
        ("adapter=lora,rank=0", "rank=0 should be greater than or equal to 1"),
        ("adapter=lora,alpha=0", "alpha=0 should be greater than 0"),
        ("adapter=lora,dropout=1", "dropout=1 should be less than 1"),
        ("adapter=lora,frozen=true", "leave adapter away"),
        ("adapter=lora,r=4", "unknown parameter of model encoder: 'r'"),
        ("adapter=lora,rank=33", "rank=33 exceeds 32, the width of"),
        ("adapter=lora,targets=q_proj", "no linear layer whose name ends in 'q_proj': give targets among dense/key/"),
        ("adapter=lora,targets=query/all", "whose name ends in 'all'"),
        ("adapter=lora,targets=word_embeddings", "no linear layer whose name ends in 'word_embeddings'"),
        ("adapter=lora,targets=uery", "no linear layer whose name ends in 'uery'"),
        ("adapter=lora,targets=/", "no linear layer whose name ends in ''"),
    ],
)
def test_bad_settings_are_one_line_before_the_first_cell(
    settings: str, message: str, mtlbench: Command, tiny_bert: Path, tmp_path: Path
) -> None:
    done = mtlbench("run", "--results", str(tmp_path / "out"), "--model", f"{tiny_bert}[{settings}]")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert re.search(message, done.stderr.strip())


def test_missing_peft_is_one_line_also_where_the_trial_is_cached(
    tiny_bert: Path, mtlbench: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = Encoder.parse(f"{tiny_bert}[adapter=lora]")
    assert try_model(encoder, encoder.locate(), 32, pairs=False).unpacked is None
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"adapter=lora needs PEFT: pip install 'mtlbench\[adapters\]'"):
        try_model(encoder, encoder.locate(), 32, pairs=False)
    done = mtlbench("run", "--results", str(tmp_path / "out"), "--model", encoder.spec)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    with pytest.raises(UsageError, match="needs PEFT"):
        model_of(encoder.spec)
    assert model_of(str(tiny_bert)).unpacked is None  # nothing else needs it
