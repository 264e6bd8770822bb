"""What a method is compared with: another method, the sum with its best step rule, fixed weights, or single tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError
from mtlbench.map.cells import StepRule
from mtlbench.map.selection import RULE_METHODS, Search

Kind = Literal["method", "step-rules", "fixed", "single-task"]


@dataclass(frozen=True)
class Comparator:
    """One side of a comparison, and how it spends its trials.

    >>> from mtlbench.map.comparators import Comparator
    >>> Comparator.read("fixed[trials=8,rule=unit]").label
    'fixed weights with unit-length steps, coordinate search, 8 trials'

    :param kind: ``"method"``; ``"step-rules"``: the equal sum with the best of three step rules; ``"fixed"``: tuned
        fixed weights; ``"single-task"``: a network for each task.
    :param method: spec of the method, for that kind.
    :param trials: of fixed weights: a number, ``"same"`` as the method that is compared, or ``"all"``: the pool's best.
    :param search: of fixed weights.
    :param rule: of fixed weights.
    """

    kind: Kind
    method: str = ""
    trials: int | Literal["same", "all"] = "same"
    search: Search = "coordinate"
    rule: StepRule = "plain"

    @classmethod
    def read(cls, spec: str) -> Comparator:
        """Return the comparator of a spec: a method, ``step-rules``, ``single-task`` or ``fixed[...]``.

        :param spec: such as ``"sum"`` or ``"fixed[trials=8,search=random,rule=log]"``.
        :raises UsageError: for a wrong parameter of ``fixed``.
        """
        if spec in ("step-rules", "single-task"):
            return cls(cast(Kind, spec))
        name, texts = parse_spec(spec)
        if name != "fixed":
            return cls("method", spec)
        values: dict[str, Any] = dict(texts)
        trials = values.get("trials", "same")
        if trials.isdecimal() and int(trials) > 0:
            values["trials"] = int(trials)
        elif trials not in ("same", "all"):
            raise UsageError(f"comparator {spec}: trials={trials} should be a positive number, same or all")
        for field, choices in (("search", get_args(Search)), ("rule", get_args(StepRule))):
            if values.get(field, choices[0]) not in choices:
                raise UsageError(f"comparator {spec}: {field}={values[field]} should be one of {', '.join(choices)}")
        if unknown := values.keys() - {"trials", "search", "rule"}:
            raise UsageError(f"comparator {spec}: no parameter {min(unknown)}; it has trials, search and rule")
        return cls("fixed", **values)

    @property
    def spec(self) -> str:
        """The comparator as a text, without parameters that have their default."""
        if self.kind != "fixed":
            return self.method or self.kind
        defaults = Comparator("fixed")
        changed = [
            f"{name}={getattr(self, name)}"
            for name in ("trials", "search", "rule")
            if getattr(self, name) != getattr(defaults, name)
        ]
        return f"fixed[{','.join(changed)}]" if changed else "fixed"

    @property
    def label(self) -> str:
        """The comparator in words."""
        if self.kind == "method":
            return LABELS.get(self.method, self.method)
        if self.kind != "fixed":
            return LABELS[self.kind]
        steps = {"plain": "", "unit": " with unit-length steps", "log": " on the logarithm of the loss"}[self.rule]
        if self.trials == "all":
            return f"fixed weights{steps}, best of the pool"
        budget = "as many trials as the method" if self.trials == "same" else f"{self.trials} trials"
        return f"fixed weights{steps}, {self.search} search, {budget}"


LABELS = {
    "sum": "equal sum",
    "unit-step-sum": "equal sum, unit-length steps",
    "log-sum": "logarithm of the equal sum",
    "unit-gradients": "normalisation alone",
    "step-rules": "equal sum, best of three step rules",
    "single-task": "single tasks",
}
"""Words for comparators and methods that need them."""


def standard(methods: Sequence[str], rules: Sequence[StepRule], *, single_task: bool) -> Iterator[Comparator]:
    """Yield the comparators that are possible with what was trained, the equal sum first.

    :param methods: the methods that were trained.
    :param rules: step rules with a pool of fixed weights.
    :param single_task: whether single tasks were trained.
    """
    yield Comparator("method", "sum")
    if set(RULE_METHODS.values()) <= set(methods):
        yield Comparator("step-rules")
    for method in ("unit-gradients", "unit-step-sum", "log-sum"):
        if method in methods:
            yield Comparator("method", method)
    for rule in rules:
        for trials in (8, "all"):
            yield Comparator("fixed", trials=cast(Any, trials), rule=rule)
        for trials in ("same", 8):  # coordinate search with as many trials as a method is still the equal sum
            yield Comparator("fixed", trials=cast(Any, trials), search="random", rule=rule)
    if single_task:
        yield Comparator("single-task")
