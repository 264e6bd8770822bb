"""The interface of batched methods: one method on B independent problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mtlbench import seeds
from mtlbench.batched.arrays import Grams, Mask, Rows, every
from mtlbench.batched.inputs import check_gram, check_losses, reason
from mtlbench.contract.method import Method
from mtlbench.contract.method_output import ask_weights
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError, SolverError, UsageError


class Batched:
    """One method on B independent problems, in float64: what B objects of the method do, each seeded by its own seed.

    A subclass is the batched form of one method; :func:`mtlbench.batched.form_of` registers it. It computes the weights
    of all problems in NumPy operations over (B, …) arrays, and holds the method's state in such arrays. B and K are
    fixed: B by the seeds, K by the first step.

    Problems are independent, so one that fails does not stop the others. Where the method raises an error for one
    problem, or its input is not valid, the problem's row of weights is NaN from then on, and :attr:`failures` has the
    error.

    >>> import numpy as np
    >>> from mtlbench import get_method
    >>> from mtlbench.batched import batched
    >>> three = batched(get_method("pcgrad"), seeds=[0, 1, 2])
    >>> conflict = np.array([[1.0, -1.0], [-1.0, 2.0]])
    >>> three.weights(gram=np.stack([conflict, np.eye(2), np.full((2, 2), np.nan)])).tolist()
    [[2.0, 1.5], [1.0, 1.0], [nan, nan]]
    >>> print(three.failures[2])
    method pcgrad: gram must be finite, got [[nan, nan], [nan, nan]]

    :param method: the method with its parameters. Its state is not used: every problem starts anew.
    :param seeds: the seed of each problem's random generator.
    :param drawn_by: the name that seeds the generators, if it is not the method's: that of a wrapper around it.
    """

    draws: bool = False
    """Whether the method draws random numbers, so that the seeds matter."""

    def __init__(self, method: Method, seeds: Sequence[int], drawn_by: str | None = None) -> None:
        self.method = method
        self.seeds = [int(seed) for seed in seeds]
        self.failures: dict[int, Exception] = {}
        """Problem → the error that ended it."""
        self.drawn_by = drawn_by or method.name
        self._tasks: int | None = None

    @property
    def size(self) -> int:
        """B, the number of problems."""
        return len(self.seeds)

    @property
    def clip_norm(self) -> float | None:
        """The norm to which the shared update is clipped; see :attr:`mtlbench.Method.clip_norm`."""
        return self.method.clip_norm

    @property
    def stateless(self) -> bool:
        """Whether the weights of a step depend on this step's input alone, apart from random draws."""
        return self.method.state == "none"

    @cached_property
    def generators(self) -> list[np.random.Generator]:
        """The random generator of each problem, equal to that of a method reseeded with the problem's seed."""
        return [seeds.generator(seed, "method", self.drawn_by) for seed in self.seeds]

    def weights(self, losses: Rows | None = None, gram: Grams | None = None) -> Rows:
        """Return the weights of one step.

        :param losses: (B, K) losses, for methods that read them.
        :param gram: (B, K, K) inner products of the task gradients, for methods that read them.
        :returns: (B, K) weights; NaN in the rows of problems that have failed.
        :raises UsageError: when an input is missing or of another shape. Values that are not valid fail their problem.
        """
        losses, gram = self._checked(losses, gram)
        with np.errstate(all="ignore"):
            weights = self.compute(losses, gram)
        for problem in np.flatnonzero(~every(np.isfinite(weights)) & ~self.failed).tolist():
            text = f"{weights[problem].tolist()}, not {self._tasks} finite numbers"
            self.fail(problem, CellError(f"method {self.method.name} returned weights {text}"))
        if self.failures:
            weights = np.where(self.failed[:, None], np.nan, weights)
        return weights

    def after_step(self, losses: Rows) -> None:
        """Receive the losses of the step's own batches after the optimizer's step; ignored by most methods.

        :param losses: (B, K) losses. A row that is not finite fails its problem.
        :raises UsageError: when they are not of this shape.
        """
        if losses.shape != (self.size, self._tasks):
            raise UsageError(
                f"method {self.method.name}: losses after the step must be of the shape of those before it, "
                f"{(self.size, self._tasks)}, not {losses.shape}"
            )
        with np.errstate(all="ignore"):
            self.learn(np.where(self.failed[:, None], 1.0, losses))

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        """Return how far weights violate the method's own optimality conditions; see :meth:`mtlbench.Method.residual`.

        :param losses: (B, K) losses of the step.
        :param gram: (B, K, K) inner products of the step.
        :param weights: (B, K) weights for this step.
        :returns: (B,) residuals, or ``None`` where the method has no conditions to check.
        """
        return None

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        """Return the (B, K) weights of one step, as a new array. Forms of methods implement this.

        NumPy's floating-point warnings are off inside. Call :meth:`fail` or :meth:`solve_alone` for problems that need
        it, without touching the others.

        :param losses: (B, K) valid losses; of size 0 if none were given. A failed problem has losses of 1.
        :param gram: (B, K, K) valid matrices; of size 0 if none were given. A failed problem has the identity.
        """
        raise NotImplementedError

    def learn(self, losses: Rows) -> None:
        """Update the state by the losses after the step. For forms of methods with ``reads_after``.

        :param losses: (B, K) losses after the step; 1 for failed problems. Their values are not checked.
        """

    @property
    def failed(self) -> Mask:
        """(B,) whether each problem has failed."""
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[list(self.failures)] = True
        return mask

    def solve_alone(self, unsolved: Mask, weights: Rows, losses: Rows, gram: Grams) -> None:
        """Replace the weights of some problems by those of single calls; where one raises an error, its problem fails.

        For problems whose solution the form cannot vouch for. It suits methods whose weights depend on this step alone.

        :param unsolved: (B,) the problems.
        :param weights: (B, K) weights, changed in place.
        :param losses: (B, K) losses of the step, or of size 0.
        :param gram: (B, K, K) inner products of the step.
        """
        for problem in np.flatnonzero(unsolved & ~self.failed).tolist():
            method = type(self.method).make(self.method.parameters)
            try:
                weights[problem] = ask_weights(method, row(problem, losses, gram))
            except (UsageError, CellError, SolverError) as error:
                self.fail(problem, error)

    def fail_where(self, invalid: Mask, values: Rows, fault: str) -> None:
        """Fail problems with a :class:`mtlbench.UsageError` that shows their values.

        :param invalid: (B,) the problems.
        :param values: (B, K) what to show.
        :param fault: what is wrong, as a sentence that the values end.
        """
        for problem in np.flatnonzero(invalid & ~self.failed).tolist():
            self.fail(problem, UsageError(f"method {self.method.name}{fault}{values[problem].tolist()}"))

    def fail(self, problem: int, error: Exception) -> None:
        """Mark one problem as failed. Its first error counts.

        :param problem: its position.
        :param error: the reason.
        """
        self.failures.setdefault(problem, error)

    def _checked(self, losses: Rows | None, gram: Grams | None) -> tuple[Rows, Grams]:
        """Return valid inputs, with harmless numbers for problems that have failed or fail now."""
        method = self.method
        if losses is None and method.reads_losses != "no":
            raise UsageError(f"method {method.name} reads the losses: give losses")
        if gram is None and method.reads != "losses":
            raise UsageError(f"method {method.name} reads the Gram matrix of the task gradients: give gram")
        tasks = self._size(losses, gram)
        failed = self.failed
        checked_losses, checked_gram, fine = np.empty(0), np.empty(0), ~failed
        if losses is not None:
            checked_losses, valid = check_losses(method, losses)
            fine &= valid
        if gram is not None:
            checked_gram, valid = check_gram(gram)
            fine &= valid
        for problem in np.flatnonzero(~fine & ~failed).tolist():
            given = [None if values is None else values[problem] for values in (losses, gram)]
            self.fail(problem, reason(method, *given))
        if not fine.all():
            if losses is not None:
                checked_losses = np.where(fine[:, None], checked_losses, 1.0)
            if gram is not None:
                checked_gram = np.where(fine[:, None, None], checked_gram, np.eye(tasks))
        return checked_losses, checked_gram

    def _size(self, losses: Rows | None, gram: Grams | None) -> int:
        """Return K, after a check of the shapes."""
        name = f"method {self.method.name}"
        if losses is None and gram is None:
            raise UsageError(f"{name}: give losses or gram, so that there are K tasks")
        tasks = (losses if gram is None else gram).shape[-1]  # type: ignore[union-attr]
        expected = self._tasks or tasks
        shapes = {"losses": (self.size, expected), "gram": (self.size, expected, expected)}
        for argument, values in (("losses", losses), ("gram", gram)):
            if values is not None and values.shape != shapes[argument]:
                raise UsageError(f"{name}: {argument} must be of shape {shapes[argument]}, not {values.shape}")
        if tasks < max(self.method.min_tasks, 1):
            raise UsageError(f"{name} needs at least {max(self.method.min_tasks, 1)} tasks, got {tasks}")
        self._tasks = tasks
        return tasks


def row(problem: int, losses: Rows | None, gram: Grams | None) -> Observation:
    """Return the input of one problem.

    :param problem: its position.
    :param losses: (B, K) losses; ``None`` or of size 0 if there are none.
    :param gram: (B, K, K) inner products; ``None`` or of size 0 if there are none.
    """
    rows = (None if values is None or not values.size else values[problem] for values in (losses, gram))
    return Observation(*rows)
