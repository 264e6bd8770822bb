"""Read command-line options from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtlbench.errors import UsageError, unknown


def read_config(file: Path, options: Iterable[str]) -> dict[str, Any]:
    """Return the options that a TOML file sets, by parameter name.

    Lists are joined by commas, as on the command line; the list of plugin files stays a list.

    :param file: TOML; its keys are names of options, written with ``-`` or ``_``.
    :param options: the parameter names that are allowed.
    :raises UsageError: if the file is missing or not TOML, or a key is not an option.
    """
    known = set(options)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read config {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"config {file} is not TOML: {error}") from None
    values = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            raise unknown(f"key in config {file.name}:", key, (option.replace("_", "-") for option in known))
        joined = isinstance(value, list) and name != "plugin"
        values[name] = ",".join(str(item) for item in value) if joined else value
    return values
