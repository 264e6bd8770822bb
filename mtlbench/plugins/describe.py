"""What a method declares, in words: for ``mtlbench info`` and the methods page."""

from __future__ import annotations

import inspect
from typing import Any

from mtlbench.contract.method import Method
from mtlbench.contract.plugin import describe_parameters
from mtlbench.plugins.registry import Registry

READS = {
    "losses": "the losses",
    "gram": "the inner products of the task gradients",
    "cross_gram": "the inner products between the task gradients of two further, independent batches",
    "gradients": "the task gradients themselves",
}
OF = {"shared": "", "last_shared_layer": " of the last shared layer", "representation": " of the representation"}
HEADS = {
    "plain": "their own task's gradient",
    "weighted": "their own task's gradient times the task's weight",
    "log": "the gradient of their own task's log loss",
}
SCALE = {
    "sum": "sum: K equal gradients g give K g",
    "mean": "mean: K equal gradients g give g",
    "own": "its own",
}
SYMMETRY = {
    "exact": "does not matter",
    "in distribution": "does not matter on average; matters through random draws",
    "main task": "one task is the main one (parameter main), the order of the others does not matter",
    "in turns": "matters: tasks take turns",
}


def facts(cls: type[Method]) -> dict[str, str]:
    """Return heading → what the method declares, at its default parameters."""
    method = cls.make({})
    reads = READS[method.reads] + (OF[method.gram_of] if method.reads == "gram" else "")
    if method.reads != "losses" and method.reads_losses != "no":
        reads += ", and the losses"
    if method.reads_losses == "positive":
        reads += " (none negative; 0 counts as 1e-8)"
    if method.reads_after:
        reads += "; the losses of the same batches after the step"
    told = {
        "Reads": reads,
        "Returns": "K weights" if method.returns == "weights" else "the update itself",
        "Task heads": HEADS[cls.heads],
        "Native scale": SCALE[method.scale],
        "Claims": "; ".join(sorted(method.properties)) or "none",
        "Order of tasks": SYMMETRY[method.symmetry],
        "State": {"none": "none", "K": "a few numbers a task", "K × P": "K × P numbers"}[method.state],
        "Cost of a step": _cost(method),
        "Source": cls.source,
    }
    if cls.search:
        told["Tuned"] = ", ".join(f"{name} in {space}" for name, space in cls.search.items())
    if method.clip_norm is not None:
        told["Clipping"] = f"the shared update is clipped to norm {method.clip_norm:g}"
    if method.min_tasks > 1:
        told["Least K"] = str(method.min_tasks)
    return told


def _cost(method: Method) -> str:
    if not method.joint:
        return "one model per task"
    if method.reads == "losses":
        cost = "that of a plain sum"
    elif method.reads == "cross_gram":
        cost = "three batches a task: 3 K forwards and backwards, two K × P buffers"
    elif method.gram_of == "representation":
        cost = "that of a plain sum, and K backwards through the heads"
    else:
        cost = "K backwards into a K × P buffer"
        cost += ", their inner products" if method.reads == "gram" else ", passes over it"
    if method.reads_after:
        cost += ", and one more forward"
    return cost


def methods_page(registry: Registry) -> str:
    """Return the methods page in Markdown: an index, then every method with formula, facts and parameters."""
    names = registry.catalogue()
    classes = {name: registry.method_class(name) for name in names}
    lines = [
        "# Methods",
        "",
        "Made by `mtlbench list methods --markdown`; one method on the terminal: `mtlbench info NAME`. Whether each",
        "keeps what it claims: [certificate](certificate.md). What `mtlbench tune` searches: [tuning](tune.md).",
        "",
        "Every method also takes `base_lr`, the learning rate of the model in place of the recipe's, so that one grid",
        "can compare methods each at its own: `sum[base_lr=3e-5]`. In your own loop the optimizer is yours, and it is",
        "refused.",
        "",
        "Where a method takes logarithms or ratios of losses, a loss of exactly 0 counts as 10⁻⁸: a cross entropy in",
        "single precision is 0 where a batch is solved. The record says in how many steps. Positive losses count as",
        "they are, however small; a negative one is an error.",
        "",
        "| method | what it is | reads | heads | scale | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, cls in classes.items():
        method = cls.make({})
        lines.append(
            f"| [{name}](#{name}) | {cls.summary()} | {method.reads} | {cls.heads} | {method.scale} | {cls.source} |"
        )
    for name, cls in classes.items():
        lines += ["", f"## {name}", "", *_as_markdown(inspect.getdoc(cls) or ""), ""]
        lines += [f"- {heading}: {fact}" for heading, fact in facts(cls).items()]
        lines += [_parameter(parameter) for parameter in describe_parameters(cls)]
    return "\n".join(lines) + "\n"


def _as_markdown(documentation: str) -> list[str]:
    """Return a docstring's lines, its literal blocks (``::`` and indented lines) fenced."""
    lines: list[str] = []
    fenced = False
    for line in documentation.replace("``", "`").split("\n"):
        indented = line.startswith("    ")
        if indented and not fenced:
            lines.append("```")
        elif fenced and line and not indented:
            lines[-1:] = ["```", ""] if not lines[-1] else [lines[-1], "```"]
        fenced = indented or (fenced and not line)
        lines.append(line.removesuffix(":") if line.endswith("::") else line.removeprefix("    "))
    return [*lines, "```"] if fenced else lines


def _parameter(parameter: dict[str, Any]) -> str:
    default = "required" if parameter["required"] else f"default {parameter['default']}"
    return f"- `{parameter['name']}` ({default}): {parameter['description']}"
