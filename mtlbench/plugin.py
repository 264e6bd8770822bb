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
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Self, get_type_hints

import pydantic

from mtlbench.errors import UsageError, unknown
from mtlbench.numerals import check_plain


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


def as_spec(name: str, written: Sequence[str]) -> str:
    """Put a spec together from a name and parameters as :meth:`Plugin.written` returns them."""
    return f"{quoted(name)}[{','.join(written)}]" if written else quoted(name)


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


def _adapter(cls: type[Plugin], parameter: str) -> pydantic.TypeAdapter[Any]:
    if (cls, parameter) not in _ADAPTERS:
        hints = get_type_hints(cls, include_extras=True)
        _ADAPTERS[cls, parameter] = pydantic.TypeAdapter(hints[parameter])
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


class Quoted(str):
    """A text that stood in quotes, without them: it is one, whatever is in it."""


_MARKS = r'"(?:[^"]|"")*+"'
"""A quoted piece. A double quote in it is doubled."""
_PIECE = rf"(?:(?:^|(?<=[=/|]))\s*{_MARKS}(?=\s*(?:[,/|\]]|$)))"
"""A quoted piece of a value. In any other place, and where it does not end its piece, a quote is a plain character."""
_BODY = rf"(?:{_PIECE}|[^\[\]])*+"
_NAME = rf"(?:(?:^|(?<=[,\s])){_MARKS}(?=[\[,\s]|$))"
_SPEC = re.compile(rf"(?P<name>{_NAME}|[^\[\]]+?)(\[(?P<body>{_BODY})\])?")
_SPECS = re.compile(rf"(?:{_NAME}|\[{_BODY}\]|[^,\s])++")


def split_specs(text: str) -> list[str]:
    """Split ``"sum, cagrad[c=0.4,rescale=c2] mgda"`` at the commas and spaces outside brackets and quotes."""
    return _SPECS.findall(text.strip())


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Read ``name[parameter=value,...]`` into a name and its parameters, all still text.

    A value in double quotes may hold anything: ``table[label="Rating [1-5]",...]``. So may each piece of a list:
    ``classes=good/"n/a"``. A double quote in quotes is doubled.

    :raises UsageError: when the brackets or an equals sign are missing.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"cannot read '{text}'; write NAME or NAME[parameter=value,...], and a value with brackets or commas in "
            "double quotes"
        )
    parameters: dict[str, str] = {}
    for item in filter(None, _split(match["body"] or "", ",")):
        parameter, equals, value = (piece.strip() for piece in item.partition("="))
        if not (equals and parameter and value):
            raise UsageError(f"cannot read '{item}' in '{text}'; write parameter=value, a comma in it in double quotes")
        if parameter in parameters:
            raise UsageError(f"parameter {parameter} is given twice in '{text}'")
        parameters[parameter] = _unquoted(value)
    return str(_unquoted(match["name"].strip())), parameters


def expand_spec(text: str) -> list[tuple[str, dict[str, str]]]:
    """Read a spec whose values may be lists: ``cagrad[c=0.2/0.4]`` gives two.

    ``/`` separates the values because no shell gives it a meaning inside a word and completion does not break
    words at it; ``|`` is read too, for those who quote. In double quotes, both are plain characters.
    """
    name, parameters = parse_spec(text)
    values = [split_list(value, "/|") for value in parameters.values()]
    return [(name, dict(zip(parameters, choice, strict=True))) for choice in itertools.product(*values)]


def split_list(value: str, separators: str = "/") -> tuple[str, ...]:
    """Split a value of a spec into its pieces, without their quotes. One that stood in quotes is one piece."""
    return (value,) if isinstance(value, Quoted) else tuple(map(_unquoted, _split(value, separators)))


def quoted(text: str, special: str = "") -> str:
    """Write a text into a spec: in quotes where it would not read back as it is.

    :param special: characters that have a meaning in its place, beside the brackets.
    """
    plain = text and text == text.strip() and not re.search(rf'(^|[=/|])\s*"|[\[\]{re.escape(special)}]', text)
    return text if plain else '"' + text.replace('"', '""') + '"'


def _unquoted(piece: str) -> str:
    piece = piece.strip()
    return Quoted(piece[1:-1].replace('""', '"')) if re.fullmatch(_MARKS, piece) else piece


def _split(text: str, separators: str) -> list[str]:
    """Split at any of some characters outside quotes."""
    pieces, start = [], 0
    pattern = re.compile(rf"(?:{_PIECE}|[^{re.escape(separators)}])*+")
    while match := pattern.match(text, start):
        pieces.append(match[0])
        start = match.end() + 1
        if match.end() == len(text):
            break
    return pieces


Names = Annotated[
    tuple[str, ...],
    pydantic.BeforeValidator(lambda value: split_list(value) if isinstance(value, str) else value),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""The type of a parameter that is a list of texts, with ``/`` between them on the command line."""
