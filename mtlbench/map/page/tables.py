"""Tables of the page: cells won and lost, sizes of the studies, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtlbench.host.terminal import duration
from mtlbench.map.endpoints import LABELS as ENDPOINT_LABELS
from mtlbench.map.endpoints import Endpoint
from mtlbench.map.result import MapResult, Study
from mtlbench.map.statements.statement import number_of
from mtlbench.map.tally import Comparisons, Tally, ordered, points


@dataclass(frozen=True)
class PageTable:
    """A table: each entry is a text, and a smaller one under it.

    :param title: its caption.
    :param columns: headers, that of the rows first.
    :param rows: name → entries.
    :param words: whether entries are text rather than numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Sequence[tuple[str, str]]]
    words: bool = False


def headline(result: MapResult, comparisons: Comparisons) -> Study:
    """Return the study of the tables: that over loss and noise ratios, or else the first.

    :param result: the map.
    :param comparisons: its gains.
    """
    return comparisons.headline or next(iter(result.studies.values()))


def by_endpoint(result: MapResult, comparisons: Comparisons, names: Mapping[str, str]) -> dict[Endpoint, PageTable]:
    """Return for each endpoint the cells won and lost by every method against every comparator.

    :param result: the map.
    :param comparisons: its gains.
    :param names: comparators: spec → words.
    """
    study = headline(result, comparisons)
    possible = [spec for spec in names if comparisons.gains(study.name, spec, "mean-log")]
    tables: dict[Endpoint, PageTable] = {}
    for endpoint in study.endpoints:
        tallies = [comparisons.tallies(study.name, spec, endpoint) for spec in possible]
        tables[endpoint] = PageTable(
            f"{study.title}: won/lost of {len(study.cells)} cells by {ENDPOINT_LABELS[endpoint]}",
            ("method", *(names[spec] for spec in possible)),
            {method: [_entry(found.get(method)) for found in tallies] for method in ordered(study)},
        )
    return tables


def by_comparator(result: MapResult, comparisons: Comparisons, names: Mapping[str, str]) -> dict[str, PageTable]:
    """Return for each comparator the cells won and lost by every method under every endpoint.

    :param result: the map.
    :param comparisons: its gains.
    :param names: comparators: spec → words.
    """
    study = headline(result, comparisons)
    tables = {}
    for spec, words in names.items():
        tallies = [comparisons.tallies(study.name, spec, endpoint) for endpoint in study.endpoints]
        if any(tallies):
            tables[spec] = PageTable(
                f"{study.title}: won/lost of {len(study.cells)} cells against {words}",
                ("method", *(ENDPOINT_LABELS[endpoint] for endpoint in study.endpoints)),
                {method: [_entry(found.get(method)) for found in tallies] for method in ordered(study)},
            )
    return tables


def sizes(result: MapResult) -> PageTable:
    """Return how large each study is.

    :param result: the map.
    """
    rows = {}
    for name, study in result.studies.items():
        columns = number_of((len(cell.columns) for cell in study.cells), "column")
        seeds = number_of((len(cell.seeds) for cell in study.cells), "seed")
        networks = sum(len(cell.columns) * len(cell.seeds) for cell in study.cells)
        steps = number_of((cell.setting.steps for cell in study.cells), "step")
        texts = (f"{len(study.cells)}", columns, seeds, steps, f"{networks:,}")
        rows[name] = [(text, "") for text in texts]
    columns_ = ("study", "settings", "methods × learning rates × weights", "seeds", "length", "networks")
    return PageTable("Size of the studies", columns_, rows)


def times(result: MapResult) -> list[PageTable]:
    """Return where the time of each study went, as its header says; nothing for a map without headers.

    :param result: the map.
    """
    spent: dict[str, dict[str, float]] = {}
    for name, header in result.headers.items():
        for shard in header.get("shards", ()):
            for part, seconds in shard.get("seconds", {}).items():
                of_study = spent.setdefault(name, {})
                of_study[part] = of_study.get(part, 0.0) + seconds
    if not spent:
        return []
    parts = sorted({part for of_study in spent.values() for part in of_study})
    rows = {}
    for name, of_study in spent.items():
        total = sum(of_study.values())
        shares = [(f"{of_study.get(part, 0.0) / total:.0%}" if total else "–", "") for part in parts]
        rows[name] = [(duration(total), ""), *shares]
    return [PageTable("Where the time went, summed over processes", ("study", "time", *parts), rows)]


def provenance(result: MapResult) -> list[PageTable]:
    """Return when and with what each study was trained, as its header says; nothing for a map without headers.

    :param result: the map.
    """
    rows = {}
    for name, header in result.headers.items():
        started = sorted(shard["started"] for shard in header.get("shards", ()) if "started" in shard)
        span = " to ".join(dict.fromkeys([started[0], started[-1]])) if started else "–"
        environments = "; ".join(map(_flat, header.get("environments", ()))) or "–"
        rows[name] = [(span, ""), (environments, ""), (str(header.get("file", {}).get("sha256", "–")), "")]
    columns = ("study", "started (UTC)", "trained with", "SHA-256 of the numbers")
    return [PageTable("Provenance", columns, rows, words=True)] if rows else []


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_flat, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(tally: Tally | None) -> tuple[str, str]:
    """Return cells won and lost, and the median gain."""
    return ("–", "") if tally is None else (tally.score, points(tally.median))
