"""Defer the signals that ask a process to end, so that it ends at a time of its choice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a signal asked this process to end, and which."""

    def __init__(self) -> None:
        self.signal = ""
        """Name of the last such signal; empty handlers the first."""

    @contextmanager
    def listening(self, signals: Sequence[int]) -> Iterator[Stop]:
        """Record signals instead of acting on them while the block runs.

        In any thread but the main one, which alone receives signals, their handlers stay unchanged.

        :param signals: the numbers of the signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def record(number: int, frame: Any) -> None:
            self.signal = signal.Signals(number).name

        handlers = {number: signal.signal(number, record) for number in signals}
        try:
            yield self
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
