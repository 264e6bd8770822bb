"""docs/batched.md: the code runs as it stands there, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench import weights
from mtlbench.batched import OneByOne, batched, has_form

PAGE = Path(__file__).resolve().parents[2] / "docs" / "batched.md"


def test_the_code_on_the_page(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(blocks[0], str(PAGE), "exec"), names)
    assert names["weights"].shape == (100, 20, 3) and names["updates"].shape == (100, 20, 50)
    np.testing.assert_allclose(names["weights"][7, 5], weights("nash-mtl", names["gram"][7, 5]), rtol=1e-9)
    exec(compile(blocks[1], str(PAGE), "exec"), names)
    assert names["weights"].shape == (8, 3) and not names["runs"].failures
    file = tmp_path / "inverse.py"  # a dataclass looks for its module
    file.write_text(f"import numpy as np\nimport mtlbench\ngram = np.ones((4, 2, 2))\n{blocks[2]}", encoding="utf-8")
    from mtlbench.plugins.registry import import_file

    plugin = import_file(str(file))
    assert plugin.inverse.tolist() == [[1.0, 1.0]] * 4
    assert has_form(plugin.Inverse()) and type(batched(plugin.Inverse(), [0])) is plugin.BatchedInverse
    assert OneByOne(plugin.Inverse(), [0]).weights(gram=np.eye(2)[None] * 4.0).tolist() == [[0.25, 0.25]]
