"""The grammar of specs, ``name[parameter=value,...]``: how they are split, read and written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Annotated

import pydantic

from mtlbench.errors import UsageError


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
            raise UsageError(
                f"cannot read '{item}' in '{text}'; write parameter=value, commas and outer spaces in double quotes"
            )
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


def as_spec(name: str, written: Sequence[str]) -> str:
    """Put a spec together from a name and parameters as :meth:`mtlbench.contract.plugin.Plugin.written` returns them."""
    return f"{quoted(name)}[{','.join(written)}]" if written else quoted(name)


Names = Annotated[
    tuple[str, ...],
    pydantic.BeforeValidator(lambda value: split_list(value) if isinstance(value, str) else value),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""The type of a parameter that is a list of texts, with ``/`` between them on the command line."""
