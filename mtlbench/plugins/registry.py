"""Find methods and tasks in the packaged folders, in entry points of installed packages, and in plugin files.

In all three cases a module is imported, and every concrete plugin class that it defines is registered under its
name. A packaged or installed plugin that fails to import becomes a :class:`Broken` with its error; the others work.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from mtlbench.contract.method import Method
from mtlbench.contract.plugin import Plugin
from mtlbench.contract.problem import Problem
from mtlbench.contract.spec import expand_spec, parse_spec
from mtlbench.contract.task import Task
from mtlbench.contract.wrapper import Wrapper
from mtlbench.errors import UsageError, said, shown, unknown
from mtlbench.host.safe_names import is_key

P = TypeVar("P", bound=Plugin)

GROUPS: dict[str, type[Plugin]] = {"mtlbench.methods": Method, "mtlbench.tasks": Task, "mtlbench.problems": Problem}
"""Entry-point group, which is also the packaged folder → base class of its plugins."""


@dataclass(frozen=True)
class Broken:
    """A plugin that failed to load.

    :param origin: the module, or the entry point with its package.
    :param error: the error in one line.
    """

    origin: str
    error: str


@dataclass
class Registry:
    """All plugins, by name.

    :param methods: classes of methods.
    :param wrappers: classes of wrappers.
    :param wrapped: classes of wrapped methods, such as ``log-cagrad``, that have been asked for.
    :param tasks: classes of tasks.
    :param problems: classes of problems.
    :param origins: the module, entry point or file that defines a class.
    :param broken: plugins that failed to load.
    """

    methods: dict[str, type[Method]] = field(default_factory=dict)
    wrappers: dict[str, type[Wrapper]] = field(default_factory=dict)
    wrapped: dict[str, type[Method]] = field(default_factory=dict)
    tasks: dict[str, type[Task]] = field(default_factory=dict)
    problems: dict[str, type[Problem]] = field(default_factory=dict)
    origins: dict[type[Plugin], str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def method(self, text: str) -> Method:
        """Create a method from its spec.

        :param text: such as ``cagrad[c=0.4]`` or, with a wrapper, ``log-cagrad[c=0.4]``.
        :raises UsageError: for an unknown name (with the closest names), an unknown parameter or an invalid value.
        """
        name, parameters = parse_spec(text)
        return self.method_class(name).make(parameters)

    def expand_methods(self, text: str) -> list[Method]:
        """Create every method that a spec with lists of values stands for.

        :param text: such as ``cagrad[c=0.2/0.4]``.
        :raises UsageError: as :meth:`method`.
        """
        return [self.method_class(name).make(dict(parameters)) for name, parameters in expand_spec(text)]

    def method_class(self, name: str) -> type[Method]:
        """Return the class of a method.

        :param name: such as ``cagrad`` or ``log-cagrad``, the wrapper ``log`` around ``cagrad``.
        :raises UsageError: for an unknown name, or a method that the wrapper does not accept.
        """
        if name not in self.methods and name not in self.wrapped:
            for prefix, wrapper in self.wrappers.items():
                if name.startswith(f"{prefix}-"):
                    inner = self.method_class(name.removeprefix(f"{prefix}-"))
                    reason = wrapper.accepts(inner)
                    if reason is not None:
                        raise UsageError(f"method {name}: {reason}")
                    self.wrapped[name] = wrapper.around(inner)
                    self.origins[self.wrapped[name]] = self.origins[wrapper]
        return self._class({**self.wrapped, **self.methods}, "method", name, self._wrapped())

    def task(self, text: str) -> Task:
        """Create a task from its spec.

        :param text: such as ``sst5``.
        :raises UsageError: as :meth:`method`.
        """
        name, parameters = parse_spec(text)
        return self._class(self.tasks, "task", name).make(dict(parameters))

    def problem(self, text: str) -> Problem:
        """Create a problem from its spec.

        :param text: such as ``digits[overlap=4]``.
        :raises UsageError: as :meth:`method`.
        """
        name, parameters = parse_spec(text)
        return self._class(self.problems, "problem", name).make(dict(parameters))

    def catalogue(self) -> list[str]:
        """Return the names of all methods in alphabetical order, with one example of every wrapper."""
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
        """Register every concrete subclass of a base class that a module itself defines.

        :param module: the imported module.
        :param base: the base class, such as :class:`Method`.
        :param origin: the source of the module, for messages.
        :returns: the number of registered classes.
        :raises UsageError: as :meth:`add`.
        """
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

        :param cls: the class of a method, a wrapper, a task or a problem.
        :param origin: its source, for messages.
        :raises UsageError: when its name cannot stand on a command line, or another plugin has the name.
        """
        if not is_key(cls.name):
            raise UsageError(
                f"{cls.kind} {cls.__name__} from {origin}: its name is {shown(cls.name)}; it may hold letters, digits, "
                "'.', '_' and '-' only"
            )
        tables = {Wrapper: self.wrappers, Method: self.methods, Task: self.tasks, Problem: self.problems}
        table = cast(dict[str, type[Plugin]], next(table for base, table in tables.items() if issubclass(cls, base)))
        if cls.name in table and table[cls.name] is not cls:
            first = self.origins[table[cls.name]]
            raise UsageError(f"{cls.kind} '{cls.name}' from {origin} is already taken by {first}; rename it")
        table[cls.name] = cls
        self.origins[cls] = origin


