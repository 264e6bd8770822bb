"""Loss scaling: float16 ends at 6·10⁻⁸ below and 65,504 above, so losses are multiplied before the backward pass."""

from __future__ import annotations

from typing import Any

from mtlbench.errors import CellError

FIRST = 2.0**16
GROWTH_STEPS = 2000
"""Good steps after which the scale doubles. This, the first scale and the halving are those of torch's GradScaler."""
MOST_SKIPPED = 20
"""Steps in a row that may overflow: after so many halvings the scale is 2⁻⁴, and is not what is wrong."""


class LossScale:
    """The scale S of one model's losses, a power of two, so that dividing by it again rounds nothing.

    A step whose gradients overflow is skipped, and halves S; 2,000 steps in a row that do not double it.
    """

    def __init__(self, value: float = FIRST) -> None:
        self.value = value
        self._good = self._skipped = 0

    def state_dict(self) -> dict[str, float | int]:
        """Return the scale and how many steps in a row fitted and were skipped."""
        return {"value": self.value, "good": self._good, "skipped": self._skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` returned."""
        self.value, self._good, self._skipped = state["value"], state["good"], state["skipped"]

    def fitted(self) -> None:
        """Hear of a step whose gradients were finite."""
        self._skipped = 0
        self._good += 1
        if self._good == GROWTH_STEPS:
            self.value, self._good = 2.0 * self.value, 0

    def overflowed(self) -> None:
        """Hear of a step whose gradients were not.

        :raises CellError: after more such steps in a row than a scale can be to blame for.
        """
        self.value, self._good = 0.5 * self.value, 0
        self._skipped += 1
        if self._skipped > MOST_SKIPPED:
            raise CellError(
                f"gradients overflowed float16 {self._skipped} steps in a row, at last with losses times "
                f"{2.0 * self.value:g}: use precision=bfloat16 or float32"
            )
