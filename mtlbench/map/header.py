"""The header of a study's file: what is in the table beside it, where it was trained, and with what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtlbench.host.safe_names import is_file_name, is_key
from mtlbench.map.cells import Column, Setting
from mtlbench.map.shards import Shard
from mtlbench.plan.cells import fingerprint

SCHEMA = 1
"""Version of the form of headers and tables."""


@dataclass(frozen=True)
class ShardEntry:
    """One shard: a row group of the table.

    :param settings: its settings.
    :param seeds: its seeds.
    :param columns: position of its columns in :attr:`Header.columns`.
    :param keys: hash of all that decides a setting's scores except the seed, for each setting.
    :param sha256: of its numbers, see :func:`mtlbench.map.table.digest`.
    :param seconds: where the time went: part of the work → seconds.
    :param started: time of the start, UTC.
    :param environment: position of its environment in :attr:`Header.environments`.
    """

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    columns: int
    keys: tuple[str, ...]
    sha256: str
    seconds: dict[str, float]
    started: str
    environment: int


@dataclass(frozen=True)
class Header:
    """Everything about a study but its numbers.

    :param preset: name of the preset.
    :param study: name of the study.
    :param title: for headings.
    :param knobs: the fields of a setting that differ between its cells.
    :param columns: the lists of columns that shards refer to.
    :param methods: spec → name, parameters and fingerprint of the code, as in records of cells.
    :param environments: versions, state of the source and machine, as in records of cells.
    :param shards: the row groups of the table, in their order.
    :param file: name, size and SHA-256 of the table.
    """

    preset: str
    study: str
    title: str
    knobs: tuple[str, ...]
    columns: tuple[tuple[Column, ...], ...]
    methods: dict[str, dict[str, Any]]
    environments: tuple[dict[str, Any], ...]
    shards: tuple[ShardEntry, ...]
    file: dict[str, Any] = field(default_factory=dict)

    def shard(self, entry: ShardEntry) -> Shard:
        """Return the shard that an entry is of."""
        return Shard(entry.settings, entry.seeds, self.columns[entry.columns])

    def dump(self) -> bytes:
        """Return the content of the header's file."""
        data: dict[str, Any] = {"schema": SCHEMA, **_FORM.dump_python(self, mode="json")}
        data["checksum"] = fingerprint(data)
        return json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"


_FORM: TypeAdapter[Header] = TypeAdapter(Header)


def read_header(content: bytes) -> Header:
    """Parse and check the content of a header's file, which may come from anywhere.

    :param content: of the file.
    :raises ValueError: when it is not a header, has changed since it was written, or names a file elsewhere.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("not JSON: cut off or overwritten") from None
    if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
        raise ValueError(f"not the header of a map; this mtlbench reads schema {SCHEMA}")
    checksum = data.pop("checksum", None)
    if checksum != fingerprint({"schema": SCHEMA, **data}):
        raise ValueError("its checksum does not fit: changed since it was written")
    try:
        header = _FORM.validate_python(data)
        _check(header)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"not the form of a header: {where} {first['msg']}") from None
    except (LookupError, TypeError) as error:
        raise ValueError(f"not the form of a header: {error}") from None
    return header


def _check(header: Header) -> None:
    """Check what types cannot say.

    :raises ValueError: when a shard refers to what is not there, or text would do more than be shown.
    """
    if not is_file_name(header.file["name"]) or not is_key(header.study):
        raise ValueError("not the form of a header: it names a file elsewhere")
    if not all(text.isprintable() for text in _texts(asdict(header))):
        raise ValueError("not the form of a header: its text does not print")
    for entry in header.shards:
        header.environments[entry.environment]
        shapes = {setting.shape for setting in entry.settings}
        if len(shapes) != 1 or len(entry.keys) != len(entry.settings) or not entry.seeds:
            raise ValueError("not the form of a header: a shard whose parts do not go together")
        tasks = entry.settings[0].tasks
        for column in header.shard(entry).columns:
            if len(column.weights or range(tasks)) != tasks or not 0 <= (column.single or 0) < tasks:
                raise ValueError("not the form of a header: a column of other tasks")


def _texts(value: Any) -> list[str]:
    """Return every text in nested data."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list | tuple) else []
