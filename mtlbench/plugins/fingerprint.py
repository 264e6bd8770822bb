"""Fingerprint the code of a plugin that decides its results, so that cells run again when a method is edited.

Moving a file, rewording a docstring or renaming a local variable changes no result, and therefore no fingerprint.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from mtlbench.contract.plugin import Plugin
from mtlbench.contract.wrapper import Wrapper

PLUGIN_PACKAGES = ("mtlbench.methods.", "mtlbench.problems.", "mtlbench.tasks.")
"""Modules that count in the fingerprint of a file that imports them: a method may build on another one."""
DECLARATIONS = {"search", "source"}
"""Class attributes that change no result: the search space of ``mtlbench tune``, and the paper."""
RECIPE = "recipe"
"""A problem's default recipe, which counts in keys as a recipe, where nothing else in the file reads it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Node = TypeVar("Node", bound=ast.AST)


def source_fingerprint(cls: type[Plugin]) -> str:
    """Return the SHA-256 of the code that defines a plugin.

    It covers the syntax tree of the plugin's file, without comments, layout, docstrings, descriptions of parameters,
    citations, error messages, annotations of functions, names of local variables, search spaces, and the modules of
    ``mtlbench`` from which names are imported: these change no result. It also covers packaged methods and tasks that
    the file imports; for a wrapped method, the code of both parts.

    :param cls: the class of a method or a task. Its file is read once, since a loaded class does not change.
    :returns: 64 hexadecimal digits.
    """
    return _of_class(cls)  # type: ignore[arg-type]  # classes are hashable, even if their objects are not


@cache
def _of_class(cls: Any) -> str:
    if issubclass(cls, Wrapper) and cls.parts:
        return hashlib.sha256("".join(_of_class(part) for part in cls.parts).encode()).hexdigest()
    return of_code(Path(inspect.getfile(cls)).read_bytes())


def of_code(code: str | bytes) -> str:
    """Return the fingerprint of the text of a plugin file.

    :param code: the text, or the file's bytes, whose byte-order mark and declared encoding Python handles.
    """
    tree = ast.parse(code)
    parts = [json.dumps(_canonical(_Decisive(tree).visit(ast.parse(code))), sort_keys=True)]
    for module in _modules(tree):
        if module.startswith(PLUGIN_PACKAGES):
            file = inspect.getsourcefile(importlib.import_module(module))
            assert file is not None  # a packaged plugin is a Python file
            parts.append(of_code(Path(file).read_bytes()))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _modules(tree: ast.Module) -> list[str]:
    return [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]


class _Decisive(ast.NodeTransformer):
    """Reduce the tree of a file to the parts that may decide a result."""

    def __init__(self, tree: ast.Module) -> None:
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and _is_ours(node)]
        self._original = {name.asname or name.name: name.name for node in imports for name in node.names}
        self._declarations = DECLARATIONS if _reads(tree, RECIPE) else DECLARATIONS | {RECIPE}
        self._locals: dict[str, str] | None = None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if _is_ours(node) or node.module == "__future__" else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_docstring = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_docstring else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [statement for statement in node.body if not _is_declaration(statement, self._declarations)]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Keep the type of an error without its message: a cell that raises it has no result."""
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return self.generic_visit(ast.Raise(exc=error, cause=None))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._function(node)

    def _function(self, node: Function) -> ast.AST:
        """Replace the local variables of an outermost function by numbers, in order of appearance."""
        outermost = self._locals is None
        if outermost:
            self._locals = {name: f"§{number}" for number, name in enumerate(dict.fromkeys(_bound(node)))}
        elif not isinstance(node, ast.Lambda):
            node.name = self._renamed(node.name)
        if not isinstance(node, ast.Lambda):
            node.returns = None
        try:
            return self.generic_visit(node)
        finally:
            if outermost:
                self._locals = None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self._locals is not None:  # in a class, an annotation declares a parameter
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(arg=self._renamed(node.arg), annotation=None)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._renamed(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(id=self._renamed(node.id), ctx=node.ctx)

    def _renamed(self, name: str) -> str:
        return (self._locals or {}).get(name) or self._original.get(name, name)


def _is_ours(node: ast.ImportFrom) -> bool:
    module = node.module or ""
    return module == "mtlbench" or (module.startswith("mtlbench.") and not module.startswith(PLUGIN_PACKAGES))


def _reads(tree: ast.Module, name: str) -> bool:
    """Return whether code reads a name or an attribute of it, or writes it as a text, as for ``getattr``."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.Constant) and node.value == name)
        for node in ast.walk(tree)
    )


def _is_declaration(statement: ast.stmt, names: Iterable[str]) -> bool:
    assigns = isinstance(statement, ast.Assign)
    targets: Iterable[ast.AST] = statement.targets if assigns else [getattr(statement, "target", statement)]  # type: ignore[attr-defined]
    return any(isinstance(target, ast.Name) and target.id in names for target in targets)


def _bound(function: Function) -> Iterator[str]:
    """Yield the names that a function and its nested functions bind, except those declared global or nonlocal."""
    free = {name for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            name: str | None = node.arg
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            name = node.id
        elif isinstance(node, ast.ExceptHandler) or (isinstance(node, ast.FunctionDef) and node is not function):
            name = node.name
        else:
            continue
        if name is not None and name not in free:
            yield name


def _canonical(value: object) -> object:
    """Return a tree as plain data, without empty fields, in which versions of Python differ."""
    if isinstance(value, ast.AST):
        fields = {name: _canonical(part) for name, part in ast.iter_fields(value) if part not in (None, [])}
        return [type(value).__name__, fields]
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    return repr(value)
