"""What methods, tasks and encoders have in common: a name, and dataclass fields that are its parameters.

A parameter is declared once, as a field: its annotation gives the type and the range, its default the paper's
value, its description the documentation. The command line (``cagrad[c=0.4]``), ``mtlbench info``, the record and
the cell's key all read that one declaration.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Self, get_type_hints

import pydantic

from mtlbench.contract.numerals import check_plain
from mtlbench.contract.spec import as_spec, quoted
from mtlbench.contract.spec import expand_spec as expand_spec
from mtlbench.contract.spec import parse_spec as parse_spec
from mtlbench.contract.spec import split_specs as split_specs
from mtlbench.errors import UsageError, said, shown, unknown


@dataclasses.dataclass
class Plugin:
    """Base of everything that a user names on the command line.

    Fields with ``init=True`` are parameters and are checked when the object is made, whoever makes it.
    """

    kind: ClassVar[str]
    """What a user calls it: "method", "task", "encoder"."""
    name: ClassVar[str]
    """The name on the command line: lower case, digits, ``-`` and ``_``."""

    def __post_init__(self) -> None:
        for field in parameter_fields(type(self)):
            setattr(self, field.name, _checked(type(self), field.name, getattr(self, field.name)))

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter with its value, defaults included: what decides the result.

        One that all plugins of a kind have counts only where it is given: cells from before it was there stay done.
        """
        values = {field.name: getattr(self, field.name) for field in parameter_fields(type(self))}
        common = {field.name: field.default for field in parameter_fields(type(self)) if is_common(field)}
        return {name: value for name, value in values.items() if name not in common or value != common[name]}

    @property
    def spec(self) -> str:
        """The shortest text that makes this object again, such as ``cagrad[c=0.4]``."""
        return as_spec(self.name, self.written(parameter_fields(type(self))))

    def written(self, fields: Iterable[dataclasses.Field[Any]]) -> list[str]:
        """Return those of some parameters that differ from their defaults, each as a spec has it: ``c=0.4``."""
        special = ",/|" if self.kind == "method" else ","  # a method's spec may be a list of several
        values = {field.name: getattr(self, field.name) for field in fields}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return [f"{name}={_text(value, special)}" for name, value in values.items() if value != defaults[name]]

    @classmethod
    def make(cls, parameters: dict[str, Any]) -> Self:
        """Make one from parameters by name.

        :raises UsageError: for a parameter that does not exist, is missing, is out of its range, or has a value that
            no record can hold; and when the class cannot be made.
        """
        fields = {field.name: field for field in parameter_fields(cls)}
        for given in parameters:
            if given not in fields:
                raise unknown(f"parameter of {cls.kind} {cls.name}:", given, fields)
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in parameters:
                raise UsageError(f"{cls.kind} {cls.name} needs {name}: write {cls.name}[{name}=...]")
        try:
            made = cls(**parameters)
        except UsageError:
            raise
        except Exception as error:  # a plugin may fail in any way at all
            raise UsageError(f"{cls.kind} {cls.name} cannot be made: {said(error)}") from error
        for name, value in made.parameters.items():
            if not _is_plain(value) or (fields[name].default is dataclasses.MISSING and not _is_written(value)):
                raise UsageError(
                    f"{cls.kind} {cls.name}: parameter {name}={shown(value)} is of no type that a spec and a record "
                    "can hold; declare it as text, a number or a truth value"
                )
        return made

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's own documentation."""
        return (inspect.getdoc(cls) or "").split("\n", 1)[0] if "__doc__" in vars(cls) else ""


COMMON = {"common": True}
"""Metadata of a parameter that all plugins of a kind have: it is described once, not with every plugin."""


def is_common(field: dataclasses.Field[Any]) -> bool:
    """Whether all plugins of a kind have this parameter."""
    return field.metadata.get("common", False)


def parameter_fields(cls: type[Plugin]) -> list[dataclasses.Field[Any]]:
    """Return the dataclass fields that are parameters (the others are state), a plugin's own first."""
    return sorted((field for field in dataclasses.fields(cls) if field.init), key=is_common)


def describe_parameters(cls: type[Plugin]) -> list[dict[str, Any]]:
    """Return name, type, range, default and description of every parameter of a plugin's own, as plain data.

    :raises UsageError: for a parameter of a type that cannot be described.
    """
    described = []
    for field in parameter_fields(cls):
        if is_common(field):
            continue
        try:
            schema = _adapter(cls, field.name).json_schema()
        except Exception as error:  # an annotation may be anything
            told = f"{cls.kind} {cls.name}: parameter {field.name} has no usable type"
            raise UsageError(f"{told}: {said(error)}") from error
        described.append(
            {
                "name": field.name,
                "default": _described(field.default),
                "required": field.default is dataclasses.MISSING,
                "description": schema.pop("description", ""),
                "schema": schema,
            }
        )
    return described


FINITE = pydantic.ConfigDict(allow_inf_nan=False)
"""Parameters are finite numbers: keys and records are JSON, which has no others, and no formula has a use for them."""


def _adapter(cls: type[Plugin], parameter: str) -> pydantic.TypeAdapter[Any]:
    if (cls, parameter) not in _ADAPTERS:
        hints = get_type_hints(cls, include_extras=True)
        _ADAPTERS[cls, parameter] = pydantic.TypeAdapter(hints[parameter], config=FINITE)
    return _ADAPTERS[cls, parameter]


_ADAPTERS: dict[tuple[type[Plugin], str], pydantic.TypeAdapter[Any]] = {}


def _checked(cls: type[Plugin], parameter: str, value: Any) -> Any:
    try:
        read = _adapter(cls, parameter).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise UsageError(f"{cls.kind} {cls.name}: parameter {parameter}={value} should be {reason}") from None
    try:
        check_plain(value, read)
    except ValueError as fault:
        raise UsageError(f"{cls.kind} {cls.name}: parameter {parameter}={value} {fault}") from None
    return read


def _text(value: Any, special: str) -> str:
    """Write a value so that a spec reads back the same: 0.1 in full, true and false in lower case, lists by ``/``."""
    if isinstance(value, tuple):
        return "/".join(quoted(piece, special + "/") for piece in value)
    return str(value).lower() if isinstance(value, bool) else quoted(str(value), special)


def _described(default: Any) -> Any:
    if default is dataclasses.MISSING:
        return None
    return default if _is_plain(default) else str(default)


def _is_written(value: Any) -> bool:
    """Whether a spec can hold a value: a scalar, or texts with ``/`` between them."""
    texts = isinstance(value, tuple) and all(isinstance(piece, str) for piece in value)
    return texts or value is None or isinstance(value, str | int | float)


def _is_plain(value: Any) -> bool:
    """Whether a value is what JSON holds."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
