"""``mtlbench list`` and ``info``: what there is, and what it does."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rich.markup import escape

from mtlbench.contract.method import Method
from mtlbench.contract.plugin import Plugin, describe_parameters
from mtlbench.contract.wrapper import Wrapper
from mtlbench.errors import unknown
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import Console
from mtlbench.plan.suite import Suite, load_suite, packaged_suites
from mtlbench.plugins.describe import facts
from mtlbench.plugins.registry import Registry, load_registry

KINDS = ("methods", "tasks", "suites")


def print_list(what: str, plugin_files: tuple[str, ...], *, as_json: bool) -> None:
    """Print every method, task or suite with one line about it.

    :raises UsageError: when ``what`` is none of these.
    """
    if what not in KINDS:
        raise unknown("list:", what, KINDS)
    registry = load_registry(plugin_files)
    entries = _entries(what, registry)
    if as_json:
        _print_json(entries)
    else:
        console = _console()
        width = 2 + max(len(entry["name"]) for entry in entries)
        for entry in entries:
            padding = " " * (width - len(entry["name"]))
            console.print(f"[bold]{escape(entry['name'])}[/]{padding}{escape(entry['summary'])}")
    if what != "suites":
        for broken in registry.broken:
            told = f"not available: {escape(broken.origin)}: {escape(broken.error)}"
            Console(stderr=True, soft_wrap=True).print(told)


def _entries(what: str, registry: Registry) -> list[dict[str, Any]]:
    if what == "suites":
        return [_suite_entry(load_suite(name)) for name in packaged_suites()]
    if what == "methods":
        return [_plugin_entry(registry.method_class(name), registry) for name in registry.catalogue()]
    return [_plugin_entry(registry.tasks[name], registry) for name in sorted(registry.tasks)]


def _plugin_entry(cls: type[Plugin], registry: Registry) -> dict[str, Any]:
    entry = {
        "name": cls.name,
        "kind": cls.kind,
        "summary": cls.summary(),
        "parameters": describe_parameters(cls),
        "source": getattr(cls, "source", ""),
        "origin": registry.origins[cls],
    }
    if issubclass(cls, Method) and not _is_bare_wrapper(cls):
        entry |= {"reads": cls.reads, "heads": cls.heads, "joint": cls.joint, "facts": facts(cls)}
    return entry


def _is_bare_wrapper(cls: type[Plugin]) -> bool:
    """Whether a class is a wrapper around nothing yet."""
    return issubclass(cls, Wrapper) and not cls.parts


def _suite_entry(suite: Suite) -> dict[str, Any]:
    return {"name": suite.name, "kind": "suite", "summary": suite.description, **suite.model_dump(mode="json")}


def print_info(name: str, plugin_files: tuple[str, ...], *, as_json: bool) -> None:
    """Print all about one method, task or suite.

    :raises UsageError: for a name that is none of them.
    """
    registry = load_registry(plugin_files)
    cls: type[Plugin] | None = _find(name, registry)
    if cls is not None:
        _print_json(_plugin_entry(cls, registry)) if as_json else _print_plugin(cls, registry)
    elif name in packaged_suites() or name.endswith(".toml"):
        entry = _suite_entry(load_suite(name))
        _print_json(entry) if as_json else _print_suite(entry)
    else:
        known = [*registry.catalogue(), *registry.tasks, *registry.wrappers, *packaged_suites()]
        raise unknown("name", name, known)


def _find(name: str, registry: Registry) -> type[Plugin] | None:
    prefixed = any(name.startswith(f"{prefix}-") for prefix in registry.wrappers)
    if prefixed or name in registry.methods:
        return registry.method_class(name)
    return registry.tasks.get(name) or registry.wrappers.get(name)


def _print_plugin(cls: type[Plugin], registry: Registry) -> None:
    console = _console()
    entry = _plugin_entry(cls, registry)
    console.print(f"[bold]{escape(cls.name)}[/] ({cls.kind}, {escape(entry['origin'])})\n")
    console.print(escape(inspect.getdoc(cls) or ""))
    told = {"Source": entry["source"]} if entry["source"] else {}
    if issubclass(cls, Method) and not _is_bare_wrapper(cls):
        told = facts(cls)
    console.print()
    for heading, fact in told.items():
        console.print(f"{heading + ':':16} {escape(fact)}")
    for parameter in entry["parameters"]:
        default = "required" if parameter["required"] else f"default {json.dumps(parameter['default'])}"
        console.print(f"\n  {parameter['name']}  {escape(_range(parameter['schema']))}  ({escape(default)})")
        if parameter["description"]:
            console.print(f"      {escape(parameter['description'])}")


def _range(schema: dict[str, Any]) -> str:
    """Return a parameter's type and range for people: ``number, >= 0, < 1``."""
    if "anyOf" in schema:
        return " or ".join(_range(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return ", ".join([str(schema.get("type", schema.get("const", "any"))), *bounds])


def _print_suite(entry: dict[str, Any]) -> None:
    console = _console()
    console.print(f"[bold]{escape(entry['name'])}[/] (suite)\n\n{escape(entry['description'])}\n")
    for key, value in entry.items():
        if key not in ("name", "kind", "summary", "description") and value is not None:
            shown = ", ".join(str(item) for item in value) if isinstance(value, list) else value
            console.print(f"  {key:14} {escape(str(shown))}")


def _console() -> Console:
    """Standard output; long lines are left to the terminal, so that a pipe gets them whole."""
    return Console(soft_wrap=True, highlight=False)


def _print_json(data: Any) -> None:
    print_data(json.dumps(data, indent=2, ensure_ascii=False), "json")
