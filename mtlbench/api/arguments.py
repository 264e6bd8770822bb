"""Turn the arguments of Python calls into the options of the command line, which the requests are made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError, shown, unknown
from mtlbench.recipe.suite import Recipe

PathName = str | os.PathLike[str]
Words = str | Iterable[str]
NOT_CHANGES = ("problem", "processes")
"""Fields of a recipe with an argument of another name or place: ``problem`` and ``processes_per_cell``."""


def path_of(name: str, value: Any) -> Path:
    """Return a path.

    :param name: of the argument, for the error message.
    :param value: what the user gave.
    :raises UsageError: when it is no path.
    """
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name}={shown(value)}: give a path, as text or as a pathlib.Path")
    return Path(value)


def data_folder(value: Any) -> Path | None:
    """Return the folder of data files, if one was given."""
    return None if value is None else path_of("data_dir", value)


def plugin_files(value: Any) -> tuple[str, ...]:
    """Return the paths of plugin files.

    :param value: one path, or several.
    :raises UsageError: when one is no path.
    """
    return tuple(str(file) for file in paths_of("plugin", value))


def paths_of(name: str, value: Any) -> list[Path]:
    """Return paths.

    :param name: of the argument, for the error message.
    :param value: one path, or several.
    :raises UsageError: when one is no path.
    """
    several = [value] if isinstance(value, str | os.PathLike) else _listed(name, value)
    return [path_of(name, path) for path in several]


def words_of(name: str, value: Any) -> str | None:
    """Return names or specs as the command line takes them, separated by commas; ``None`` stays ``None``.

    :param name: of the argument, for the error message.
    :param value: a text, or several names.
    :raises UsageError: when it is neither.
    """
    if value is None or isinstance(value, str):
        return value
    return ",".join(list_of(name, value))


def list_of(name: str, value: Any) -> list[str]:
    """Return a list of texts.

    :param name: of the argument, for the error message.
    :param value: several texts.
    :raises UsageError: when one is no text.
    """
    several = _listed(name, value)
    for word in several:
        if not isinstance(word, str):
            raise UsageError(f"{name}: {shown(word)} is no text; give names, such as ['sum', 'pcgrad']")
    return several


def seeds_of(value: Any) -> str | None:
    """Return seeds as the command line takes them: a number of seeds, or a list; ``None`` stays ``None``.

    :param value: a number, a text, or several numbers.
    :raises UsageError: when it is none of these.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    several = _listed("seeds", value)
    for seed in several:
        if not isinstance(seed, Integral) or isinstance(seed, bool):
            raise UsageError(f"seeds: {shown(seed)} is no whole number; give 5 for seeds 0 to 4, or a list: [0, 3, 7]")
    return "".join(f"{int(seed)}," for seed in several)


def check_whole(least: int = 1, **values: Any) -> None:
    """Check arguments that are whole numbers, or ``None``.

    :param least: the smallest number that is allowed.
    :param values: argument → value.
    :raises UsageError: for another value.
    """
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
            raise UsageError(f"{name}={shown(value)}: give a whole number, at least {least}")


def changes_of(call: Callable[..., Any], options: Mapping[str, Any], processes: Any = None) -> dict[str, Any]:
    """Return the fields of a suite's recipe that a call changes.

    :param call: the function that was called, whose own arguments are suggested for a name that is wrong.
    :param options: field → value; ``None`` stands for the suite's own value.
    :param processes: the argument ``processes_per_cell``.
    :raises UsageError: for a name that is no field of a recipe.
    """
    fields = [name for name in Recipe.model_fields if name not in NOT_CHANGES]
    own = [name for name, parameter in signature(call).parameters.items() if parameter.kind != parameter.VAR_KEYWORD]
    for name in options:
        if name not in fields:
            raise unknown(f"argument of mtlbench.{call.__name__}:", name, [*own, *fields])
    changes = {name: value for name, value in options.items() if value is not None}
    if "tasks" in changes:
        changes["tasks"] = words_of("tasks", changes["tasks"])
    return changes if processes is None else {**changes, "processes": processes}


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return list(value)
    raise UsageError(f"{name}={shown(value)}: give a text or a list")
