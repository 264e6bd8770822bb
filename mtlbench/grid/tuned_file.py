"""``tuned.json``: the settings of a tuning, all trials, and the best trial of each method.

``mtlbench tune`` rewrites the file from the records after every cell; ``mtlbench run --methods @FILE`` reads it. It
carries a checksum. docs/tune.md describes its form.
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
"""The edge of a search space on which a value lies."""
NAME = "tuned.json"
SCHEMA = 1
SELECTION = "mean over tasks of the primary metric on the development rows, mean over the tuning seeds"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrialEntry(_Entry):
    """One trial.

    :param spec: of the method, with the trial's parameters.
    :param values: tuned parameter → value.
    :param score: see :data:`SELECTION`; ``None`` unless the trial is done.
    :param scores: task → primary metric on the development rows, mean over seeds.
    :param reason: why the trial failed, or empty.
    :param keys: seed → key of the cell's record.
    """

    number: int
    spec: str
    values: dict[str, bool | int | float | str]
    status: Literal["done", "failed", "open"]
    score: float | None
    scores: dict[str, float]
    reason: str
    keys: dict[int, str]


class StudyEntry(_Entry):
    """The search of one method.

    :param method: its spec as the user wrote it.
    :param space: tuned parameter → search space, as text.
    :param best: number of the best trial, or ``None``.
    :param edges: parameter → edge, for values of the best trial that lie on an edge of their space.
    """

    method: str
    space: dict[str, str]
    best: int | None
    edges: dict[str, Side]
    trials: Annotated[list[TrialEntry], Field(min_length=1)]

    @property
    def chosen(self) -> TrialEntry | None:
        """The best trial, or ``None`` if no trial is done."""
        return next((trial for trial in self.trials if trial.number == self.best), None)

    @property
    def ended(self) -> int:
        """Number of trials that are done or failed."""
        return sum(trial.status != "open" for trial in self.trials)

    @property
    def failed(self) -> list[TrialEntry]:
        """The failed trials."""
        return [trial for trial in self.trials if trial.status == "failed"]


class Tuned(_Entry):
    """Contents of ``tuned.json``.

    :param suite: name of the suite.
    :param group: hash of what all cells share, as in their records.
    :param lr: the recipe's learning rate, used by the first trial of every method.
    :param steps: optimizer steps of a trial's cells; the best learning rate depends on them.
    :param selection: how the best trial is chosen, in words.
    :param seeds: training seeds of every trial.
    :param trials: number of trials of every method.
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
        """Whether every method has had all its trials."""
        return all(study.ended == self.trials for study in self.studies)


def write_tuned(tuned: Tuned, folder: Path) -> Path:
    """Write ``tuned.json`` to a results folder and return its path.

    :raises UsageError: if it cannot be written.
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
    """Read and verify a ``tuned.json``.

    :raises UsageError: if it is missing, has another form, or was changed after it was written.
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
        raise UsageError(
            f"{path}: its checksum does not fit: the file was changed after it was written; run mtlbench tune again"
        )
    if (schema := content.pop("schema", None)) != SCHEMA:
        raise UsageError(f"{path} is of schema {schema}; this mtlbench reads schema {SCHEMA}")
    try:
        return Tuned.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not of the form that mtlbench tune writes: {where}: {first['msg']}") from None


def tuned_methods(path: Path, registry: Registry, seeds: Sequence[int]) -> tuple[list[Method], str]:
    """Return each tuned method with its best parameters, and the group of cells it was tuned on.

    :param path: of a ``tuned.json``.
    :param seeds: seeds of the run that will use the methods.
    :returns: methods, and the group as in records.
    :raises UsageError: if the tuning is unfinished, a method has no successful trial, or a seed was used for tuning.
    """
    tuned, methods = read_tuned(path), dict[str, Method]()
    if not tuned.complete:
        progress = ", ".join(f"{study.method} {study.ended} of {tuned.trials}" for study in tuned.studies)
        raise UsageError(f"{path}: tuning is not finished ({progress} trials): run mtlbench tune again")
    shared = sorted(set(tuned.seeds) & set(seeds))
    if shared:
        raise UsageError(f"seed {shared[0]} was tuned on ({path}): report on other seeds, such as --seeds 5")
    for study in tuned.studies:
        if study.chosen is None:
            raise UsageError(f"{path}: no trial of {study.method} succeeded: tune without it, or in another --space")
        method = registry.method(study.chosen.spec)
        methods[method.spec] = method
    return list(methods.values()), tuned.group
