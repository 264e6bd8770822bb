"""``mtlbench new-method``: a file with a working method, and its test, to start from."""

from __future__ import annotations

import re
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry

METHOD = '''"""{title}: one line that says what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation


@dataclass
class {title}(Method):
    """First line: what it is. `mtlbench list` shows it.

    Then the formula with its symbols, here wᵢ = (m/‖gᵢ‖)^p with m the mean norm: every gradient brought towards one
    length. Tasks without a gradient get weight 0. Last, every deviation from the paper.
    """

    name = "{name}"
    source = "Authors, Title, Venue Year"
    scale = "sum"
    properties = frozenset({{"homogeneous"}})  # what you claim; `mtlbench check` tries to refute it

    power: Annotated[float, Field(ge=0, le=1, description="0: the plain sum; 1: equal lengths")] = 1.0

    def weights(self, seen: Observation):  # type: ignore[no-untyped-def]
        norms = np.sqrt(np.diagonal(seen.gram))
        positive = norms > 0.0
        ratio = norms.mean() / np.where(positive, norms, 1.0)
        return np.where(positive, ratio**self.power, 0.0)
'''

TEST = '''"""{title} against values by hand, and its certificate."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench import aggregate
from mtlbench.check import check_methods

METHOD = "{method}"
PLUGINS = {plugins}


def test_by_hand() -> None:
    """Lengths 3 and 1, mean 2: weights 2/3 and 2."""
    rows = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert {call} == pytest.approx([2.0, 2.0])


def test_certificate() -> None:
    (certificate,) = check_methods([METHOD], every=False, plugin_files=PLUGINS, matrices=10, jobs=1)
    assert [result.detail for result in certificate.results if result.passed is False] == []
'''


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a method's file and its test; return their paths.

    In a checkout of this project they go where its methods and tests are, anywhere else side by side.

    :raises UsageError: for a name that is not lower-case words joined by dashes or is taken, or a file that exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"method name '{name}' must be lower-case letters and digits, words joined by '-'")
    registry = load_registry()
    if name in registry.methods or name in registry.wrappers:
        raise UsageError(f"method {name} is there already: mtlbench info {name}")
    module, title = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    home = (folder / "methods" / "__init__.py").is_file() and (folder / "mtlbench").is_dir()
    if home:
        method, test = folder / "methods" / f"{module}.py", folder / "tests" / "methods" / f"test_{module}.py"
        plugins, call = "()", "aggregate(METHOD, rows)"
    else:
        method, test = folder / f"{module}.py", folder / f"test_{module}.py"
        plugins, call = f'(str(Path(__file__).with_name("{module}.py")),)', f"aggregate({title}(), rows)"
    for file in (method, test):
        if file.exists():
            raise UsageError(f"{file} exists; choose another name, or remove it")
    text = TEST.format(title=title, method=name, plugins=plugins, call=call)
    if not home:
        text = text.replace("import numpy as np\n", "from pathlib import Path\n\nimport numpy as np\n", 1)
        text = text.replace("import check_methods\n", f"import check_methods\n\nfrom {module} import {title}\n", 1)
    try:
        test.parent.mkdir(parents=True, exist_ok=True)
        method.write_text(METHOD.format(title=title, name=name), encoding="utf-8")
        test.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {method} and {test}: {error.strerror}") from None
    return method, test
