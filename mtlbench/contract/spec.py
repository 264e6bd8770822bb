"""Split, parse and format specs: ``name[parameter=value,...]``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Annotated

import pydantic

from mtlbench.errors import UsageError


class Quoted(str):
    """A text that was written in quotes, without them. It is never split, whatever it holds."""


_MARKS = r'"(?:[^"]|"")*+"'
"""A quoted piece. A double quote inside it is doubled."""
_PIECE = rf"(?:(?:^|(?<=[=/|]))\s*{_MARKS}(?=\s*(?:[,/|\]]|$)))"
"""A quoted piece of a value. A quote that stands elsewhere, or does not end its piece, is a plain character."""
_BODY = rf"(?:{_PIECE}|[^\[\]])*+"
_NAME = rf"(?:(?:^|(?<=[,\s])){_MARKS}(?=[\[,\s]|$))"
_SPEC = re.compile(rf"(?P<name>{_NAME}|[^\[\]]+?)(\[(?P<body>{_BODY})\])?")
_SPECS = re.compile(rf"(?:{_NAME}|\[{_BODY}\]|[^,\s])++")


def split_specs(text: str) -> list[str]:
    """Split a list of specs at the commas and spaces outside brackets and quotes.

    :param text: such as ``"sum, cagrad[c=0.4,rescale=c2] mgda"``.
    """
    return _SPECS.findall(text.strip())


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Parse a spec into a name and its parameters, all still text.

    A value in double quotes may hold anything: ``table[label="Rating [1-5]",...]``. So may each piece of a list:
    ``classes=good/"n/a"``. A double quote inside quotes is doubled.

    :param text: ``name[parameter=value,...]``.
    :raises UsageError: when a bracket or an equals sign is missing, or a parameter is given twice.
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
            raise UsageError(
                f"cannot read '{item}' in '{text}'; write parameter=value, commas and outer spaces in double quotes"
            )
        if parameter in parameters:
            raise UsageError(f"parameter {parameter} is given twice in '{text}'")
        parameters[parameter] = _unquoted(value)
    return str(_unquoted(match["name"].strip())), parameters


def expand_spec(text: str) -> list[tuple[str, dict[str, str]]]:
    """Parse a spec whose values may be lists into one name and parameters per combination.

    ``/`` separates the values because no shell gives it a meaning inside a word and completion does not break
    words at it; ``|`` also works, in a quoted argument. In double quotes, both are plain characters.

    :param text: such as ``cagrad[c=0.2/0.4]``, which stands for two methods.
    :raises UsageError: as :func:`parse_spec`.
    """
    name, parameters = parse_spec(text)
    values = [split_list(value, "/|") for value in parameters.values()]
    return [(name, dict(zip(parameters, choice, strict=True))) for choice in itertools.product(*values)]


def split_list(value: str, separators: str = "/") -> tuple[str, ...]:
    """Split a value of a spec into its pieces, without their quotes.

    :param value: the value; if it was quoted as a whole, it is one piece.
    :param separators: the characters at which to split.
    """
    return (value,) if isinstance(value, Quoted) else tuple(map(_unquoted, _split(value, separators)))


def quoted(text: str, special: str = "") -> str:
    """Return a text as it is written in a spec: in quotes where it would otherwise not read back unchanged.

    :param text: the text.
    :param special: characters with a meaning at this place, besides the brackets.
    """
    plain = text and text == text.strip() and not re.search(rf'(^|[=/|])\s*"|[\[\]{re.escape(special)}]', text)
    return text if plain else '"' + text.replace('"', '""') + '"'


def _unquoted(piece: str) -> str:
    piece = piece.strip()
    return Quoted(piece[1:-1].replace('""', '"')) if re.fullmatch(_MARKS, piece) else piece


def _split(text: str, separators: str) -> list[str]:
    """Split at the separators outside quotes."""
    pieces, start = [], 0
    pattern = re.compile(rf"(?:{_PIECE}|[^{re.escape(separators)}])*+")
    while match := pattern.match(text, start):
        pieces.append(match[0])
        start = match.end() + 1
        if match.end() == len(text):
            break
    return pieces


def as_spec(name: str, written: Sequence[str]) -> str:
    """Return a spec.

    :param name: the name of a plugin.
    :param written: its parameters from :meth:`mtlbench.contract.plugin.Plugin.written`.
    """
    return f"{quoted(name)}[{','.join(written)}]" if written else quoted(name)


Names = Annotated[
    tuple[str, ...],
    pydantic.BeforeValidator(lambda value: split_list(value) if isinstance(value, str) else value),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""The type of a parameter that holds a list of texts, separated by ``/`` on the command line."""
