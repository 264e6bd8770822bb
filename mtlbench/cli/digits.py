"""Accept only plain digits as numbers: Python and click also parse ``1_0`` and, in part, the digits of any script."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from mtlbench.cli.app import app
from mtlbench.contract.numerals import is_plain
from mtlbench.errors import UsageError


def number_options(command: Callable[..., Any]) -> dict[str, str | None]:
    """Return a command's numeric parameters.

    :returns: parameter name → name of the environment variable that may set it, or ``None``.
    """
    variables = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        kind, *details = get_args(hint) or (hint,)
        if {int, float} & {kind, *get_args(kind)}:
            variables[name] = next((detail.envvar for detail in details if hasattr(detail, "envvar")), None)
    return variables


def check_numbers(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Check that all numbers of a command line and its environment are plain digits; other values are left to typer.

    :param arguments: the command line, without the program's name.
    :raises UsageError: for a number that is not written in plain digits.
    """
    for info in app.registered_commands:
        if info.callback is None or (info.name or info.callback.__name__.replace("_", "-")) not in arguments[:1]:
            continue
        for name, variable in number_options(info.callback).items():
            flag = f"--{name.replace('_', '-')}"
            values = [value for option, value in pairwise(arguments) if option == flag]
            values += [option.removeprefix(f"{flag}=") for option in arguments if option.startswith(f"{flag}=")]
            check_number(flag, *values)
            if variable and not values:
                check_number(variable, environment.get(variable, ""))


def check_number(option: str, *values: Any) -> None:
    """Check the values of one numeric option.

    :param option: its name, for the error message.
    :raises UsageError: for a value that is not written in plain digits.
    """
    for value in values:
        if isinstance(value, str) and not is_plain(value):
            raise UsageError(f"{option} {value}: write a number in plain digits")
