"""Plugins: one mechanism for ours and theirs; a broken one is named and costs no other."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from mtlbench import registry as registry_module
from mtlbench.errors import UsageError
from mtlbench.registry import Broken, load_registry, source_fingerprint

GOOD = '''
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Mine(Method):
    """Mine."""
    name = "{name}"
    def weights(self, seen: Observation):
        return np.ones(seen.tasks)
'''


@pytest.fixture(autouse=True)
def _fresh() -> None:
    registry_module._import_file.cache_clear()


def write(folder: Path, content: str, name: str = "mine.py") -> str:
    file = folder / name
    file.write_text(content)
    return str(file)


def test_the_packaged_methods_and_tasks_are_found_and_none_is_broken() -> None:
    found = load_registry()
    assert {"sum", "stl", "pcgrad", "gradnorm", "mgda", "cagrad"} <= set(found.methods)
    assert {"sst5", "qqp", "stsb", "table", "sentiment", "paraphrase", "similarity"} <= set(found.tasks)
    assert not found.broken


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    found = load_registry((write(tmp_path, GOOD.format(name="mine")),))
    assert found.method("mine").spec == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("import no_such_module", "failed to import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "defines no method and no task"),
        (GOOD.format(name="sum"), "method 'sum' from .* is already taken by mtlbench.methods.sum; rename it"),
        ("def broken(:", "failed to import: SyntaxError"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_registry((write(tmp_path, content),))


def test_a_broken_entry_point_is_named_and_the_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str) -> list[Any]:
        if group != "mtlbench.methods":
            return []
        return [importlib.metadata.EntryPoint("theirs", "no_such_package.theirs", group)]

    monkeypatch.setattr(registry_module, "entry_points", entry_points)
    found = load_registry()
    assert found.broken == [
        Broken("no_such_package.theirs (unknown package)", "ModuleNotFoundError: No module named 'no_such_package'")
    ]
    assert "pcgrad" in found.methods
    with pytest.raises(UsageError, match="method theirs could not be loaded"):
        found.method("theirs")


def test_an_edited_method_is_another_one_but_not_for_comments(tmp_path: Path) -> None:
    def fingerprint(content: str, name: str) -> str:
        return source_fingerprint(load_registry((write(tmp_path, content, name),)).methods["mine"])

    original = GOOD.format(name="mine")
    first = fingerprint(original, "a.py")
    assert fingerprint(original.replace('"""Mine."""', '"""Other words."""  # why'), "b.py") == first
    assert fingerprint(original.replace("np.ones", "2 * np.ones"), "c.py") != first
