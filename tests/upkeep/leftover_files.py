"""Old files in results folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

HOURS_AGO = time.time() - 7200


def made(path: Path, content: bytes = b"x", *, old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if old:
        os.utime(path, (HOURS_AGO, HOURS_AGO))
    return path
