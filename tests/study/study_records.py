"""Records of suites for the tests of the study."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from factory import grid

GAINS = {"stl": 0.02, "sum": 0.0, "pcgrad": 0.01}


def suite(name: str, gains: dict[str, float] = GAINS, seeds: int = 3, **recipe: Any) -> list[dict[str, Any]]:
    """Return the records of a grid in a suite of this name."""
    group = hashlib.sha256(f"{name} {recipe}".encode()).hexdigest()
    return [
        record | {"suite": name, "group": group, "key": f"{name}-{record['key']}", "recipe": record["recipe"] | recipe}
        for record in grid(gains, seeds)
    ]


def climbed() -> list[dict[str, Any]]:
    """Return four rungs: the second and the third have the same number."""
    return [
        *suite("ladder-1-paper", {m: gain - 0.1 for m, gain in GAINS.items()}, model="minilm[pairs=apart]"),
        *suite("ladder-5-sqrt", model="minilm", sampling="sqrt"),
        *suite("ladder-5-annealed", model="minilm", sampling="annealed"),
        *suite(
            "ladder-6-warmup", {m: gain + 0.15 for m, gain in GAINS.items()}, model="minilm", sampling="sqrt", lr=1e-4
        ),
    ]
