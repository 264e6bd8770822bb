"""Processes that start afresh, without the script that started them."""

from __future__ import annotations

import signal
import sys
import threading
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off to the end of the block.

    A process's start that a signal cuts in two leaves the fork server with half a message: it prints a traceback.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one is interrupted
        yield
        return
    received: list[int] = []
    handlers = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not None:  # one that Python can restore
            handlers[number] = signal.signal(number, lambda received_number, frame: received.append(received_number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
