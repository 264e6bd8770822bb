"""All tasks: their descriptions, and how fast they are found."""

from __future__ import annotations

import subprocess
import sys

from mtlbench.plugins.registry import load_registry


def test_every_task_says_its_source_and_summary() -> None:
    for name in ("sst5", "qqp", "stsb", "table"):
        cls = load_registry().tasks[name]
        assert cls.source and cls.summary().endswith(".")


def test_finding_tasks_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mtlbench.plugins.registry import load_registry; import mtlbench.text.floors; load_registry();"
        "print({'torch', 'pandas', 'datasets', 'pyarrow', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
