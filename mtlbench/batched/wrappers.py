"""Batched forms of methods that modify other methods: log, cr-mogm."""

from __future__ import annotations

from collections.abc import Sequence

from mtlbench.batched.arrays import Grams, Rows, outer
from mtlbench.batched.base import Batched
from mtlbench.batched.forms import FORMS, form_of
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Vector
from mtlbench.contract.plugin import parameter_fields
from mtlbench.contract.wrapper import Wrapper
from mtlbench.methods.cr_mogm import CRMOGM
from mtlbench.methods.log import Log


class BatchedWrapper(Batched):
    """Base of forms of wrappers around a method that has a form, which shares the failures of this one."""

    method: Wrapper

    def __init__(self, method: Method, seeds: Sequence[int], drawn_by: str | None = None) -> None:
        super().__init__(method, seeds, drawn_by)
        inner = self.method.parts[1]
        parameters = {field.name: getattr(method, field.name) for field in parameter_fields(inner)}
        form = FORMS[inner.parts[0] if issubclass(inner, Wrapper) else inner]
        self.inner = form(inner.make(parameters), seeds, self.drawn_by)
        self.inner.failures = self.failures
        self.draws = self.inner.draws

    def learn(self, losses: Rows) -> None:
        self.inner.learn(losses)


@form_of(Log)
class BatchedLog(BatchedWrapper):
    """Another method on the gradients of the log-losses."""

    @property
    def stateless(self) -> bool:
        return self.inner.stateless

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        return self.inner.compute(losses, gram / outer(losses)) / losses

    def residual(self, losses: Rows | None, gram: Grams | None, weights: Rows) -> Vector | None:
        assert losses is not None and gram is not None
        return self.inner.residual(losses, gram / outer(losses), weights * losses)


@form_of(CRMOGM)
class BatchedCRMOGM(BatchedWrapper):
    """A moving average of another method's weights."""

    method: CRMOGM
    smoothed: Rows | None = None
    """(B, K) average weights."""

    def compute(self, losses: Rows, gram: Grams) -> Rows:
        weights = self.inner.compute(losses, gram)
        average = weights if self.smoothed is None else self.smoothed
        self.smoothed = self.method.smoothing * average + (1.0 - self.method.smoothing) * weights
        return self.smoothed.copy()
