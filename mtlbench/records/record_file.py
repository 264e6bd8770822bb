"""Reading a record and what lies beside it. Nothing of it is believed before it is checked, and nothing is executed.

A results folder may come from anywhere: by mail, from a shared disk, out of a torn archive. So a record counts only if
its checksum fits and it has the form that every reader relies on; a side file only if it lies beside its record and has
the recorded hash.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtlbench.host.safe_names import is_file_name, visible
from mtlbench.plan.cells import SEEDS_END, fingerprint
from mtlbench.records.history_form import check_row
from mtlbench.records.record import SCHEMA, Record

Name = Annotated[str, Field(min_length=1)]


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things, which tables of 64 bits hold."""


class _Part(BaseModel):
    """An object with at least these fields."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Method(_Part):
    spec: Name
    name: Name
    joint: bool
    reads: Name


class _Floor(_Part):
    name: str
    value: float | None


class _Task(_Part):
    spec: Name
    prediction: Name
    train: Count
    dev: Count
    metrics: Annotated[list[Name], Field(min_length=1)]
    floors: dict[str, list[_Floor]]
    corpus: str | None = None
    fingerprint: str = ""


class _Encoder(_Part):
    spec: str = ""
    name: str = ""
    tuned_on: list[str] = []


class _Recipe(_Part):
    tasks: Annotated[list[Name], Field(min_length=1)]
    steps: Annotated[Count, Field(ge=1)]


class _Pairing(_Part):
    shared: str | None = None
    heads: dict[str, str] = {}
    schedule: dict[str, str] = {}
    dropout: dict[str, str] = {}


class _Cost(_Part):
    seconds_per_step: float | None
    peak_memory_bytes: Count | None


class _Conflict(_Part):
    share: float
    mean_cosine: float


class _Environment(_Part):
    versions: dict[str, str | None] = {}
    machine: dict[str, Any] = {}


class _Error(_Part):
    type: str
    message: str
    step: Count | None = None
    task: str | None = None


class _File(_Part):
    name: str
    bytes: Count
    sha256: str


class _Form(_Part):
    """What all readers rely on; docs/records.md has every field."""

    key: Name
    group: Name
    status: Literal["done", "failed"]
    suite: Name
    seed: Annotated[int, Field(ge=0, lt=SEEDS_END)]
    method: _Method
    recipe: _Recipe
    tasks: Annotated[dict[Name, _Task], Field(min_length=1)]
    encoder: _Encoder
    cut: dict[str, dict[str, Count]] | None = None
    seen: dict[str, Count] | None = None
    floored: dict[str, Count] | None = None
    test_scores: dict[str, dict[str, float | None]] | None = None
    pairing: _Pairing | None
    scores: dict[str, dict[str, float | None]]
    cost: _Cost
    conflict: _Conflict | None
    environment: _Environment
    started: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
    seconds: float | None
    error: _Error | None
    files: dict[str, _File]

    @model_validator(mode="after")
    def _consistent(self) -> _Form:
        if not all(task.spec in self.recipe.tasks for task in self.tasks.values()):
            raise ValueError("a task is not one of the recipe's")
        for task, scores in [*self.scores.items(), *(self.test_scores or {}).items()]:
            if task not in self.tasks or set(scores) != set(self.tasks[task].metrics):
                raise ValueError(f"its scores of {task} are not those of the task's metrics")
        for file in self.files.values():
            if not is_file_name(file.name):
                raise ValueError(f"side file {file.name} would lie elsewhere")
        return self


def verified(content: bytes) -> Record:
    """Parse a record. Characters in it that do not print, such as escape sequences, are written out.

    :raises ValueError: when it is not JSON, of another schema, of another form, or changed since it was written.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("not JSON: cut off or overwritten") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else None
        raise ValueError(f"record schema {found}; this mtlbench reads schema {SCHEMA}")
    checksum = record.get("checksum")
    if checksum != fingerprint({name: value for name, value in record.items() if name != "checksum"}):
        raise ValueError("its checksum does not fit: changed since it was written")
    try:
        _Form.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
        raise ValueError(f"not the form of a record: {where} {reason}".replace("  ", " ")) from None
    return _visible(record) if b"\\" in content or not content.isascii() else record


def _visible(value: Any) -> Any:
    """Return JSON data with every string made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _visible(one) for key, one in value.items()}
    return [_visible(one) for one in value] if isinstance(value, list) else value


def read_record(path: Path) -> Record:
    """Read one record.

    :raises OSError: when it cannot be read.
    :raises ValueError: as :func:`verified` and :func:`find_side_files`.
    """
    record = verified(path.read_bytes())
    find_side_files(record, path)
    return record


def side_files_at(path: Path) -> set[str]:
    """Return the names of the side files of the record that lies at a path: none where there is no whole record."""
    try:
        return {entry["name"] for entry in verified(path.read_bytes())["files"].values()}
    except (OSError, ValueError):
        return set()


def find_side_files(record: Record, path: Path) -> None:
    """Say in a record where it lies, once its side files are found beside it. A link is none.

    :raises ValueError: when one is missing or cut off.
    """
    for what, entry in record["files"].items():
        try:
            found = (path.parent / entry["name"]).lstat()
        except OSError:
            found = None
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != entry["bytes"]:
            raise ValueError(f"its {what} file {entry['name']} is missing or cut off")
    record["path"] = str(path)


def read_side_file(record: Record, what: str) -> bytes:
    """Return the content of a side file, such as ``"history"``, once its hash is the recorded one.

    :raises OSError: when it cannot be read.
    :raises ValueError: when the record has none, or it changed since it was written.
    """
    entry = record["files"].get(what)
    if entry is None:
        raise ValueError(f"it has no {what}")
    content = (Path(record["path"]).parent / entry["name"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError(f"its {what} file {entry['name']} changed since it was written")
    return content


def read_history(record: Record) -> Iterator[dict[str, Any]]:
    """Yield a record's history, one object per step or evaluation.

    :raises OSError: when it cannot be read.
    :raises ValueError: as :func:`read_side_file`, and when a line is not JSON, or not of the form of a row.
    """
    for line in read_side_file(record, "history").decode().splitlines():
        try:
            row = json.loads(line)
        except RecursionError:
            raise ValueError("its history is nested too deeply") from None
        row = _visible(row) if "\\" in line or not line.isascii() else row
        check_row(row, record["tasks"])
        yield row
