"""Text and JSON of ``mtlbench list`` and ``mtlbench info``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from mtlbench.cli.problem_text import describe_problem
from mtlbench.contract.method import Method
from mtlbench.contract.plugin import Plugin, describe_parameters
from mtlbench.contract.problem import Problem
from mtlbench.contract.spec import parse_spec
from mtlbench.contract.wrapper import Wrapper
from mtlbench.errors import unknown
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import Console
from mtlbench.plugins.describe import facts
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.recipe.suite import Suite, load_suite, packaged_suites
from mtlbench.text.encoder import Encoder

KINDS = ("methods", "tasks", "problems", "suites")


def print_list(kind: str, plugin_files: tuple[str, ...], *, as_json: bool) -> None:
    """Print every method, task, problem or suite with a one-line summary.

    :param kind: one of :data:`KINDS`.
    :param plugin_files: Python files that define further methods, tasks or problems.
    :raises UsageError: for another kind.
    """
    if kind not in KINDS:
        raise unknown("list:", kind, KINDS)
    registry = load_registry(plugin_files)
    entries = _entries(kind, registry)
    if as_json:
        _print_json(entries)
    else:
        console = _console()
        width = 2 + max(len(entry["name"]) for entry in entries)
        for entry in entries:
            padding = " " * (width - len(entry["name"]))
            console.print(f"[bold]{escape(entry['name'])}[/]{padding}{escape(entry['summary'])}")
    if kind != "suites":
        for broken in registry.broken:
            message = f"not available: {escape(broken.origin)}: {escape(broken.error)}"
            Console(stderr=True, soft_wrap=True).print(message)


def _entries(kind: str, registry: Registry) -> list[dict[str, Any]]:
    if kind == "suites":
        return [_suite_entry(load_suite(name)) for name in packaged_suites()]
    if kind == "methods":
        return [_plugin_entry(registry.method_class(name), registry) for name in registry.catalogue()]
    classes: Mapping[str, type[Plugin]] = registry.tasks if kind == "tasks" else registry.problems
    return [_plugin_entry(classes[name], registry) for name in sorted(classes)]


def _plugin_entry(cls: type[Plugin], registry: Registry) -> dict[str, Any]:
    entry = {
        "name": cls.name,
        "kind": cls.kind,
        "summary": cls.summary(),
        "parameters": describe_parameters(cls),
        "source": getattr(cls, "source", ""),
        "origin": registry.origins.get(cls, "mtlbench"),
    }
    if issubclass(cls, Method) and not _is_bare_wrapper(cls):
        entry |= {"reads": cls.reads, "heads": cls.heads, "joint": cls.joint, "facts": facts(cls)}
    return entry


def _is_bare_wrapper(cls: type[Plugin]) -> bool:
    """Return whether a class is a wrapper that wraps no method yet."""
    return issubclass(cls, Wrapper) and not cls.parts


def _suite_entry(suite: Suite) -> dict[str, Any]:
    return {"name": suite.name, "kind": "suite", "summary": suite.description, **suite.model_dump(mode="json")}


def print_info(name: str, plugin_files: tuple[str, ...], *, as_json: bool, data_dir: Path | None = None) -> None:
    """Print the description, parameters and source of one method, task, problem or suite, or of encoders.

    :param name: of a method, task, wrapper, problem or suite, or a suite's ``.toml`` file; or the spec of a problem;
        ``encoder`` for the settings of models. Of a problem and a suite with one name, the problem is meant: its recipe
        is the suite's.
    :param plugin_files: Python files that define further methods, tasks or problems.
    :param data_dir: folder of a problem's data files.
    :raises UsageError: for an unknown name.
    """
    registry = load_registry(plugin_files)
    cls: type[Plugin] | None = _find(name, registry)
    if cls is None and "[" in name and parse_spec(name)[0] in registry.problems:
        cls = type(registry.problem(name))
    if cls is not None:
        entry = _plugin_entry(cls, registry)
        if issubclass(cls, Problem):
            from mtlbench.grid.problem_facts import problem_facts

            found = problem_facts(name, registry, data_dir)
            entry |= {"facts": found.as_data()}
            details = describe_problem(found)
        else:
            details = _details(cls)
        _print_json(entry) if as_json else _print_plugin(cls, entry, details)
    elif name in packaged_suites() or name.endswith(".toml"):
        entry = _suite_entry(load_suite(name))
        _print_json(entry) if as_json else _print_suite(entry)
    else:
        plugins = [*registry.catalogue(), *registry.tasks, *registry.problems, *registry.wrappers]
        known = [*plugins, *packaged_suites(), Encoder.name]
        raise unknown("name", name, known)


def _find(name: str, registry: Registry) -> type[Plugin] | None:
    prefixed = any(name.startswith(f"{prefix}-") for prefix in registry.wrappers)
    if prefixed or name in registry.methods:
        return registry.method_class(name)
    encoder = Encoder if name == Encoder.name else None
    return registry.tasks.get(name) or registry.problems.get(name) or registry.wrappers.get(name) or encoder


def _details(cls: type[Plugin]) -> dict[str, str]:
    return facts(cls) if issubclass(cls, Method) and not _is_bare_wrapper(cls) else {}


def _print_plugin(cls: type[Plugin], entry: dict[str, Any], details: dict[str, str]) -> None:
    console = _console()
    console.print(f"[bold]{escape(cls.name)}[/] ({cls.kind}, {escape(entry['origin'])})\n")
    console.print(escape(inspect.getdoc(cls) or ""))
    if entry["source"]:
        details = {"Source": entry["source"], **details}
    console.print()
    for heading, detail in details.items():
        lines = escape(detail).replace("\n", "\n" + " " * 17)
        console.print(f"{heading + ':':16} {lines}")
    for parameter in entry["parameters"]:
        default = "required" if parameter["required"] else f"default {json.dumps(parameter['default'])}"
        console.print(f"\n  {parameter['name']}  {escape(_range(parameter['schema']))}  ({escape(default)})")
        if parameter["description"]:
            console.print(f"      {escape(parameter['description'])}")


def _range(schema: dict[str, Any]) -> str:
    """Return a parameter's type and range as text: ``number, >= 0, < 1``."""
    if "anyOf" in schema:
        return " or ".join(_range(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return ", ".join([str(schema.get("const", schema.get("type", "any"))), *bounds])


def _print_suite(entry: dict[str, Any]) -> None:
    console = _console()
    console.print(f"[bold]{escape(entry['name'])}[/] (suite)\n\n{escape(entry['description'])}\n")
    for key, value in entry.items():
        if key not in ("name", "kind", "summary", "description") and value is not None:
            shown = ", ".join(str(item) for item in value) if isinstance(value, list) else value
            console.print(f"  {key:14} {escape(str(shown))}")


def _console() -> Console:
    """Return standard output; the terminal wraps long lines, so that a pipe receives them whole."""
    return Console(soft_wrap=True, highlight=False)


def _print_json(data: Any) -> None:
    print_data(json.dumps(data, indent=2, ensure_ascii=False), "json")
