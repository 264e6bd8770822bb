"""What an examination of surgery found, as a value and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtlbench.contract.observation import Matrix, Vector
from mtlbench.solvers.inner_products import cosines

SHOWN = 4
"""Names in one line of the text."""


@dataclass(frozen=True)
class Deviation:
    """The largest relative difference between two computations of the same gradients.

    :param relative: largest difference of two entries over the gradient's largest entry.
    :param tolerance: what rounding may explain, in the gradient's type.
    :param place: the task and the parameter where it is; ``None`` where nothing differs.
    """

    relative: float = 0.0
    tolerance: float = 1.0
    place: tuple[str, str] | None = None

    def larger(self, other: Deviation) -> Deviation:
        """Return the one that rounding explains less.

        :param other: another deviation.
        """
        return other if other.relative / other.tolerance > self.relative / self.tolerance else self

    @property
    def explained(self) -> bool:
        """Whether rounding explains it."""
        return self.relative <= self.tolerance

    def __str__(self) -> str:
        return "none" if self.place is None else f"{self.relative:.1e} (task {self.place[0]}, {self.place[1]})"


@dataclass(frozen=True, eq=False)
class Examination:
    """What :meth:`mtlbench.Surgery.check` found in one batch. Its text says it in words.

    :param tasks: names of the tasks that are present, or their positions.
    :param agreement: between the rows of a step and ``torch.autograd.grad``.
    :param repetition: between two runs of a step's passes.
    :param deterministic: whether two runs gave the same bits.
    :param not_finite: task and parameter of every gradient that is NaN or infinite.
    :param blind: tasks whose loss reaches no shared parameter.
    :param unreached: trainable parameters that no loss reaches.
    :param partly: shared parameters that some tasks do not reach, each with the tasks that do.
    :param heads: for each task, the parameters that get its own plain gradient.
    :param disputed: parameters outside the shared ones that several losses reach.
    :param hooked: shared parameters with hooks.
    :param overlap: whether the losses share a graph.
    :param dead_share: share of rows of zeros in layers that skip them; ``None`` where no layer skips.
    :param types: number of shared numbers by type.
    :param megabytes: size of the K rows, in MB.
    :param gram: (K, K) inner products of the task gradients.
    """

    tasks: Sequence[str]
    agreement: Deviation
    repetition: Deviation
    deterministic: bool
    not_finite: Sequence[tuple[str, str]]
    blind: Sequence[str]
    unreached: Sequence[str]
    partly: Mapping[str, Sequence[str]]
    heads: Mapping[str, Sequence[str]]
    disputed: Sequence[str]
    hooked: Sequence[str]
    overlap: bool
    dead_share: float | None
    types: Mapping[str, int]
    megabytes: float
    gram: Matrix

    @property
    def norms(self) -> Vector:
        """(K,) norms of the task gradients."""
        return np.sqrt(np.diagonal(self.gram))

    @property
    def cosines(self) -> Matrix:
        """(K, K) cosines between task gradients; NaN where one is zero."""
        return cosines(self.gram)

    @property
    def conflict(self) -> float:
        """The share of pairs of tasks whose gradients have a negative cosine."""
        pairs = self.cosines[np.triu_indices(len(self.tasks), 1)]
        return float((pairs < 0.0).mean()) if len(pairs) else 0.0

    @property
    def problems(self) -> list[str]:
        """What must not be, one sentence each."""
        found = []
        if self.not_finite:
            where = [f"task {task}: {parameter}" for task, parameter in self.not_finite]
            found.append(f"not finite: {_some(where)}")
        if not self.repetition.explained:
            found.append(
                f"the backward pass is not reproducible: two runs differ by {self.repetition}, far more than rounding"
            )
        elif not self.agreement.explained:
            found.append(f"a row differs from torch.autograd.grad by {self.agreement}, far more than rounding")
        if self.disputed:
            found.append(f"several losses reach {_some(self.disputed)}: add to shared, or tell the owner by heads=")
        found += [f"the loss of task {task} reaches no shared parameter" for task in self.blind]
        return found

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def __str__(self) -> str:
        lines = ["Surgery is right on this batch." if self.ok else "Surgery is NOT right on this batch."]
        lines += [f"Problem: {problem}." for problem in self.problems]
        lines.append(f"Largest relative difference from torch.autograd.grad: {self.agreement}.")
        lines.append(
            "The backward pass is deterministic: two runs gave the same bits."
            if self.deterministic
            else f"The backward pass is not deterministic; largest relative difference: {self.repetition}."
        )
        lines.append(f"The losses {'share one graph' if self.overlap else 'have graphs of their own'}.")
        for task, own in self.heads.items():
            lines.append(f"Head of task {task}: {_some(own) if own else 'no parameter of its own'}.")
        if self.unreached:
            lines.append(f"No loss reaches {_some(self.unreached)}: no .grad, no update.")
        if self.partly:
            partly = [f"{name} ({', '.join(tasks)})" for name, tasks in self.partly.items()]
            lines.append(f"Only some tasks reach {_some(partly)}.")
        if self.hooked:
            lines.append(f"Hooks run once, on the finished update, not on every task's gradient: {_some(self.hooked)}.")
        if self.dead_share is not None:
            lines.append(f"Rows of zeros in the layers that skip them: {self.dead_share:.0%}.")
        types = ", ".join(f"{count:,} in {dtype}" for dtype, count in self.types.items())
        lines.append(f"Shared numbers: {types}; the rows take {self.megabytes:.3g} MB.")
        lines.append("Norms of the task gradients: " + ", ".join(f"{norm:.3g}" for norm in self.norms) + ".")
        if len(self.tasks) > 1:
            pairs = self.cosines[np.triu_indices(len(self.tasks), 1)]
            lines.append(
                f"Cosines between them: {', '.join(f'{cosine:.2f}' for cosine in pairs)}; "
                f"{self.conflict:.0%} of the pairs conflict."
            )
        return "\n".join(lines)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
