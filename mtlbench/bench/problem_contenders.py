"""The contenders on a problem: a plain step of the summed losses, and methods on its sessions."""

from __future__ import annotations

from typing import cast

import torch

from mtlbench.bench.contenders import Contender, make_optimizer
from mtlbench.contract.method import Method
from mtlbench.engine.library import get_method
from mtlbench.engine.processes import ALONE
from mtlbench.plan.cells import Workload
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.problem.session import ProblemSession


class SessionSteps:
    """A method in a session, as ``mtlbench run`` trains it.

    :param session: the model with its batches.
    :param optimizer: of the model's parameters.
    :param method: the method.
    """

    def __init__(self, session: ProblemSession, optimizer: torch.optim.Optimizer, method: Method) -> None:
        self.session, self.optimizer, self.method = session, optimizer, method

    def step(self, step: int) -> None:
        self.session.step(self.method, step, measure=False)
        self.optimizer.step()
        if self.method.reads_after:
            self.method.after_step(self.session.losses_after(step))


class PlainSteps:
    """The plain sum of losses, as an author's own loop has it: forward, one backward pass, optimizer.

    :param problem: for its ``outputs`` and ``loss``.
    :param session: for the model and its batches; nothing else of it is used.
    :param optimizer: of the model's parameters.
    :param precision: of the forward pass, as in a recipe.
    """

    def __init__(
        self, problem: LoadedProblem, session: ProblemSession, optimizer: torch.optim.Optimizer, precision: str
    ) -> None:
        self.problem, self.session, self.optimizer = problem.problem, session, optimizer
        self.precision: torch.dtype = getattr(torch, precision)

    def step(self, step: int) -> None:
        self.optimizer.zero_grad()
        self.loss(step).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def loss(self, step: int) -> torch.Tensor:
        """Return the sum of the losses of a step.

        :param step: number of the step.
        """
        factors = dict(zip(self.session.tasks, self.session.factors(step), strict=True))
        half = self.precision is not torch.float32
        losses = []
        for tasks, batch in self.session.batches(step):
            names = [target.name for target in tasks]
            with torch.autocast(batch.labels[0].device.type, self.precision if half else None, enabled=half):
                outputs = self.problem.outputs(self.session.model, batch.inputs, names)
            for target, rows, labels in zip(tasks, batch.labelled, batch.labels, strict=True):
                chosen = outputs[target.name] if rows is None else outputs[target.name][rows]
                chosen = chosen.float() if half else chosen
                labels = labels.to(chosen.dtype) if labels.is_floating_point() else labels
                losses.append(factors[target.name] * self.problem.loss(target, chosen, labels))
        return torch.stack(losses).sum()


def problem_contender(workload: Workload, method: Method | None, steps: int, seed: int) -> Contender:
    """Return a contender on a problem.

    :param workload: the problem and the recipe.
    :param method: the method; ``None`` for the plain sum.
    :param steps: the number of steps.
    :param seed: of weights, batches and the method's random numbers.
    """
    problem, recipe = cast(LoadedProblem, workload.problem), workload.recipe.model_copy(update={"steps": steps})
    rows = problem.prepare(recipe, method or get_method("sum"), seed)
    session = rows.session(range(len(problem.tasks)), ALONE)
    parameters = [*session.shared, *session.heads]
    optimizer = make_optimizer(cast(list[torch.nn.Parameter], parameters), recipe)
    if method is None:
        return PlainSteps(problem, session, optimizer, recipe.precision)
    method.reseed(seed)
    return SessionSteps(session, optimizer, method)
