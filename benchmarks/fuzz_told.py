"""How a user is told of broken input: by one line, and an exit code of 0, 1 or 2."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from unittest import mock

from mtlbench import cli
from mtlbench.host.safe_names import visible


class NotOneLine(Exception):
    """A user was told in some other way."""


def call(*arguments: str) -> int:
    """Run a command and return its exit code."""
    told, code = io.StringIO(), 0
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(told),
        mock.patch.object(sys, "argv", ["mtlbench", *arguments]),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    # before the line there may be others, of what was left out on the way
    if code not in (0, 1, 2) or (code == 2 and not re.fullmatch(r"(left out: .+\n)*mtlbench: .+\n", told.getvalue())):
        raise NotOneLine(f"exit code {code}: {told.getvalue()!r}")
    return code


def refused(line: object) -> bool:
    """Return ``False``, once it is known that a refusal is one line."""
    if "\n" in visible(str(line)) or not str(line):
        raise NotOneLine(repr(line))
    return False
