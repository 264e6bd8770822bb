"""Results of checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of a certificate.

    :param check: the name of the check.
    :param passed: ``None`` if the check does not apply, such as for a property that the method does not claim.
    :param detail: the result in words; for a failure, the cause.
    :param worst: the largest violation, relative to the terms involved.
    :param tried: the number of matrices.
    :param note: whether the line states an observation or a convention, which is neither right nor wrong.
    """

    check: str
    passed: bool | None
    detail: str
    worst: float | None = None
    tried: int = 0
    note: bool = False

    @property
    def mark(self) -> str:
        """The result in one word: ``pass``, ``FAIL``, ``note`` or ``-``."""
        return "note" if self.note else {True: "pass", False: "FAIL", None: "-"}[self.passed]


def verdict(check: str, worst: float, tolerance: float, tried: int, measure: str) -> Result:
    """Return the result of comparing the largest violation with a tolerance. NaN never passes.

    :param check: the name of the check.
    :param worst: the largest violation.
    :param tolerance: the largest accepted violation.
    :param tried: the number of matrices.
    :param measure: the quantity that was compared, in words.
    """
    return Result(check, worst <= tolerance, f"≤ {worst:.1e} (allowed {tolerance:g}): {measure}", worst, tried)


def not_claimed(check: str, reason: str = "not claimed") -> Result:
    """Return the result of a check that does not apply.

    :param check: the name of the check.
    :param reason: why it does not apply.
    """
    return Result(check, None, reason)


def observed(check: str, detail: str, worst: float | None = None, tried: int = 0) -> Result:
    """Return a result that states what was seen and judges nothing.

    :param check: the name of the check.
    :param detail: what was seen, in words.
    :param worst: the largest difference, if one was measured.
    :param tried: the number of matrices.
    """
    return Result(check, None, detail, worst, tried, note=True)
