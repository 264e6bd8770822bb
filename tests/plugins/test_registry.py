"""Plugins from all sources: a broken plugin is named, and the others work."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtlbench.contract.method_input import observe
from mtlbench.errors import UsageError
from mtlbench.plugins import registry as registry_module
from mtlbench.plugins.fingerprint import source_fingerprint
from mtlbench.plugins.registry import Broken, Registry, load_registry

GOOD = '''
from dataclasses import dataclass
import numpy as np
from mtlbench import Method, Observation

@dataclass
class Mine(Method):
    """Mine."""
    name = "{name}"
    def weights(self, observation: Observation):
        return np.ones(observation.tasks)
'''


@pytest.fixture(autouse=True)
def _fresh() -> None:
    registry_module.import_file.cache_clear()


def write(folder: Path, content: str, name: str = "mine.py") -> str:
    file = folder / name
    file.write_text(content)
    return str(file)


def test_the_packaged_methods_and_tasks_are_found_and_none_is_broken() -> None:
    registry = load_registry()
    assert {"sum", "stl", "pcgrad", "gradnorm", "mgda", "cagrad"} <= set(registry.methods)
    assert {"sst5", "qqp", "stsb", "table", "sentiment", "paraphrase", "similarity"} <= set(registry.tasks)
    assert not registry.broken


def test_a_file_is_a_plugin(tmp_path: Path) -> None:
    registry = load_registry((write(tmp_path, GOOD.format(name="mine")),))
    assert registry.method("mine").spec == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("import no_such_module", "failed to import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "defines no method, task or problem"),
        (GOOD.format(name="sum"), "method 'sum' from .* is already taken by mtlbench.methods.sum; rename it"),
        ("def broken(:", "failed to import: SyntaxError"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_registry((write(tmp_path, content),))


def edited(old: str, new: str) -> str:
    content = GOOD.format(name="mine")
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (edited('"mine"', '"my method"'), "method Mine from .* its name is 'my method'; it may hold letters"),
        (edited('"mine"', '"a[b]"'), "its name is 'a\\[b\\]'"),
        (edited('"mine"', '""'), "its name is ''"),
        (edited('"mine"', "['a', 'list']"), "its name is \\['a', 'list'\\]"),
        (edited('"mine"', "None"), "its name is None"),
        (edited('name = "mine"', 'name = "mine"\n    past: list = []'), "ValueError: mutable default"),
        ("import sys; sys.exit(0)", "failed to import: SystemExit: 0"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--lr'])", "failed to import: SystemExit: 2"),
        ("raise ValueError('two\\nlines')", "failed to import: ValueError: two lines$"),
        ("import asyncio; raise asyncio.IncompleteReadError(b'', 1)", "failed to import: IncompleteReadError"),
    ],
)
def test_a_file_that_defines_no_usable_class(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load_registry((write(tmp_path, content),))


NAME = 'name = "mine"'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("folder: object = object()", "specs and records cannot hold parameter folder=<object .*>; declare it"),
        ("ratio: float = float('nan')", "parameter ratio=nan should be a finite number"),
        (
            "parts: tuple = field(default_factory=lambda: (1, 2))",
            r"specs and records cannot hold parameter parts=\(1, 2\)",
        ),
        ("ratio: 'Nowhere' = 1", "cannot be created: NameError: name 'Nowhere' is not defined"),
        ("matrix: np.ndarray = None", "cannot be created: PydanticSchemaGenerationError"),
        ("def __post_init__(self): raise KeyError('x')", "cannot be created: KeyError: 'x'"),
        ("def __init__(self, more): pass", "cannot be created: TypeError"),
        ("reads = 'grads'", "reads is 'grads'; declare losses or gram or cross_gram or gradients"),
        ("heads = None", "heads is None; declare plain or weighted or log"),
        ("returns = 'updates'", "returns is 'updates'; declare weights or update"),
        ("returns = 'update'", 'it returns an update, so declare reads = "gradients"'),
        ("returns, reads, heads = 'update', 'gradients', 'weighted'", 'heads = "weighted" needs weights'),
        ("reads_losses = True", "reads_losses is True; declare no or any or positive"),
        ("gram_of = property(lambda self: 1 / 0)", "gram_of raised ZeroDivisionError"),
    ],
)
def test_a_class_that_no_cell_could_use(tmp_path: Path, body: str, expected: str) -> None:
    content = edited(NAME, f"{NAME}\n    {body}").replace("import dataclass\n", "import dataclass, field\n")
    registry = load_registry((write(tmp_path, content),))
    with pytest.raises(UsageError, match=f"^method mine.*{expected}") as caught:
        registry.method("mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),  # as Windows editors save UTF-8
        lambda text: ("# -*- coding: latin-1 -*-\n" + text.replace("Mine.", "D\xe9j\xe0.")).encode("latin-1"),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
def test_a_file_in_another_encoding_has_the_same_code(tmp_path: Path, encoded: Any) -> None:
    text = GOOD.format(name="mine")
    plain = source_fingerprint(load_registry((write(tmp_path, text),)).method_class("mine"))
    other = tmp_path / "other.py"
    other.write_bytes(encoded(text))
    assert source_fingerprint(load_registry((str(other),)).method_class("mine")) == plain


def test_a_broken_entry_point_is_named_and_the_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str) -> list[Any]:
        if group != "mtlbench.methods":
            return []
        return [importlib.metadata.EntryPoint("theirs", "no_such_package.theirs", group)]

    monkeypatch.setattr(registry_module, "entry_points", entry_points)
    registry = load_registry()
    assert registry.broken == [
        Broken("no_such_package.theirs (unknown package)", "ModuleNotFoundError: No module named 'no_such_package'")
    ]
    assert "pcgrad" in registry.methods
    with pytest.raises(UsageError, match="method theirs could not be loaded"):
        registry.method("theirs")


def test_an_edited_method_is_another_one_but_not_for_comments(tmp_path: Path) -> None:
    def fingerprint(content: str, name: str) -> str:
        return source_fingerprint(load_registry((write(tmp_path, content, name),)).methods["mine"])

    original = GOOD.format(name="mine")
    first = fingerprint(original, "a.py")
    assert fingerprint(original.replace('"""Mine."""', '"""Other words."""  # why'), "b.py") == first
    assert fingerprint(original.replace("np.ones", "2 * np.ones"), "c.py") != first


# Wrappers

WRAPPER = '''
from dataclasses import dataclass
from typing import Annotated
import numpy as np
from pydantic import Field
from mtlbench import Method, Observation
from mtlbench.contract.wrapper import Wrapper

@dataclass
class Times(Wrapper):
    """Multiplies the weights."""
    name = "w"
    source = "Nobody, Nowhere"
    example = "cagrad"
    factor: Annotated[float, Field(gt=0, description="what to multiply with")] = 2.0

    @classmethod
    def accepts(cls, inner):
        return "it wraps joint methods only" if not inner.joint else None

    def weights(self, observation: Observation):
        return self.factor * super().weights(observation)
'''


@pytest.fixture
def wrapped(tmp_path: Path) -> Registry:
    return load_registry((write(tmp_path, WRAPPER, "times.py"),))


def test_a_wrapper_goes_around_any_method(wrapped: Registry) -> None:
    method = wrapped.method("w-sum")
    assert method.name == "w-sum" == method.spec and method.reads == "losses" and method.scale == "sum"
    assert method.weights(observe(method, losses=[1.0, 1.0])).tolist() == [2.0, 2.0]
    gram = np.array([[4.0, -1.0], [-1.0, 2.0]])
    around, inner = wrapped.method("w-mgda[factor=3,normalize=l2]"), wrapped.method("mgda[normalize=l2]")
    assert around.weights(observe(around, gram=gram)) == pytest.approx(3.0 * inner.weights(observe(inner, gram=gram)))


def test_a_wrapped_method_has_the_parameters_and_the_state_of_both(wrapped: Registry) -> None:
    method = wrapped.method("w-cagrad[c=0.2,factor=0.5]")
    assert method.parameters == {"c": 0.2, "rescale": "none", "reduction": "mean", "factor": 0.5}
    assert wrapped.method(method.spec) == method
    assert len(wrapped.expand_methods("w-cagrad[c=0.2/0.4,factor=1/2]")) == 4
    assert {"adam", "task_weights", "first_losses", "generator"} <= set(wrapped.method("w-gradnorm").state_dict())
    assert wrapped.method("w-gradnorm").heads == "weighted"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("w-smu", "unknown method 'smu'; did you mean sum"),
        ("w-stl", "method w-stl: it wraps joint methods only"),
        ("w-cagrad[k=1]", "unknown parameter of method w-cagrad: 'k'; known: base_lr, c, factor, reduction, rescale"),
        ("w-w-sum", "method w-w-sum: both parts have a field named factor"),
        ("w-sum[factor=0]", "method w-sum: parameter factor=0 should be greater than 0"),
        ("w", "unknown method 'w'"),
        ("v-sum", "unknown method 'v-sum'"),
    ],
)
def test_a_wrapped_method_that_cannot_be_is_one_line(wrapped: Registry, name: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        wrapped.method(name)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_code_of_both_parts_is_the_code_of_a_wrapped_method(tmp_path: Path) -> None:
    inner = GOOD.format(name="mine")

    def fingerprint(wrapper: str, inner: str, folder: str) -> str:
        (tmp_path / folder).mkdir()
        files = (write(tmp_path / folder, wrapper, "w.py"), write(tmp_path / folder, inner, "m.py"))
        return source_fingerprint(load_registry(files).method_class("w-mine"))

    first = fingerprint(WRAPPER, inner, "a")
    assert fingerprint(WRAPPER + "# why", inner.replace("Mine.", "Other words."), "b") == first
    assert fingerprint(WRAPPER.replace("self.factor *", "self.factor +"), inner, "c") != first
    assert fingerprint(WRAPPER, inner.replace("np.ones", "2 * np.ones"), "d") != first


def test_a_method_of_its_own_name_goes_before_a_wrapper(tmp_path: Path) -> None:
    files = (write(tmp_path, WRAPPER, "w.py"), write(tmp_path, GOOD.format(name="w-sum"), "m.py"))
    assert load_registry(files).method_class("w-sum").__name__ == "Mine"
