"""Load foreign code: import a module or a file, find the name in it, and create objects with the given arguments."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError, closest, said, unknown
from mtlbench.plugins.registry import import_file

FORM = "write --foreign module:Class, file.py:function or module:Class[parameter=value,...]"


@dataclass(frozen=True)
class Foreign:
    """A class, function or object of someone else's code, and the arguments for its constructor.

    :param spec: how the user named it.
    :param target: the class, function or object.
    :param arguments: keyword arguments of the constructor; empty where there is nothing to construct.
    """

    spec: str
    target: Any
    arguments: Mapping[str, Any]

    def create(self, *positional: Any) -> Any:
        """Return a new object: an instance of the class, a copy of the object, or the function itself.

        :param positional: arguments of the constructor that come before the user's.
        :raises UsageError: when the constructor raises.
        """
        if not inspect.isclass(self.target):
            return self.target if inspect.isroutine(self.target) else copy.deepcopy(self.target)
        try:
            return self.target(*positional, **copy.deepcopy(dict(self.arguments)))
        except (Exception, SystemExit) as error:  # foreign code may raise anything
            hint = "; give its arguments as Class[parameter=value,...]" if isinstance(error, TypeError) else ""
            raise UsageError(f"{self.spec}: the constructor raised {said(error)}{hint}") from error


def load(spec: str) -> Foreign:
    """Load foreign code.

    The current folder counts as a place for modules, as with ``python -m``.

    :param spec: such as ``torchjd.aggregation:CAGrad[c=0.5]`` or ``pcgrad.py:PCGrad``.
    :raises UsageError: when the spec cannot be read, the module does not import, or the name or a parameter of the
        constructor does not exist.
    """
    place, written = parse_spec(_bracketed(spec))
    source, colon, name = place.rpartition(":")
    if not (colon and source and name):
        raise UsageError(f"cannot read '{spec}': {FORM}")
    target: Any = _imported(source)
    for part in name.split("."):
        if not hasattr(target, part):
            raise UsageError(f"{source} has no {name}; {_hint(target, part)}")
        target = getattr(target, part)
    if written and not inspect.isclass(target):
        raise UsageError(f"{place} is not a class, so it takes no parameters; leave out the brackets")
    return Foreign(spec, target, _arguments(target, written))


def _bracketed(spec: str) -> str:
    """Refuse ``Class(c=0.5)``, which people will write, with the form that is read."""
    if spec.rstrip().endswith(")") and "[" not in spec:
        raise UsageError(f"cannot read '{spec}': write the arguments in square brackets, as in Class[c=0.5]")
    return spec


def _imported(source: str) -> ModuleType:
    if source.endswith(".py"):
        return import_file(source, "foreign")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        missing = isinstance(error, ModuleNotFoundError) and error.name in (source, source.partition(".")[0])
        hint = "; install it, or start in the folder that holds it" if missing else ""
        raise UsageError(f"module {source} cannot be imported: {said(error)}{hint}") from error
    finally:
        sys.path.remove(folder)


def _hint(owner: Any, name: str) -> str:
    names = [key for key in dir(owner) if not key.startswith("_")]
    close = closest(name, names)
    return f"did you mean {' or '.join(close)}?" if close else "check its spelling"


def _arguments(target: Any, written: Mapping[str, str]) -> dict[str, Any]:
    """Return the constructor's arguments as Python values: numbers, booleans, None, lists; anything else is text."""
    if not written:
        return {}
    parameters = _parameters(target)
    free = parameters is None or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    arguments = {}
    for name, text in written.items():
        if not free and parameters is not None and name not in parameters:
            raise unknown(f"parameter of {target.__name__}:", name, parameters)
        annotation = parameters[name].annotation if parameters is not None and name in parameters else ""
        arguments[name] = _value(text, str(annotation))
    return arguments


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # classes of compiled code have no signature
        return None


def _value(text: str, annotation: str) -> Any:
    """Read one value; a list of numbers, ``1/2/3`` or ``"[1, 2, 3]"``, is a tensor if the annotation says so."""
    import torch

    if text in ("true", "false"):
        return text == "true"
    pieces = text.split("/")
    try:
        value: Any = [ast.literal_eval(piece.strip()) for piece in pieces] if pieces[1:] else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return str(text)
    if isinstance(value, list | tuple) and "Tensor" in annotation:
        return torch.tensor(value, dtype=torch.float64)
    return value
