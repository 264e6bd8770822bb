"""What methods, tasks and encoders have in common: a name, and dataclass fields that are its parameters.

A parameter is declared once, as a field: its annotation gives the type and the range, its default the paper's
value, its description the documentation. The command line (``cagrad[c=0.4]``), ``mtlbench info``, the record and
the cell's key all read that one declaration.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from typing import Any, ClassVar, Self, get_type_hints

import pydantic

from mtlbench.errors import UsageError, unknown


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
        changed = [
            f"{field.name}={_text(getattr(self, field.name))}"
            for field in parameter_fields(type(self))
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}[{','.join(changed)}]" if changed else self.name

    @classmethod
    def make(cls, parameters: dict[str, Any]) -> Self:
        """Make one from parameters by name.

        :raises UsageError: for a parameter that does not exist, is missing, or is out of its range.
        """
        fields = {field.name: field for field in parameter_fields(cls)}
        for given in parameters:
            if given not in fields:
                raise unknown(f"parameter of {cls.kind} {cls.name}:", given, fields)
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in parameters:
                raise UsageError(f"{cls.kind} {cls.name} needs {name}: write {cls.name}[{name}=...]")
        return cls(**parameters)

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
    """Return name, type, range, default and description of every parameter of a plugin's own, as plain data."""
    described = []
    for field in parameter_fields(cls):
        if is_common(field):
            continue
        schema = _adapter(cls, field.name).json_schema()
        described.append(
            {
                "name": field.name,
                "default": None if field.default is dataclasses.MISSING else field.default,
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
        return _adapter(cls, parameter).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise UsageError(f"{cls.kind} {cls.name}: parameter {parameter}={value} should be {reason}") from None


def _text(value: Any) -> str:
    """Write a value so that a spec reads back the same: 0.1 in full, true and false in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_SPEC = re.compile(r"(?P<name>[^\[\]]+?)(\[(?P<body>[^\[\]]*)\])?")


def split_specs(text: str) -> list[str]:
    """Split ``"sum, cagrad[c=0.4,rescale=c2] mgda"`` at the commas and spaces outside brackets."""
    return [part for part in re.split(r"[,\s]+(?![^\[]*\])", text.strip()) if part]


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Read ``name[parameter=value,...]`` into a name and its parameters, all still text.

    :raises UsageError: when the brackets or an equals sign are missing.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read '{text}'; write NAME or NAME[parameter=value,...]")
    parameters: dict[str, str] = {}
    for item in filter(None, (match["body"] or "").split(",")):
        parameter, equals, value = (piece.strip() for piece in item.partition("="))
        if not (equals and parameter and value):
            raise UsageError(f"cannot read '{item}' in '{text}'; write parameter=value")
        if parameter in parameters:
            raise UsageError(f"parameter {parameter} is given twice in '{text}'")
        parameters[parameter] = value
    return match["name"].strip(), parameters


def expand_spec(text: str) -> list[tuple[str, dict[str, str]]]:
    """Read a spec whose values may be lists: ``cagrad[c=0.2/0.4]`` gives two.

    ``/`` separates the values because no shell gives it a meaning inside a word and completion does not break
    words at it; ``|`` is read too, for those who quote.
    """
    name, parameters = parse_spec(text)
    values = [[piece.strip() for piece in re.split(r"[|/]", value)] for value in parameters.values()]
    return [(name, dict(zip(parameters, choice, strict=True))) for choice in itertools.product(*values)]
