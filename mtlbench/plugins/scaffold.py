"""``mtlbench new-method`` and ``new-problem``: write a working file and its test, as a starting point."""

from __future__ import annotations

import re
from dataclasses import dataclass
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

PROBLEM = '''"""{title}: summarize the problem in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from mtlbench import Data, Examples, Problem, Target


class Net(nn.Module):
    """A trunk that both tasks share, and a head for each. `forward` returns task → (B, outputs)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.height = nn.Linear(width, 1)
        self.side = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.trunk(x)
        return {{"height": self.height(features), "side": self.side(features)}}


@dataclass
class {title}(Problem):
    """Summarize the problem in one line, which `mtlbench list problems` shows.

    Then say what the data is and what the tasks are: here points of a wavy surface, their height, and on which side of
    a circle they lie.
    """

    name = "{name}"
    source = "Authors, Title, Venue Year"
    recipe = {{"steps": 200, "batch_size": 32, "lr": 1e-2}}  # what `--steps`, `--lr` and suites change

    width: Annotated[int, Field(ge=1, le=1024, description="features that both heads read")] = 16

    def targets(self) -> Sequence[Target]:
        return [Target("height", "regression"), Target("side", "classification", outputs=2)]

    def load(self, data_dir: Path | None) -> Data:
        return Data(train=_points(0, 400), dev=_points(1, 200), source="points drawn at random")

    def model(self, targets: Sequence[Target]) -> nn.Module:
        return Net(self.width)  # its weights depend on the seed: torch's generator is seeded before the call

    # Methods that read gradients of the last shared layer (GradNorm) or of the representation (MGDA-UB) ask for these.

    def last_shared_layer(self, model: Net) -> nn.Module:  # type: ignore[override]
        return model.trunk[2]

    def representation(self, model: Net) -> nn.Module:  # type: ignore[override]
        return model.trunk


def _points(seed: int, count: int) -> Examples:
    x = np.random.default_rng(seed).uniform(-1, 1, size=(count, 2)).astype(np.float32)
    height = np.sin(3 * x[:, 0]) + x[:, 1] ** 2  # NaN where a row has no number
    side = (np.hypot(x[:, 0], x[:, 1]) > 0.8).astype(np.int64)  # 0 or 1; -1 where a row has no class
    return Examples(x, {{"height": height, "side": side}})
'''

PROBLEM_TEST = '''"""Test {title}: its rows by hand, and the checks of `mtlbench check`."""

from __future__ import annotations

import numpy as np

from mtlbench.check.problem import check_problems
from mtlbench.plugins.registry import load_registry

PROBLEM = "{problem}"
PLUGINS = {plugins}


def test_rows() -> None:
    """A point on the outside of the circle with radius 0.8 is in class 1."""
    data = load_registry(PLUGINS).problem(PROBLEM).load(None)
    outside = (data.dev.inputs**2).sum(axis=1) > 0.64
    assert np.array_equal(outside, data.dev.labels["side"] == 1) and 0 < outside.sum() < len(data.dev)


def test_certificate() -> None:
    (certificate,) = check_problems([PROBLEM], plugin_files=PLUGINS)
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
    registry = load_registry()
    _check_name("method", name, {*registry.methods, *registry.wrappers})
    place = _Place.of("methods", name, folder)
    call = "aggregate(METHOD, rows)" if place.in_checkout else f"aggregate({place.title}(), rows)"
    text = TEST.format(title=place.title, method=name, plugins=place.plugins, call=call)
    if not place.in_checkout:
        text = text.replace("import numpy as np\n", "from pathlib import Path\n\nimport numpy as np\n", 1)
        imported = f"import check_methods\n\nfrom {place.module} import {place.title}\n"
        text = text.replace("import check_methods\n", imported, 1)
    return place.write(METHOD.format(title=place.title, name=name), text)


def write_problem(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the files of a problem and its test, to the places of :func:`write_method`.

    :param name: lower-case words joined by dashes.
    :param folder: the root of a checkout, or any other folder.
    :returns: the paths of the problem and of its test.
    :raises UsageError: as :func:`write_method`.
    """
    _check_name("problem", name, set(load_registry().problems))
    place = _Place.of("problems", name, folder)
    text = PROBLEM_TEST.format(title=place.title, problem=name, plugins=place.plugins)
    if not place.in_checkout:
        text = text.replace("import numpy as np\n", "from pathlib import Path\n\nimport numpy as np\n", 1)
    return place.write(PROBLEM.format(title=place.title, name=name), text)


def _check_name(kind: str, name: str, taken: set[str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"{kind} name '{name}' must be lower-case letters and digits, words joined by '-'")
    if name in taken:
        raise UsageError(f"{kind} {name} exists already; see mtlbench info {name}")


@dataclass(frozen=True)
class _Place:
    """Where a new plugin and its test go.

    :param module: name of the plugin's module.
    :param title: name of its class.
    """

    module: str
    title: str
    plugin: Path
    test: Path
    in_checkout: bool

    @classmethod
    def of(cls, kind: str, name: str, folder: Path) -> _Place:
        module, title = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
        in_checkout = (folder / kind / "__init__.py").is_file() and (folder / "mtlbench").is_dir()
        plugin, test = folder / f"{module}.py", folder / f"test_{module}.py"
        if in_checkout:
            plugin, test = folder / kind / f"{module}.py", folder / "tests" / kind / f"test_{module}.py"
        for file in (plugin, test):
            if file.exists():
                raise UsageError(f"{file} exists; choose another name, or remove it")
        return cls(module, title, plugin, test, in_checkout)

    @property
    def plugins(self) -> str:
        """The code of the plugin files that the test loads."""
        return "()" if self.in_checkout else f'(str(Path(__file__).with_name("{self.module}.py")),)'

    def write(self, plugin: str, test: str) -> tuple[Path, Path]:
        try:
            self.test.parent.mkdir(parents=True, exist_ok=True)
            self.plugin.write_text(plugin, encoding="utf-8")
            self.test.write_text(test, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {self.plugin} and {self.test}: {error.strerror}") from None
        return self.plugin, self.test
