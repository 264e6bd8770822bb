"""Whole cells with encoders of several families: every engine takes the same steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_folders import write_folder

from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.training.result import CellResult
from mtlbench.training.train import train

Make = Callable[..., Workload]
DROPOUT = ("attention_dropout", "embedding_dropout", "mlp_dropout")
SETTINGS: dict[str, dict[str, Any]] = {
    "xlm-roberta": {"pad_token_id": 1},
    "modernbert": {"local_attention": 4, **dict.fromkeys(DROPOUT, 0.1)},
}


def cell(workload: Workload) -> CellResult:
    return train(workload, load_registry().method("pcgrad"), 0)


def losses_of(outcome: CellResult) -> list[dict[str, float]]:
    return [row["losses"] for row in outcome.history if "losses" in row]


@pytest.mark.parametrize("family", list(SETTINGS))
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_engines_have_the_same_masks_and_steps(make_workload: Make, tmp_path: Path, family: str, pooling: str) -> None:
    model = f"{write_folder(tmp_path / family, family, **SETTINGS[family])}[pooling={pooling}]"
    packed, *others = (cell(make_workload(model=model, engine=engine)) for engine in ("packed", "lean", "loop"))
    assert [outcome.engine["name"] for outcome in (packed, *others)] == ["packed", "lean", "loop"]
    for other in others:
        assert other.pairing == packed.pairing  # dropout masks included
        for row, same in zip(losses_of(other), losses_of(packed), strict=True):
            assert row == pytest.approx(same, rel=1e-4)


@pytest.mark.parametrize("family", list(SETTINGS))
def test_options_of_the_packed_engine(make_workload: Make, tmp_path: Path, family: str) -> None:
    model = str(write_folder(tmp_path / family, family, **SETTINGS[family]))
    usual, saved, parts = (
        cell(make_workload(model=model, **options)) for options in ({}, {"checkpointing": True}, {"accumulate": 2})
    )
    assert usual.engine["name"] == parts.engine["name"] == "packed"
    assert losses_of(saved) == losses_of(usual)
    assert losses_of(parts) != losses_of(usual)  # masks of their own


def test_dropout_of_modernbert_acts(make_workload: Make, tmp_path: Path) -> None:
    with_dropout, without = (
        cell(make_workload(model=str(write_folder(tmp_path / name, "modernbert", **settings))))
        for name, settings in (("with", SETTINGS["modernbert"]), ("without", {"local_attention": 4}))
    )
    assert losses_of(with_dropout) != losses_of(without)


def test_an_older_transformers_is_told(make_workload: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ModernBertModel

    monkeypatch.setattr(ModernBertModel, "_supports_attention_backend", False)
    workload = make_workload(model=str(write_folder(tmp_path / "modernbert", "modernbert")))
    assert cell(workload).engine == {
        "name": "loop",
        "reason": "this version of transformers has no choice of attention for encoder family modernbert",
    }
