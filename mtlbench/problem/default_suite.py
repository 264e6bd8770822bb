"""The suite of a problem that the command line names: a packaged one, or one made of the problem's own recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtlbench.contract.problem import Problem
from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError, shown, unknown
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import Recipe, Suite, load_suite, packaged_suites, validated

DEFAULT_SUITE = "quick"
"""The suite of a grid that names neither a suite nor a problem."""
GENERIC: Mapping[str, Any] = {
    "steps": 500,
    "batch_size": 32,
    "lr": 1e-3,
    "lr_schedule": "linear",
    "evaluations": 2,
}
"""Recipe of a problem that declares none: a small network learns something from it in seconds."""
METHODS, SEEDS = ("stl", "sum", "pcgrad"), 3
"""The grid of such a problem, as in the suite ``quick``."""
NOT_DECLARED = ("problem", "model")
"""Fields of a recipe that a problem cannot declare: it is the problem, and it brings its model."""


def choose_suite(
    suite: str | None, problem: str | None, model: str | None, plugin_files: tuple[str, ...] = ()
) -> str | Suite:
    """Return what a suite and a problem stand for together.

    :param suite: a suite's name or file; ``None`` for the default.
    :param problem: the spec of a problem; ``None`` for the suite's.
    :param model: the spec of an encoder, which no problem takes.
    :param plugin_files: files that define further problems.
    :raises UsageError: for an unknown problem or a wrong parameter, and for a suite or a model that is for texts.
    """
    if problem is None:
        return suite or DEFAULT_SUITE
    named = load_registry(plugin_files).problem(problem)
    if model is not None:
        raise UsageError(f"--model is for tasks on texts; problem {named.name} brings its own model: leave --model out")
    return suite_of(named, suite)


def suite_of(problem: Problem, suite: str | None = None) -> Suite:
    """Return the suite that trains a problem.

    :param problem: the problem.
    :param suite: a suite whose recipe is used, also of another problem, whose choice of tasks is dropped then; ``None``
        for the problem's own: the packaged suite with its name, else one of the recipe that its class declares.
    :raises UsageError: when the suite is for tasks on texts or does not exist, or the declared recipe is wrong.
    """
    if suite is None:
        return _replaced(load_suite(problem.name), problem) if has_packaged_suite(problem) else _declared(problem)
    loaded = load_suite(suite)
    if loaded.problem is None:
        raise UsageError(
            f"suite {loaded.name} is for tasks on texts, but problem {problem.name} has data and a model of its own: "
            "leave --suite out, or give a suite that names a problem"
        )
    return _replaced(loaded, problem)


def has_packaged_suite(problem: Problem) -> bool:
    """Return whether a packaged suite with a problem's name trains this problem.

    :param problem: the problem.
    """
    return problem.name in packaged_suites() and _name(load_suite(problem.name).problem) == problem.name


def _replaced(suite: Suite, problem: Problem) -> Suite:
    tasks = suite.tasks if _name(suite.problem) == problem.name else ()
    return suite.model_copy(update={"problem": problem.spec, "tasks": tasks})


def _declared(problem: Problem) -> Suite:
    where, declared = f"problem {problem.name}", type(problem).recipe
    if not isinstance(declared, Mapping) or not all(isinstance(key, str) for key in declared):
        raise UsageError(f"{where}: recipe is {shown(declared)}; declare a mapping such as {{'steps': 500}}")
    known = [name for name in Recipe.model_fields if name not in NOT_DECLARED]
    for key in declared:
        if key not in known:
            raise unknown(f"key of {where}: recipe:", key, known)
    generic = {name: value for name, value in GENERIC.items() if name != "steps" or "epochs" not in declared}
    fields = {
        "name": problem.name,
        "description": type(problem).summary(),
        "methods": METHODS,
        "seeds": SEEDS,
        "problem": problem.spec,
        **generic,
        **declared,
    }
    suite: Suite = validated(Suite, fields, f"{where}: recipe:")
    return suite


def _name(spec: str | None) -> str | None:
    return None if spec is None else parse_spec(spec)[0]
