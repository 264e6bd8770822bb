"""Docstrings for the site: roles become code, examples and indented formulas become blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|attr|data|mod|exc):`~?([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Rewrite one docstring.

        :param obj: the object that it belongs to.
        """
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """Return a docstring in Markdown.

    :param text: in the style of this project: roles, ``>>>`` examples, ``::`` before indented formulas.
    """
    lines, result, fence = ROLE.sub(r"`\1`", text).splitlines(), list[str](), ""
    for number, line in enumerate(lines):
        if fence == "example" and not line.strip():
            result, fence = [*result, "```"], ""
        if fence == "formula" and line.strip() and not line.startswith("    "):
            result, fence = [*result, "```", ""], ""
        if not fence and line.startswith(">>> "):
            result, fence = [*result, "```python"], "example"
        if not fence and line.startswith("    ") and number and _before(lines, number).endswith("::"):
            result, fence = [*result, "```text"], "formula"
        result.append(line.removeprefix("    ") if fence == "formula" else line)
    result = [re.sub(r"::$", ":", line) if not line.startswith(">>>") else line for line in result]
    return "\n".join([*result, "```"] if fence else result)


def _before(lines: list[str], number: int) -> str:
    """Return the last line before another one that is not empty."""
    return next((line for line in reversed(lines[:number]) if line.strip()), "")
