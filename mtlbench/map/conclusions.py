"""Conclusions of a map: sentences that are computed from its gains, each with the rule by which it was written.

Every statement is a question that has an answer for each outcome. Where the data do not support the expected sentence,
the same rule writes the opposite one, or says that nothing is separable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mtlbench.map.result import MapResult
from mtlbench.map.statements import balance, knobs, trials, weights
from mtlbench.map.statements.statement import Statement
from mtlbench.map.tally import Comparisons, plural
from mtlbench.stats import FEWEST_SEEDS

KINDS: Final[tuple[Callable[[Comparisons], Statement | None], ...]] = (
    weights.pool_best,
    weights.every_pool,
    weights.tuned_weights,
    balance.balanced,
    balance.normalisation,
    weights.beyond_normalisation,
    balance.sign,
    knobs.step_rule,
    trials.budget,
    weights.metric,
    knobs.conflict,
    knobs.predictor,
    knobs.three_conditions,
    knobs.sharing,
)
"""The statements in the order of the page, the most important first."""
VERDICT: Final = ("pool", "every-pool", "balanced", "normalisation", "step-rule", "metric")
"""Names of the statements that make up the verdict."""


def conclusions(result: MapResult, comparisons: Comparisons | None = None) -> list[Statement]:
    """Return all statements that the studies of a map suffice for.

    >>> from mtlbench.map.conclusions import conclusions
    >>> from mtlbench.map.result import MapResult
    >>> conclusions(MapResult({}))
    []

    :param result: the map.
    :param comparisons: its gains, if they were computed before.
    """
    if too_few(result):
        return []
    shared = comparisons or Comparisons(result)
    return [statement for kind in KINDS if (statement := kind(shared)) is not None]


def verdict(statements: Sequence[Statement], result: MapResult) -> list[str]:
    """Return the most important answers, one sentence each.

    :param statements: the conclusions of a map.
    :param result: the map.
    """
    if reason := too_few(result):
        return [reason]
    by_name = {statement.name: statement for statement in statements}
    chosen = [by_name[name].short for name in VERDICT if name in by_name]
    others = [statement.short for statement in statements[: len(VERDICT)]]
    nothing = "None of the questions can be asked of these studies." if result.studies else "The map has no cells."
    return chosen or others or [nothing]


def too_few(result: MapResult) -> str:
    """Return why nothing can be concluded: too few seeds for a claim; or nothing.

    :param result: the map.
    """
    seeds = {len(cell.seeds) for study in result.studies.values() for cell in study.cells}
    if not seeds or max(seeds) >= FEWEST_SEEDS:
        return ""
    return f"With {plural(max(seeds), 'seed')} no difference is claimed: it takes {FEWEST_SEEDS}. Train more seeds."
