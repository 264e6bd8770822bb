"""Finds methods and tasks: the packaged folders, entry points of installed packages, and files on the command line.

All three go the same way: a module is imported, and every concrete plugin class that it defines is registered
under its name. A plugin that cannot be imported is kept as :class:`Broken`, with its error; the others work.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from mtlbench.contract.method import Method, Wrapper
from mtlbench.contract.plugin import Plugin
from mtlbench.contract.spec import expand_spec, parse_spec
from mtlbench.contract.task import Task
from mtlbench.errors import UsageError, said, shown, unknown
from mtlbench.host.safe_names import is_key

P = TypeVar("P", bound=Plugin)

GROUPS: dict[str, type[Plugin]] = {"mtlbench.methods": Method, "mtlbench.tasks": Task}
"""Entry-point group (and packaged folder) → the contract that its plugins fulfil."""


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used, and why."""

    origin: str
    error: str


@dataclass
class Registry:
    """Every plugin that was found: name → class, for each contract, and what was broken."""

    methods: dict[str, type[Method]] = field(default_factory=dict)
    wrappers: dict[str, type[Wrapper]] = field(default_factory=dict)
    tasks: dict[str, type[Task]] = field(default_factory=dict)
    origins: dict[type[Plugin], str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def method(self, text: str) -> Method:
        """Make a method from its spec, such as ``cagrad[c=0.4]`` or, with a wrapper, ``log-cagrad[c=0.4]``.

        :raises UsageError: for an unknown name (with the closest ones), parameter or value.
        """
        name, parameters = parse_spec(text)
        return self.method_class(name).make(parameters)

    def expand_methods(self, text: str) -> list[Method]:
        """Make every method that a spec with lists of values stands for."""
        return [self.method_class(name).make(dict(parameters)) for name, parameters in expand_spec(text)]

    def method_class(self, name: str) -> type[Method]:
        """Return the class of a method; ``log-cagrad`` is the wrapper ``log`` around ``cagrad``.

        :raises UsageError: for an unknown name, or a method that the wrapper cannot take.
        """
        if name not in self.methods:
            for prefix, wrapper in self.wrappers.items():
                if name.startswith(f"{prefix}-"):
                    inner = self.method_class(name.removeprefix(f"{prefix}-"))
                    reason = wrapper.accepts(inner)
                    if reason is not None:
                        raise UsageError(f"method {name}: {reason}")
                    self.methods[name] = wrapper.around(inner)
                    self.origins[self.methods[name]] = self.origins[wrapper]
        return self._class(self.methods, "method", name, self._wrapped())

    def task(self, text: str) -> Task:
        """Make a task from its spec; errors as in :meth:`method`."""
        name, parameters = parse_spec(text)
        return self._class(self.tasks, "task", name).make(dict(parameters))

    def catalogue(self) -> list[str]:
        """Return the name of every method, wrappers by an example of each, in alphabetical order."""
        examples = [f"{prefix}-{cls.example}" for prefix, cls in self.wrappers.items() if cls.example]
        return sorted({*self.methods, *examples})

    def _wrapped(self) -> Iterator[str]:
        """Yield the names of all wrapped methods."""
        for prefix, wrapper in self.wrappers.items():
            yield from (f"{prefix}-{name}" for name, method in self.methods.items() if wrapper.accepts(method) is None)

    def _class(self, table: dict[str, type[P]], kind: str, name: str, further: Iterable[str] = ()) -> type[P]:
        if name in table:
            return table[name]
        for broken in self.broken:
            if name in re.split(r"[^\w-]+", broken.origin):
                raise UsageError(f"{kind} {name} could not be loaded: {broken.origin}: {broken.error}")
        raise unknown(kind, name, table, further)

    def add_module(self, module: ModuleType, base: type[Plugin], origin: str) -> int:
        """Register every concrete subclass of ``base`` that ``module`` itself defines; return how many."""
        classes = [
            member
            for member in vars(module).values()
            if isinstance(member, type)
            and issubclass(member, base)
            and member.__module__ == module.__name__
            and "name" in vars(member)
        ]
        for cls in classes:
            self.add(cls, origin)
        return len(classes)

    def add(self, cls: type[Plugin], origin: str) -> None:
        """Register one class.

        :raises UsageError: when its name is none that a command line can hold, or another plugin already has it.
        """
        if not is_key(cls.name):
            raise UsageError(
                f"{cls.kind} {cls.__name__} from {origin}: its name is {shown(cls.name)}; it may hold letters, digits, "
                "'.', '_' and '-'"
            )
        kinds = {Wrapper: self.wrappers, Method: self.methods, Task: self.tasks}
        table = cast(dict[str, type[Plugin]], next(found for base, found in kinds.items() if issubclass(cls, base)))
        if cls.name in table and table[cls.name] is not cls:
            first = self.origins[table[cls.name]]
            raise UsageError(f"{cls.kind} '{cls.name}' from {origin} is already taken by {first}; rename it")
        table[cls.name] = cls
        self.origins[cls] = origin


def load_registry(plugin_files: tuple[str, ...] = ()) -> Registry:
    """Find all plugins.

    :param plugin_files: files given with ``--plugin``; each must define at least one method or task.
    :raises UsageError: when such a file is missing, fails to import, defines nothing, or takes a used name.
        The packaged folders and entry points never raise: what fails there is in ``Registry.broken``.
    """
    registry = Registry()
    for group, base in GROUPS.items():
        for origin, load in _installed(group):
            try:
                loaded = load()
                if isinstance(loaded, type) and issubclass(loaded, base):
                    registry.add(loaded, origin)
                elif registry.add_module(loaded, base, origin) == 0:
                    raise UsageError(f"defines no {base.kind}")
            except Exception as error:  # a plugin may fail in any way at all; the others must work
                registry.broken.append(Broken(origin, said(error)))
    for file in plugin_files:
        module = _import_file(file)
        if sum(registry.add_module(module, base, file) for base in GROUPS.values()) == 0:
            raise UsageError(f"plugin {file} defines no method and no task (a subclass of Method or Task with a name)")
    return registry


def _installed(group: str) -> Iterator[tuple[str, Any]]:
    package = importlib.import_module(group)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("_"):
            name = f"{group}.{info.name}"
            yield name, lambda name=name: importlib.import_module(name)
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        owner = entry.dist.name if entry.dist else "unknown package"
        yield f"{entry.value} ({owner})", entry.load


@cache
def _import_file(file: str) -> ModuleType:
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"plugin file {file} does not exist")
    name = f"mtlbench_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plugin file {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look the module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script that ends the process, such as argparse, is no plugin
        del sys.modules[name]
        raise UsageError(f"plugin {file} failed to import: {said(error)}") from error
    return module
