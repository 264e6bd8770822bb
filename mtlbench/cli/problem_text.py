"""Facts about a problem in words, for ``mtlbench info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtlbench.contract.problem import Target

if TYPE_CHECKING:  # the facts need torch, which other uses of `mtlbench info` do not
    from mtlbench.grid.problem_facts import ProblemFacts

NOT_NAMED = {
    "shared": "what the losses of two tasks reach",
    "last_shared_layer": "not named",
    "representation": "not named",
}
HEADINGS = {"shared": "Shared part", "last_shared_layer": "Last layer", "representation": "Representation"}


def describe_problem(facts: ProblemFacts) -> dict[str, str]:
    """Return what is known of a problem, by heading; a text may have several lines.

    :param facts: the facts.
    """
    details = {}
    if facts.targets:
        details["Tasks"] = "\n".join(_target(target) for target in facts.targets)
    details["Batches"] = "one for each task" if facts.separate else "one for all tasks"
    for hook, heading in HEADINGS.items():
        details[heading] = f"named by {hook}()" if facts.named[hook] else NOT_NAMED[hook]
    if facts.shared is not None:
        heads = ", ".join(f"{task} {count}" for task, count in facts.heads.items())
        details["Rows"] = ", ".join(f"{count} {split}" for split, count in facts.rows.items()) + f"; {facts.data}"
        details["Parameters"] = f"{facts.shared} shared; of the heads: {heads}"
    if facts.recipe:
        fields = (f"{name} {_value(value)}" for name, value in facts.recipe.items() if name != "suite")
        origin = f"suite {facts.recipe['suite']}" if facts.packaged else "of its own"
        details["Recipe"] = f"{origin}: {', '.join(fields)}"
    if facts.shared is not None:
        lines = ["all can run"] if not facts.refused else [f"{facts.runs} can run, {len(facts.refused)} cannot:"]
        details["Methods"] = "\n".join([*lines, *facts.refused.values()])
    if facts.missing is not None:
        details["Not known"] = f"the rest: {facts.missing}"
    return details


def _target(target: Target) -> str:
    size = {"classification": f"{target.outputs} classes", "multilabel": f"{target.outputs} labels"}
    numbers = "a number" if target.outputs == 1 else f"{target.outputs} numbers"
    return f"{target.name}: {size.get(target.prediction, numbers)}; {', '.join(target.metrics)}"


def _value(value: object) -> str:
    return (
        " ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
