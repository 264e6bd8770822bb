"""Name what is wrong in a wrong PCGrad: compute the wrong ones, and find the one that gives the same updates."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from mtlbench.check.foreign.borrowed import Examined
from mtlbench.check.foreign.distribution import conflicting, nearest
from mtlbench.check.result import Result
from mtlbench.contract.observation import Matrix, Vector

SAME = 1e-5
"""Largest relative difference of updates that count as the same; code in single precision has some 10⁻⁷."""


@dataclass(frozen=True)
class Variant:
    """PCGrad with some of its rules replaced. The defaults are those of the paper.

    :param divisor: what the inner product ⟨gᵢᴾᶜ, gⱼ⟩ is divided by.
    :param onto: whether later tasks are projected off the original gradients or off those projected before.
    :param inner: whether inner products are taken with the current gᵢᴾᶜ or with the original gᵢ.
    :param when: which pairs are projected.
    :param rows: whether the gradients are those of the tasks or running sums of them.
    :param sign: −1 subtracts the projection.
    """

    divisor: Literal["‖gⱼ‖²", "‖gⱼ‖", "‖gᵢ‖²", "‖gᵢ‖‖gⱼ‖", "1"] = "‖gⱼ‖²"
    onto: Literal["original", "projected"] = "original"
    inner: Literal["current", "original"] = "current"
    when: Literal["conflict", "always", "first conflict", "never"] = "conflict"
    rows: Literal["tasks", "running sums"] = "tasks"
    sign: Literal[-1, 1] = -1


FAULTS: tuple[tuple[dict[str, object], str], ...] = (
    ({"when": "never"}, "no surgery: conflicts are not removed; the update is the plain sum of the gradients"),
    ({"divisor": "‖gⱼ‖"}, "wrong norm: it divides by ‖gⱼ‖ where the paper divides by ‖gⱼ‖²"),
    (
        {"divisor": "‖gᵢ‖²"},
        "wrong norm: it divides by ‖gᵢ‖² of the projected gradient itself, not by ‖gⱼ‖² of the other",
    ),
    ({"divisor": "‖gᵢ‖‖gⱼ‖"}, "wrong norm: it divides by ‖gᵢ‖‖gⱼ‖, which gives the cosine, not by ‖gⱼ‖²"),
    ({"divisor": "1"}, "wrong norm: it does not divide by ‖gⱼ‖²"),
    (
        {"onto": "projected"},
        "projects off gradients that were projected before (changed in place), where the paper keeps the original gⱼ",
    ),
    (
        {"inner": "original"},
        "takes all inner products with the original gᵢ, where the paper takes them with the gradient projected so far",
    ),
    ({"when": "always"}, "projects pairs that do not conflict, too"),
    ({"when": "first conflict"}, "projects each gradient only once, at its first conflict"),
    (
        {"rows": "running sums"},
        "surgery on summed gradients: gradient i is g₁ + … + gᵢ, as when .grad is not cleared between the losses",
    ),
    ({"sign": 1}, "wrong sign: it adds the projection, which makes conflicts larger"),
)
"""Changed rules, and what they are called."""


def diagnose(examined: Examined) -> Result | None:
    """Find the wrong PCGrad that gives the same updates as the foreign code: one wrong rule, or two.

    :param examined: the foreign code, which claims to be PCGrad and is not.
    :returns: ``None`` when no known fault explains the updates.
    """
    tasks, seeds = min(3, examined.most_tasks), 20 if examined.generators else 1
    samples = [(rows, np.array([examined.update(rows, seed) for seed in range(seeds)])) for rows in telling(tasks)]
    pairs = [
        ({**first, **second}, f"{one}; and {other}")
        for (first, one), (second, other) in itertools.combinations(FAULTS, 2)
        if not set(first) & set(second)
    ]
    for changes, words in (*FAULTS, *pairs):
        variant = dataclasses.replace(Variant(), **changes)  # type: ignore[arg-type]
        if any(_explains(variant, samples, factor) for factor in (1.0, 1.0 / tasks)):
            return Result("cause", False, words)
    return None


def telling(tasks: int) -> list[Matrix]:
    """Return matrices on which every two wrong PCGrads differ: conflicts among gradients, and among running sums.

    :param tasks: K.
    """
    matrices = conflicting(tasks)
    return [*matrices, *(np.diff(rows, axis=0, prepend=0.0) for rows in matrices)]


def _explains(variant: Variant, samples: list[tuple[Matrix, Matrix]], factor: float) -> bool:
    for place, (rows, updates) in enumerate(samples):
        unit = float(np.linalg.norm(rows, axis=1).sum())
        possible = _possible(variant, len(rows), place)
        if not (nearest(updates / factor, possible) <= SAME * unit).all():
            return False
    return True


@cache
def _possible(variant: Variant, tasks: int, place: int) -> Matrix:
    """Return the updates for every order of the tasks on one of the telling matrices."""
    return np.array(list(outcomes(telling(tasks)[place], variant)))


def outcomes(rows: Matrix, variant: Variant) -> Iterator[Vector]:
    """Yield the update for every order of the tasks.

    :param rows: (K, P) task gradients.
    :param variant: the rules.
    """
    tasks = range(len(rows))
    if variant.rows == "running sums":
        rows = np.cumsum(rows, axis=0)
    outer = itertools.permutations(tasks) if variant.onto == "projected" else [tuple(tasks)]
    for sequence in outer:
        for orders in itertools.product(*(itertools.permutations([j for j in tasks if j != i]) for i in tasks)):
            projected = rows.copy()
            for i in sequence:
                others = projected.copy() if variant.onto == "projected" else rows
                projected[i] = _projected(rows[i], [others[j] for j in orders[i]], variant)
            yield projected.sum(axis=0)


def _projected(gradient: Vector, others: list[Vector], variant: Variant) -> Vector:
    current = gradient.copy()
    for other in others:
        inner = float((gradient if variant.inner == "original" else current) @ other)
        if variant.when == "never" or (inner >= 0.0 and variant.when != "always"):
            continue
        mine, theirs = float(np.linalg.norm(gradient)), float(np.linalg.norm(other))
        divisors = {"‖gⱼ‖²": theirs**2, "‖gⱼ‖": theirs, "‖gᵢ‖²": mine**2, "‖gᵢ‖‖gⱼ‖": mine * theirs, "1": 1.0}
        current += variant.sign * inner / divisors[variant.divisor] * other
        if variant.when == "first conflict":
            break
    return current
