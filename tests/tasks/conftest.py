"""A replacement of the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Asked = list[tuple[str, str | None, str | None]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, dict[str, list[Any]]]], Asked]:
    """Put splits, by name, in place of every data set; returns the list of what is asked for."""
    datasets = pytest.importorskip("datasets")

    def put(splits: dict[str, dict[str, list[Any]]]) -> Asked:
        asked: Asked = []

        def load_dataset(path: str, config: str | None, revision: str | None) -> Any:
            asked.append((path, config, revision))
            return datasets.DatasetDict({name: datasets.Dataset.from_dict(rows) for name, rows in splits.items()})

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return put
