"""Read a map from its folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mtlbench.errors import UsageError
from mtlbench.map.cells import Features, Setting, Trained
from mtlbench.map.result import MapResult, Study
from mtlbench.map.scores import Scores
from mtlbench.map.store import MapStore
from mtlbench.map.stored import StoredStudy
from mtlbench.map.table import GRAMS, LOSSES


def load_map(results: Path, preset: str) -> tuple[MapResult, list[str]]:
    """Read all studies of one preset.

    :param results: the results folder.
    :param preset: name of the preset.
    :returns: the result, and a line for each file or shard that is damaged and left out.
    :raises UsageError: when there is no intact study.
    """
    store, studies, headers, damaged = MapStore(results, preset), {}, {}, list[str]()
    for name in store.studies():
        stored = store.read(name)
        if not isinstance(stored, StoredStudy):
            damaged += [stored] if stored else []
            continue
        damaged += stored.damaged
        if stored.tables:
            studies[name] = as_study(stored)
            headers[name] = asdict(stored.header)
    if not studies:
        why = f": {damaged[0]}" if damaged else f"; run mtlbench map --preset {preset} first, or give --results FOLDER"
        raise UsageError(f"no map in {store.folder}{why}")
    return MapResult(studies, preset, headers), damaged


def as_study(stored: StoredStudy) -> Study:
    """Return a study with the shards of each setting put together.

    :param stored: the study as it is on disk.
    """
    cells: dict[Setting, Scores] = {}
    for trained in stored.trained():
        for number, setting in enumerate(trained.settings):
            cell = _cell(trained, number)
            cells[setting] = _joined(cells[setting], cell) if setting in cells else cell
    header = stored.header
    return Study(header.study, header.title, header.knobs, list(cells.values()))


def _cell(trained: Trained, number: int) -> Scores:
    """Return one setting of a shard."""
    features = trained.features
    if features is not None:
        parts = {name: getattr(features, name)[number : number + 1] for name in (*LOSSES, *GRAMS)}
        features = replace(features, **parts)
    return Scores(
        trained.settings[number],
        tuple(trained.columns),
        tuple(trained.seeds),
        trained.dev[number],
        trained.test[number],
        features,
    )


def _joined(first: Scores, second: Scores) -> Scores:
    """Return the scores of one setting with the seeds of both, sorted."""
    seeds = (*first.seeds, *second.seeds)
    order = np.argsort(seeds)
    return replace(
        first,
        seeds=tuple(seeds[number] for number in order),
        dev=np.concatenate([first.dev, second.dev])[order],
        test=np.concatenate([first.test, second.test])[order],
        features=_joined_features(first.features, second.features, order),
    )


def _joined_features(first: Features | None, second: Features | None, order: np.ndarray) -> Features | None:
    if first is None or second is None:
        return None
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)], axis=1)[:, order]
        for name in (*LOSSES, *GRAMS)
    }
    return replace(first, **parts)
