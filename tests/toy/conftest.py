"""Methods that fail on the toy problem."""

from __future__ import annotations

from pathlib import Path

import pytest

RAISING = '''"""Methods that fail in different ways."""
from dataclasses import dataclass, field
import numpy as np
from mtlbench import Method

@dataclass
class Third(Method):
    """Raises in its third step in the bowls, where the gradients are large."""
    name = "third"
    reads = "gradients"
    steps: int = field(default=0, init=False)

    def weights(self, observation):
        self.steps += 1
        if self.steps == 3 and float(observation.gradients[0, 0]) < -2.0:
            raise ArithmeticError("no\\nweights")
        return np.ones(2)

@dataclass
class Endless(Method):
    """Returns an update that is not finite."""
    name = "endless"
    returns = "update"
    reads = "gradients"

    def update(self, observation):
        return observation.gradients.sum(dim=0) / 0.0

@dataclass
class Four(Method):
    """Needs four tasks."""
    name = "four"
    min_tasks = 4
'''


@pytest.fixture
def raising(tmp_path: Path) -> Path:
    file = tmp_path / "raising.py"
    file.write_text(RAISING)
    return file
