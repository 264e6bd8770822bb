"""``tuned.json``: what was tuned, how, every trial, and the best of each method.

``mtlbench run --methods @FILE`` reads it.
The file is made from the records alone, anew after every cell, and carries a checksum. docs/tune.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError
from mtlbench.host.disk import write_whole
from mtlbench.plan.cells import fingerprint
from mtlbench.plugins.registry import Registry

Side = Literal["low", "high"]
"""On which edge of what was searched an optimum lies."""
NAME = "tuned.json"
SCHEMA = 1
SELECTION = "mean over tasks of the primary metric on the development rows, mean over the tuning seeds"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrialEntry(_Entry):
    """One trial. ``values``: of what is tuned. ``keys``: of its cells' records, by seed."""

    number: int
    spec: str
    values: dict[str, bool | int | float | str]
    status: Literal["done", "failed", "open"]
    score: float | None
    scores: dict[str, float]
    reason: str
    keys: dict[int, str]


class StudyEntry(_Entry):
    """A method as the user wrote it, what was tuned of it, and its trials. ``best``: the number of a trial."""

    method: str
    space: dict[str, str]
    best: int | None
    edges: dict[str, Side]
    trials: Annotated[list[TrialEntry], Field(min_length=1)]

    @property
    def chosen(self) -> TrialEntry | None:
        """The best trial, if any is done."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(trial.status != "open" for trial in self.trials)

    @property
    def failed(self) -> list[TrialEntry]:
        """The trials that failed."""
        return [trial for trial in self.trials if trial.status == "failed"]


class Tuned(_Entry):
    """The file.

    :param group: what all cells share, as in their records.
    :param lr: the recipe's learning rate, which the first trial of every method has.
    :param steps: optimizer steps of a trial's cells: the best learning rate of few steps is not that of many.
    :param seeds: that the trials were trained with.
    :param trials: of every method.
    """

    suite: str
    group: str
    lr: float
    steps: int
    selection: str
    sampler: str
    tuning_seed: int
    seeds: list[int]
    trials: int
    studies: Annotated[list[StudyEntry], Field(min_length=1)]

    @property
    def complete(self) -> bool:
        """Whether all trials of all methods have ended."""
        return all(study.ended == self.trials for study in self.studies)


def write_tuned(tuned: Tuned, folder: Path) -> Path:
    """Write the file into a results folder.

    :raises UsageError: when it cannot be written.
    """
    content = {"schema": SCHEMA, **tuned.model_dump(mode="json")}
    text = json.dumps({**content, "checksum": fingerprint(content)}, indent=1, allow_nan=False)
    path = folder / NAME
    try:
        write_whole(path, text.encode() + b"\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    return path


def read_tuned(path: Path) -> Tuned:
    """Read the file.

    :raises UsageError: when it is missing, not such a file, or changed since it was written.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not a file of mtlbench tune: not JSON") from None
    if not isinstance(content, dict) or "checksum" not in content:
        raise UsageError(f"{path} is not a file of mtlbench tune: it has no checksum")
    if content.pop("checksum") != fingerprint(content):
        raise UsageError(f"{path}: its checksum does not fit: changed since it was written; run mtlbench tune again")
    if (schema := content.pop("schema", None)) != SCHEMA:
        raise UsageError(f"{path} is of schema {schema}; this mtlbench reads schema {SCHEMA}")
    try:
        return Tuned.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not of the form that mtlbench tune writes: {where}: {first['msg']}") from None


def tuned_methods(path: Path, registry: Registry, seeds: Sequence[int]) -> tuple[list[Method], str]:
    """Return the best of each tuned method, and the group of cells that it was tuned on.

    :param seeds: that results are to be reported for.
    :raises UsageError: when a method did not have all its trials or none succeeded, or for a seed that was tuned on.
    """
    tuned, methods = read_tuned(path), dict[str, Method]()
    if not tuned.complete:
        told = ", ".join(f"{study.method} {study.ended} of {tuned.trials}" for study in tuned.studies)
        raise UsageError(f"{path}: tuning is not finished ({told} trials): run mtlbench tune again")
    both = sorted(set(tuned.seeds) & set(seeds))
    if both:
        raise UsageError(f"seed {both[0]} was tuned on ({path}): report on other seeds, such as --seeds 5")
    for study in tuned.studies:
        if study.chosen is None:
            raise UsageError(f"{path}: no trial of {study.method} succeeded: tune without it, or in another --space")
        method = registry.method(study.chosen.spec)
        methods[method.spec] = method
    return list(methods.values()), tuned.group
