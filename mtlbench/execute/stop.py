"""Signals that ask a process to end: noted, so that it ends at a moment of its own choice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether this process was asked to end, and how."""

    def __init__(self) -> None:
        self.signal = ""
        """The signal's name, once there was one."""

    @contextmanager
    def listening(self, signals: Sequence[int]) -> Iterator[Stop]:
        """Only note these signals while the block runs. Where this is not the main thread, which alone hears signals,
        they do what they did before."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def note(number: int, frame: Any) -> None:
            self.signal = signal.Signals(number).name

        before = {number: signal.signal(number, note) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
