"""Where the time goes: seconds by part of the work."""

from __future__ import annotations

import time


class Clock:
    """Measures the parts of a loop: each lap lasts from the end of the one before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """Count the time since the last lap as that of a part.

        :param part: its name.
        """
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now
