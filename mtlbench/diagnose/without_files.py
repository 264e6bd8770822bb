"""What the doctor cannot tell of cells whose side files were left out on purpose."""

from __future__ import annotations

from typing import Final

from mtlbench.records.groups import Cells
from mtlbench.records.left_out import is_left_out, left_out

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "history": (
        "odd-first-loss",
        "learning-rate-low",
        "learning-rate-high",
        "diverged",
        "not-learned",
        "overfit",
        "underfit",
        "no-gradient",
        "loss-scale",
        "dominated",
        "no-conflict",
        "three-conditions",
        "conflict-not-in-step",
    ),
    "predictions": (
        "odd-first-loss",
        "overfit",
        "dead-head",
        "one-sided-head",
        "reversed-head",
        "shifted-threshold",
        "missing-classes",
    ),
}
"""Kind of side files → the findings that need it."""


def lacking(cells: Cells) -> str:
    """Return the sentence on the cells that lack side files, and on the findings that need them; empty without any.

    :param cells: the group.
    """
    done = list(cells.done.values())
    clause = left_out(done, NEEDS)
    codes = dict.fromkeys(
        code for kind, codes in NEEDS.items() if any(is_left_out(one, kind) for one in done) for code in codes
    )
    return f"{clause}: {', '.join(codes)}" if clause else ""


def unexamined(cells: Cells) -> tuple[str, ...]:
    """Return the findings that no cell of a group can have, because all of them lack the side files.

    :param cells: the group.
    """
    done = list(cells.done.values())
    whole = [kind for kind in NEEDS if done and all(is_left_out(one, kind) for one in done)]
    return tuple(dict.fromkeys(code for kind in whole for code in NEEDS[kind]))
