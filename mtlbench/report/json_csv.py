"""The report for programs: JSON and one tidy CSV, at full precision. Undefined values are null or empty."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mtlbench.errors import UsageError
from mtlbench.host.safe_names import spreadsheet_cell
from mtlbench.report.result import CONFIDENCE, Difference, GroupReport, Report

SCHEMA = 1


def to_json(report: Report) -> str:
    """Return the report as JSON.

    :param report: the report.
    """
    return json.dumps(to_data(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_data(report: Report) -> dict[str, Any]:
    """Return the report as plain data: flat lists of objects, each with its suite and group, so each is a data frame.

    :param report: the report.
    """
    return {
        "schema": SCHEMA,
        "baseline": report.baseline,
        "confidence": CONFIDENCE,
        "headline": [sentence for group in report.groups for sentence in _of(report, group, group.headline)],
        "groups": [_described(group) for group in report.groups],
        "summary": _rows(report, "scores"),
        "cost": _rows(report, "costs"),
        "delta_m": _rows(report, "delta_m"),
        "mean_rank": _rows(report, "mean_ranks"),
        "comparisons": _rows(report, "comparisons"),
        "delta_m_comparisons": _rows(report, "delta_m_comparisons"),
        "rankings": _rows(report, "rankings"),
        "pairs": _rows(report, "pairs"),
        "example_intervals": _rows(report, "example_intervals"),
        "watched": _rows(report, "watched"),
        "watched_methods": _rows(report, "watched_methods"),
        "missing": _rows(report, "missing"),
        "failed": _rows(report, "failed"),
        "damaged": [{"path": path, "reason": reason} for path, reason in report.damaged],
        "notes": [note for group in report.groups for note in _of(report, group, group.notes)],
    }


def to_csv(report: Report) -> str:
    """Return the report as CSV: a line per method, task and metric, with the comparison to the baseline and the cost.

    :param report: the report.
    :raises UsageError: when there are no cells, but watched runs.
    """
    lines = [line for group in report.groups for line in _lines(group)]
    if not lines and any(group.watched for group in report.groups):
        raise UsageError("watched runs have no scores of methods, so no CSV; use --format json, or mtlbench export")
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet_cell(value) for name, value in line.items()} for line in lines)
    return buffer.getvalue()


def _lines(group: GroupReport) -> Iterable[dict[str, Any]]:
    """Yield a line per method and metric, with score, cost and comparison."""
    compared = {(d.method, d.task, d.metric): d for d in group.comparisons}
    costs = {cost.method: asdict(cost) for cost in group.costs}
    deltas = {delta.method: delta.mean for delta in group.delta_m}
    ranks = {rank.method: rank.mean_rank for rank in group.mean_ranks}
    for score in group.scores:
        cost = costs[score.method]
        difference = compared.get((score.method, score.task, score.metric))
        yield {
            "suite": group.suite,
            "group": group.group,
            **asdict(score),
            "failed": sum(cell.method == score.method for cell in group.failed),
            "missing": sum(cell.method == score.method for cell in group.missing),
            **{name: cost[name] for name in cost if name not in ("method", "n")},
            "delta_m_percent": deltas.get(score.method),
            "mean_rank": ranks.get(score.method),
            **(_comparison(difference) if difference else {}),
            "cautions": "; ".join(group.cautions),
        }


def _comparison(difference: Difference) -> dict[str, Any]:
    """Return the columns of a comparison; its ``n`` is named ``pairs``."""
    values = _object(difference)
    values["pairs"] = values.pop("n")
    return {name: values[name] for name in values if name not in ("method", "task", "metric")}


def _rows(report: Report, part: str) -> list[dict[str, Any]]:
    """Return one part of all groups as a flat list of objects."""
    return [
        {"suite": group.suite, "group": group.group, **_object(item)}
        for group in report.groups
        for item in getattr(group, part)
    ]


def _object(item: Any) -> dict[str, Any]:
    """Return the fields of a value; for a comparison also its verdicts."""
    values = asdict(item)
    return (
        {**values, "verdict": item.verdict, "within_margin": item.within_margin}
        if isinstance(item, Difference)
        else values
    )


def _described(group: GroupReport) -> dict[str, Any]:
    """Return the description of a group, without its results."""
    return {
        "group": group.group,
        "suite": group.suite,
        "heading": group.heading,
        "encoder": group.encoder,
        "problem": group.problem,
        "recipe": group.recipe,
        "split": group.split,
        "methods": list(group.methods),
        "seeds": list(group.seeds),
        "baseline": group.baseline,
        "tasks": [asdict(task) for task in group.tasks],
        "headline": list(group.headline),
        "cautions": list(group.cautions),
        "notes": list(group.notes),
    }


def _of(report: Report, group: GroupReport, sentences: Iterable[str]) -> list[str]:
    """Return the sentences, each prefixed with its group if there are several groups."""
    return [f"{group.heading}: {text}" if len(report.groups) > 1 else text for text in sentences]
