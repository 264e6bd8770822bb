"""The form of a history's rows: what every reader relies on. docs/records.md describes each field."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ByTask = dict[str, float | None]


class _Row(BaseModel):
    """A step has losses, an evaluation has scores. A number may be infinite or NaN: a run may diverge."""

    model_config = ConfigDict(strict=True)

    step: Annotated[int, Field(ge=1, lt=2**63)]
    losses: dict[str, float] | None = None
    scores: dict[str, ByTask] | None = None
    seconds: float = 0.0
    elapsed: float | None = None
    weights: ByTask = {}
    norms: ByTask = {}
    cosines: ByTask = {}
    half: dict[str, float] = {}
    after: dict[str, float] = {}
    next: dict[str, float] = {}
    factor: float = 1.0
    moved: float = 0.0
    size: float = 1.0
    skipped: bool = False
    floored: list[str] = []


def check_row(row: Any, tasks: Collection[str]) -> None:
    """Check a row of a history that somebody else may have written.

    :param tasks: those of its record.
    :raises ValueError: when a reader could not rely on it.
    """
    try:
        form = _Row.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"not the form of a history: {where} {first['msg'].lower()}".replace("  ", " ")) from None
    if (form.losses is None) == (form.scores is None):
        raise ValueError("not the form of a history: a row has either losses or scores")
    told = form.losses if form.scores is None else form.scores
    if not set(told or {}) <= set(tasks):
        raise ValueError("not the form of a history: it is of other tasks")
    for name in ("weights", "norms", "half", "after", "next"):
        if not getattr(form, name).keys() <= (told or {}).keys():
            raise ValueError(f"not the form of a history: {name} are of other tasks than its losses")
    if not set(form.floored) <= (told or {}).keys():
        raise ValueError("not the form of a history: floored are of other tasks than its losses")
    if not form.cosines.keys() <= {f"{one}|{other}" for one in form.norms for other in form.norms}:
        raise ValueError("not the form of a history: cosines are of other tasks than its norms")
