"""``mtlbench new-method``: write a file with a working method, and its test, as a starting point."""

from __future__ import annotations

import re
from pathlib import Path

from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry

METHOD = '''"""{title}: summarize the method in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from mtlbench import Method, Observation, Vector


@dataclass
class {title}(Method):
    """Summarize the method in one line, which `mtlbench list` shows.

    Then give the formula and define its symbols, here wᵢ = (m/‖gᵢ‖)^p with the mean norm m, which brings the gradients
    towards one length. Tasks with a zero gradient get weight 0. End with every deviation from the paper.
    """

    name = "{name}"
    source = "Authors, Title, Venue Year"
    scale = "sum"
    properties = frozenset({{"homogeneous"}})  # your claims, which `mtlbench check` tests

    power: Annotated[float, Field(ge=0, le=1, description="0: the plain sum; 1: equal lengths")] = 1.0

    def weights(self, observation: Observation) -> Vector:
        norms = np.sqrt(np.diagonal(observation.gram))
        positive = norms > 0.0
        ratio = norms.mean() / np.where(positive, norms, 1.0)
        return np.where(positive, ratio**self.power, 0.0)
'''

TEST = '''"""Test {title} against values computed by hand, and with the checks of `mtlbench check`."""

from __future__ import annotations

import numpy as np
import pytest

from mtlbench import aggregate
from mtlbench.check import check_methods

METHOD = "{method}"
PLUGINS = {plugins}


def test_by_hand() -> None:
    """The lengths 3 and 1 have the mean 2, so the weights are 2/3 and 2."""
    rows = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert {call} == pytest.approx([2.0, 2.0])


def test_certificate() -> None:
    (certificate,) = check_methods([METHOD], every=False, plugin_files=PLUGINS, matrices=10, jobs=1)
    assert [result.detail for result in certificate.results if result.passed is False] == []
'''


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the files of a method and its test.

    In a checkout of this project they go to its folders of methods and tests, elsewhere both go to the given folder.

    :param name: lower-case words joined by dashes.
    :param folder: the root of a checkout, or any other folder.
    :returns: the paths of the method and of its test.
    :raises UsageError: for an invalid name or one that is taken, a file that exists, or one that cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"method name '{name}' must be lower-case letters and digits, words joined by '-'")
    registry = load_registry()
    if name in registry.methods or name in registry.wrappers:
        raise UsageError(f"method {name} exists already; see mtlbench info {name}")
    module, title = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    in_checkout = (folder / "methods" / "__init__.py").is_file() and (folder / "mtlbench").is_dir()
    if in_checkout:
        method, test = folder / "methods" / f"{module}.py", folder / "tests" / "methods" / f"test_{module}.py"
        plugins, call = "()", "aggregate(METHOD, rows)"
    else:
        method, test = folder / f"{module}.py", folder / f"test_{module}.py"
        plugins, call = f'(str(Path(__file__).with_name("{module}.py")),)', f"aggregate({title}(), rows)"
    for file in (method, test):
        if file.exists():
            raise UsageError(f"{file} exists; choose another name, or remove it")
    text = TEST.format(title=title, method=name, plugins=plugins, call=call)
    if not in_checkout:
        text = text.replace("import numpy as np\n", "from pathlib import Path\n\nimport numpy as np\n", 1)
        text = text.replace("import check_methods\n", f"import check_methods\n\nfrom {module} import {title}\n", 1)
    try:
        test.parent.mkdir(parents=True, exist_ok=True)
        method.write_text(METHOD.format(title=title, name=name), encoding="utf-8")
        test.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {method} and {test}: {error.strerror}") from None
    return method, test
