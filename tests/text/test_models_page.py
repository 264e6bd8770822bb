"""The commands and the suite of docs/models.md run as they stand there, with tiny models in place of the named ones."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from model_folders import write_model, write_tokenizer

from mtlbench.records.store import Store
from mtlbench.text.encoder import OF_ADAPTERS, Encoder

pytest.importorskip("peft")

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    mtlbench (run .*)$", PAGE, re.MULTILINE)
SUITES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
SMALL = ("--methods", "pcgrad", "--seeds", "1", "--steps", "2", "--batch-size", "4")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Path]:
    """Tiny models by the names of those on the page; GPT-2's tokenizer adds nothing to a text."""
    folder = tmp_path_factory.mktemp("gpt2")
    gpt2 = write_model(folder, "gpt2", n_embd=32, pad_token_id=None, bos_token_id=3, eos_token_id=3)
    return {"gpt2": write_tokenizer(gpt2, first=False, separators=False), "minilm": tiny_bert}


def test_the_page_has_what_is_tested() -> None:
    assert len(COMMANDS) == 2 and len(SUITES) == 1
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(OF_ADAPTERS)
    defaults = dict(re.findall(r"^\| `(\w+)` \| `?([^` |]+)`? \|", PAGE, re.MULTILINE))
    written = ",".join(f"{name}={value}" for name, value in defaults.items())
    assert Encoder.parse(f"minilm[adapter=lora,{written}]").spec == "minilm[adapter=lora]"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, models: dict[str, Path], mtlbench: Command, tmp_path: Path) -> None:
    verb, option, model, *more = shlex.split(command)
    name = model.partition("[")[0]
    spec = model.replace(name, str(models[name]), 1)
    done = mtlbench(verb, option, spec, *more, *SMALL, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (record,) = Store(tmp_path).scan().records
    assert record["engine"]["name"] == ("loop" if name == "gpt2" else "packed")
    assert ("pooling=last" in record["encoder"]["spec"]) == ("pooling=last" in done.stdout + done.stderr)


@pytest.mark.parametrize("suite", SUITES)
def test_suites(suite: str, models: dict[str, Path], mtlbench: Command, tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text(re.sub(r'model = "(\w+)', lambda found: f'model = "{models[found[1]]}', suite))
    done = mtlbench("run", "--suite", str(file), *SMALL, "--results", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (record,) = Store(tmp_path / "out").scan().records
    assert record["encoder"]["trainable"] < record["encoder"]["parameters"] / 2
