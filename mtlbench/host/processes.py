"""Processes that start afresh, without the script that started them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_script() -> Iterator[None]:
    """Keep processes that the block starts from running the user's script a second time.

    A fresh process imports the main module of its parent, in case it needs something from there. Ours never do; and a
    script that calls the library without ``if __name__ == "__main__"`` would start itself again and again.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
