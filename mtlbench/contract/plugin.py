"""Base class of methods, tasks and encoders: a name, and dataclass fields as parameters.

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
from pydantic.fields import FieldInfo

from mtlbench.contract.numerals import check_plain
from mtlbench.contract.spec import as_spec, quoted
from mtlbench.errors import UsageError, one_line, said, shown, unknown


@dataclasses.dataclass
class Plugin:
    """Base of all plugins that users name on the command line.

    Fields with ``init=True`` are parameters; the constructor validates them.
    """

    kind: ClassVar[str]
    """The kind of plugin in messages: "method", "task" or "encoder"."""
    name: ClassVar[str]
    """The name on the command line: lower case, digits, ``-`` and ``_``."""

    def __post_init__(self) -> None:
        for field in parameter_fields(type(self)):
            setattr(self, field.name, _checked(type(self), field.name, getattr(self, field.name)))

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter with its value, defaults included, as it counts in a cell's key.

        A parameter that all plugins of a kind have is left out at its default, so that cells from before it was
        introduced stay done.
        """
        values = {field.name: getattr(self, field.name) for field in parameter_fields(type(self))}
        common = {field.name: field.default for field in parameter_fields(type(self)) if is_common(field)}
        return {name: value for name, value in values.items() if name not in common or value != common[name]}

    @property
    def spec(self) -> str:
        """The shortest text that describes this object, such as ``cagrad[c=0.4]``."""
        return as_spec(self.name, self.written(parameter_fields(type(self))))

    def written(self, fields: Iterable[dataclasses.Field[Any]]) -> list[str]:
        """Return the parameters that differ from their defaults, each as in a spec: ``c=0.4``.

        :param fields: the parameters to consider.
        """
        special = ",/|" if self.kind == "method" else ","  # a method's spec may hold lists of values
        values = {field.name: getattr(self, field.name) for field in fields}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return [f"{name}={_text(value, special)}" for name, value in values.items() if value != defaults[name]]

    @classmethod
    def make(cls, parameters: dict[str, Any]) -> Self:
        """Create a plugin from parameters by name.

        :param parameters: values of parameters, as text or as Python values.
        :raises UsageError: for a parameter that does not exist, is missing, is out of its range, or has a value that
            records cannot hold; and when the constructor fails.
        """
        fields = {field.name: field for field in parameter_fields(cls)}
        for name in parameters:
            if name not in fields:
                raise unknown(f"parameter of {cls.kind} {cls.name}:", name, fields)
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in parameters:
                raise UsageError(f"{cls.kind} {cls.name} needs {name}: write {cls.name}[{name}=...]")
        try:
            plugin = cls(**parameters)
        except UsageError:
            raise
        except Exception as error:  # a plugin may raise anything
            raise UsageError(f"{cls.kind} {cls.name} cannot be created: {said(error)}") from error
        for name, value in plugin.parameters.items():
            if not _is_plain(value) or (fields[name].default is dataclasses.MISSING and not _fits_in_spec(value)):
                raise UsageError(
                    f"{cls.kind} {cls.name}: specs and records cannot hold parameter {name}={shown(value)}; declare it "
                    "as a text, a number or a bool"
                )
        return plugin

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the class's own docstring."""
        return (inspect.getdoc(cls) or "").split("\n", 1)[0] if "__doc__" in vars(cls) else ""


COMMON = {"common": True}
"""Metadata of a parameter that all plugins of a kind have: documented once, not with every plugin."""


def is_common(field: dataclasses.Field[Any]) -> bool:
    """Return whether all plugins of a kind have this parameter."""
    return field.metadata.get("common", False)


def parameter_fields(cls: type[Plugin]) -> list[dataclasses.Field[Any]]:
    """Return the dataclass fields that are parameters, the plugin's own first; the other fields are state."""
    return sorted((field for field in dataclasses.fields(cls) if field.init), key=is_common)


def describe_parameters(cls: type[Plugin]) -> list[dict[str, Any]]:
    """Return name, type, range, default and description of each of the plugin's own parameters, as plain data.

    :param cls: the class of a plugin.
    :raises UsageError: for a parameter whose type has no JSON schema.
    """
    descriptions = []
    for field in parameter_fields(cls):
        if is_common(field):
            continue
        try:
            schema = _adapter(cls, field.name).json_schema()
        except Exception as error:  # an annotation may be anything
            raise UsageError(
                f"{cls.kind} {cls.name}: parameter {field.name} has no usable type: {said(error)}"
            ) from error
        descriptions.append(
            {
                "name": field.name,
                "default": _plain_default(field.default),
                "required": field.default is dataclasses.MISSING,
                "description": _description(cls, field.name),
                "schema": {name: value for name, value in schema.items() if name != "description"},
            }
        )
    return descriptions


def _description(cls: type[Plugin], parameter: str) -> str:
    """Return the description in a parameter's annotation; a type's own schema may leave it out."""
    notes = getattr(get_type_hints(cls, include_extras=True)[parameter], "__metadata__", ())
    described = [note.description for note in notes if isinstance(note, FieldInfo) and note.description]
    return described[-1] if described else ""


FINITE = pydantic.ConfigDict(allow_inf_nan=False)
"""Parameters are finite: keys and records are JSON, which has no infinity or NaN, and no formula needs them."""


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
        raise UsageError(f"{cls.kind} {cls.name}: parameter {parameter}={_written(value)} should be {reason}") from None
    try:
        check_plain(value, read)
    except ValueError as error:
        raise UsageError(f"{cls.kind} {cls.name}: parameter {parameter}={_written(value)} {error}") from None
    return read


def _written(value: Any) -> str:
    """Return a value as a user writes it, for a message."""
    return one_line(value, 60) if isinstance(value, str) else shown(value)


def _text(value: Any, special: str) -> str:
    """Format a value so that a spec with it reads back unchanged: ``true`` in lower case, lists with ``/``."""
    if isinstance(value, tuple):
        return "/".join(quoted(piece, special + "/") for piece in value)
    return str(value).lower() if isinstance(value, bool) else quoted(str(value), special)


def _plain_default(default: Any) -> Any:
    if default is dataclasses.MISSING:
        return None
    return default if _is_plain(default) else str(default)


def _fits_in_spec(value: Any) -> bool:
    """Return whether a spec can hold a value: a scalar or a list of texts."""
    texts = isinstance(value, tuple) and all(isinstance(piece, str) for piece in value)
    return texts or value is None or isinstance(value, str | int | float)


def _is_plain(value: Any) -> bool:
    """Return whether JSON can hold a value."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
