"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY = ".writing-"
"""How the names of half written files begin."""


def write_whole(path: Path, *content: bytes | memoryview) -> None:
    """Write a file so that it appears whole or not at all, also after a power cut.

    :param content: one piece after another: a large file need not be in memory as one.
    :raises OSError: when it cannot be written, as on a full disk; nothing half written is left behind.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as handle:
            handle.writelines(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
