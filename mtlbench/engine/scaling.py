"""Loss scaling for float16, whose range is 6·10⁻⁸ to 65,504: losses are multiplied before the backward pass."""

from __future__ import annotations

from typing import Any

from mtlbench.errors import CellError

FIRST = 2.0**16
GROWTH_STEPS = 2000
"""Finite steps after which the scale doubles. This, the first scale and the halving follow torch's GradScaler."""
MOST_SKIPPED = 20
"""Overflows in a row that are tolerated: 20 halvings bring the scale to 2⁻⁴, too small to be the cause."""


class LossScale:
    """Scale of one model's losses. It is a power of two, so dividing the gradients by it rounds nothing.

    A step whose gradients overflow is skipped and halves the scale; 2,000 finite steps in a row double it.

    :param value: the scale to start from.
    """

    def __init__(self, value: float = FIRST) -> None:
        self.value = value
        self._good = self._skipped = 0

    def state_dict(self) -> dict[str, float | int]:
        """Return the scale and the current runs of finite and of skipped steps."""
        return {"value": self.value, "good": self._good, "skipped": self._skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from :meth:`state_dict`."""
        self.value, self._good, self._skipped = state["value"], state["good"], state["skipped"]

    def fitted(self) -> None:
        """Record a step with finite gradients."""
        self._skipped = 0
        self._good += 1
        if self._good == GROWTH_STEPS:
            self.value, self._good = 2.0 * self.value, 0

    def overflowed(self) -> None:
        """Record a step whose gradients overflowed.

        :raises CellError: after more than :data:`MOST_SKIPPED` such steps in a row.
        """
        self.value, self._good = 0.5 * self.value, 0
        self._skipped += 1
        if self._skipped > MOST_SKIPPED:
            raise CellError(
                f"gradients overflowed float16 {self._skipped} steps in a row, the last with losses scaled by "
                f"{2.0 * self.value:g}: use precision=bfloat16 or float32"
            )