def load_registry(plugin_files: tuple[str, ...] = ()) -> Registry:
    """Find all plugins.

    :param plugin_files: files from ``--plugin``; each must define at least one method, task or problem.
    :raises UsageError: when such a file is missing, fails to import, defines no plugin, or uses a name that is taken.
        Failures in the packaged folders and entry points are listed in :attr:`Registry.broken` instead.
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
            except Exception as error:  # a plugin may raise anything; the others must work
                registry.broken.append(Broken(origin, said(error)))
    for file in plugin_files:
        module = import_file(file)
        if sum(registry.add_module(module, base, file) for base in GROUPS.values()) == 0:
            raise UsageError(
                f"plugin {file} defines no method, task or problem: subclass Method, Task or Problem, and set name"
            )
    return registry


def import_packaged() -> None:
    """Import the modules of the packaged folders ahead, so that processes forked from this one need not.

    One that fails is tried again, and its error told, by :func:`load_registry`. Plugins of other packages are not
    imported: what they do on import may not survive a fork.
    """
    for group in GROUPS:
        entry_points(group)
        for _, load in _packaged(group):
            with suppress(Exception):
                load()


@cache
def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Return the entry points of a group. Finding them reads files of every installed package, so they are kept."""
    return tuple(metadata.entry_points(group=group))


def _installed(group: str) -> Iterator[tuple[str, Any]]:
    yield from _packaged(group)
    for entry in sorted(entry_points(group), key=lambda entry: entry.name):
        owner = entry.dist.name if entry.dist else "unknown package"
        yield f"{entry.value} ({owner})", entry.load


def _packaged(group: str) -> Iterator[tuple[str, Any]]:
    package = importlib.import_module(group)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("_"):
            name = f"{group}.{info.name}"
            yield name, lambda name=name: importlib.import_module(name)


@cache
def import_file(file: str, kind: str = "plugin") -> ModuleType:
    """Import a Python file under a name of its own, once.

    :param file: its path.
    :param kind: what the file holds, for messages.
    :raises UsageError: when the file does not exist, is no Python file or fails to import.
    """
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{kind} file {file} does not exist")
    name = f"mtlbench_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{kind} file {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look the module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may exit, for instance through argparse
        del sys.modules[name]
        raise UsageError(f"{kind} {file} failed to import: {said(error)}") from error
    return module
