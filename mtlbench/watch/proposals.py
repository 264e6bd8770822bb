"""The weights that methods would give to the measured gradients. They change nothing: the user's training goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_weights
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.library import get_method
from mtlbench.errors import CellError, SolverError, UsageError, one_line


class Proposals:
    """Methods that are asked at every look with all tasks. One with a memory has seen the earlier looks only.

    :param methods: names, specs, or methods, of which copies are asked.
    :param tasks: number of tasks.
    :raises UsageError: for an unknown method, or one that needs what a look does not have.
    """

    def __init__(self, methods: Sequence[str | Method], tasks: int) -> None:
        if isinstance(methods, str):
            raise UsageError(f"methods must be a list of names, such as ['{methods}'], not one text")
        made = [get_method(one) if isinstance(one, str) else without_trainer(deepcopy(one)) for one in methods]
        self._methods = {method.spec: method for method in made}
        for method in made:
            reason = _unfit(method, tasks)
            if reason is not None:
                raise UsageError(f"method {method.name} cannot be watched: {reason}; leave it out of methods")
        self._refused: set[str] = set()

    @property
    def specs(self) -> list[str]:
        """The specs of the methods."""
        return list(self._methods)

    def weights(self, losses: Vector, gram: Matrix, gradients: torch.Tensor) -> Iterator[tuple[str, Vector]]:
        """Yield spec and (K,) weights of every method that has some; the first failure of each is a warning.

        :param losses: (K,) finite losses.
        :param gram: (K, K) finite inner products.
        :param gradients: (K, P) task gradients.
        """
        for spec, method in self._methods.items():
            whole = gradients if method.reads == "gradients" else None
            try:
                yield spec, ask_weights(method, observe(method, losses=losses, gram=gram, gradients=whole))
            except (CellError, SolverError, UsageError) as error:
                if spec not in self._refused:
                    self._refused.add(spec)
                    reason = one_line(str(error), 200)
                    warnings.warn(f"no weights of {spec} at this look, and maybe at others: {reason}", stacklevel=4)


def _unfit(method: Method, tasks: int) -> str | None:
    """Return why a method has no weights at a look, or ``None``."""
    if not method.joint:
        return "it trains one model per task"
    if method.returns != "weights":
        return "it returns an update, not weights"
    if method.gram_of != "shared":
        return f"it reads the {method.gram_of.replace('_', ' ')}, which a watch is not given"
    if method.batches > 1:
        return f"it needs {method.batches} batches a step"
    if method.reads_after:
        return "it needs the losses after the step"
    if method.state == "K × P":
        return "it remembers whole gradients, and a look keeps none"
    if tasks < method.min_tasks:
        return f"it needs at least {method.min_tasks} tasks"
    return None
