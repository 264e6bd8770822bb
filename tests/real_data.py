"""Where the CS224N files are, if anywhere: ``MTLBENCH_TEST_DATA``, or ``data/cs224n`` in or beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUND = [Path(os.environ.get("MTLBENCH_TEST_DATA", ROOT / "data/cs224n")), *ROOT.parent.glob("*/data/cs224n")]
REAL = next((folder for folder in FOUND if folder.is_dir()), FOUND[0])
needs_files = pytest.mark.skipif(not REAL.is_dir(), reason="no CS224N files in data/cs224n; or set MTLBENCH_TEST_DATA")
