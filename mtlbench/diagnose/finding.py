"""A finding of the doctor: one fault of some runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""``error``: the scores do not mean what they seem to; ``warning``: they could be better; ``note``: good to know."""
Sureness = Literal["certain", "likely", "possible"]
"""How sure the cause is: ``certain`` if the evidence shows it directly, ``possible`` if other causes fit as well."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    :param code: name of the fault, for tables and programs; docs/diagnose.md describes each.
    :param severity: how grave the fault is.
    :param what: the fault, in one sentence.
    :param evidence: the numbers, with the bound that they violate.
    :param cause: the cause.
    :param fix: what the user can do.
    :param sure: how sure the cause is.
    :param tasks: keys of the affected tasks; empty if all are affected.
    :param method: spec of the method; empty if the fault affects all methods of the group.
    :param seeds: seeds of the affected cells.
    :param of: number of examined cells.
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
    """Return several numbers as text: the smallest and the largest, or a single number if both look the same.

    :param numbers: the numbers, at least one.
    :param form: format specification of a number.
    """
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}"
