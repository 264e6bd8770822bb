"""What the doctor says: one finding is one thing that is wrong with some runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""``error``: the scores do not mean what they seem to; ``warning``: they could be better; ``note``: good to know."""
Sureness = Literal["certain", "likely", "possible"]
"""Of the cause: ``certain`` where the evidence is the cause itself, ``possible`` where others fit as well."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :param code: its name, for tables and for programs; docs/diagnose.md describes each.
    :param evidence: the numbers, with the bound that they break.
    :param tasks: keys of the tasks that it concerns; none where it concerns all.
    :param method: spec of the method; empty where it concerns all of a group.
    :param seeds: of the cells that show it.
    :param of: how many cells were looked at.
    """

    code: str
    severity: Severity
    what: str
    evidence: str
    cause: str
    fix: str
    sure: Sureness
    tasks: tuple[str, ...] = ()
    method: str = ""
    seeds: tuple[int, ...] = ()
    of: int = 0


def span(numbers: Sequence[float], form: str = ".3g") -> str:
    """Write one number, or the least and the largest of several."""
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}"
