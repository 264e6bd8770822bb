"""Layout of a report, independent of the format: headings, paragraphs, tables and lists of plain strings.

Text, Markdown, LaTeX and HTML render the same document, so they always agree. JSON and CSV are written directly from
the report, with every number at full precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mtlbench.report import captions, tables
from mtlbench.report.blocks import Block as Block
from mtlbench.report.blocks import Bullets as Bullets
from mtlbench.report.blocks import Heading as Heading
from mtlbench.report.blocks import Paragraph as Paragraph
from mtlbench.report.blocks import Row as Row
from mtlbench.report.blocks import Section as Section
from mtlbench.report.blocks import Table as Table
from mtlbench.report.names import labels, seed_list
from mtlbench.report.numbers import interval, memory, number, p_value, plus_minus, signed
from mtlbench.report.result import Difference, Failed, GroupReport, Missing, Report, Score, ScoredTask
from mtlbench.report.verdict import verdict
from mtlbench.report.watched import watched_blocks

BELOW, TUNED, FEWER, SEPARABLE = "▼", "†", "‡", "*"


def document(report: Report) -> list[Block]:
    """Return a report as a document.

    :param report: the report.
    """
    blocks = [block for group in report.groups for block in of_group(group)]
    if report.damaged:
        blocks.append(damaged(report))
    return blocks


def damaged(report: Report) -> Bullets:
    """Return the list of records that could not be read.

    :param report: the report.
    """
    return Bullets("Damaged records, set aside", tuple(f"{path}: {reason}" for path, reason in report.damaged))


def of_group(group: GroupReport) -> list[Block]:
    """Return one group as blocks, its heading first.

    :param group: the report of one group.
    """
    return watched_blocks(group) if group.watched else _compared(group)


def _compared(group: GroupReport) -> list[Block]:
    """Lay out one group: verdict, main tables, lists of gaps and notes, then the tables of other metrics."""
    blocks: list[Block] = [Heading(group.name), *(Paragraph(sentence) for sentence in verdict(group))]
    label = labels(group.methods)
    blocks += [_scores(group, primary=True), _renamed(_overall(group), label)]
    blocks += [_renamed(_differences(group, primary=True), label)] if group.comparisons else []
    if group.comparisons:
        blocks.append(_renamed(tables.power(group), label))
    if group.example_intervals:
        blocks.append(_renamed(tables.examples(group), label))
    lists = {
        "Failed cells": _alike((f"{{}}: {cell.message}", cell) for cell in group.failed),
        "Missing cells": _alike(("{}", cell) for cell in group.missing),
        "Notes": list(group.notes),
    }
    blocks += [Bullets(title, tuple(items)) for title, items in lists.items() if items]
    blocks.append(Bullets("All comparisons in words", group.headline, full=True))
    blocks.append(Paragraph(captions.recipe(group)))
    if any(not score.primary for score in group.scores):
        blocks.append(_renamed(_scores(group, primary=False), label))
        blocks += [_renamed(_differences(group, primary=False), label)] if group.comparisons else []
    return blocks


def _renamed(table: Table, label: Mapping[str, str]) -> Table:
    """Return a table whose rows have the methods' short labels: only the first table of many has their parameters."""
    sections = tuple(
        replace(
            section,
            rows=tuple(
                replace(row, cells=(label.get(row.cells[0]) or row.cells[0], *row.cells[1:])) for row in section.rows
            ),
        )
        for section in table.sections
    )
    return replace(table, sections=sections)


def _alike(cells: Iterable[tuple[str, Failed | Missing]]) -> list[str]:
    """Return one line for each method and form of a line, with the seeds of all its cells.

    :param cells: pairs of a line's form, with a place for the cell, and the cell.
    """
    seeds: dict[tuple[str, str], list[int]] = {}
    for form, cell in cells:
        seeds.setdefault((form, cell.method), []).append(cell.seed)
    return [form.replace("{}", f"{method}, {seed_list(own)}", 1) for (form, method), own in seeds.items()]


def _scores(group: GroupReport, primary: bool) -> Table:
    """Lay out the scores of methods × tasks."""
    endpoints = [(t, m) for t in group.tasks for m in t.metrics if (m == t.primary) == primary]
    scores = {(score.method, score.task, score.metric): score for score in group.scores}
    shown = [scores[method, task.name, metric] for method in group.methods for task, metric in endpoints]
    finished = {cost.method: cost.n for cost in group.costs}
    rows = [
        Row(
            (
                method,
                *(_score(scores[method, task.name, metric]) for task, metric in endpoints),
                str(finished[method])
                if finished[method] == len(group.seeds)
                else f"{finished[method]}/{len(group.seeds)}",
            )
        )
        for method in group.methods
    ]
    legend = [captions.SCORES.format(seeds=seed_list(group.seeds).partition(" ")[2], split=group.split)]
    if primary and any(name != method for method, name in labels(group.methods).items()):
        legend.append("The other tables and the figures name methods without their parameters.")
    below = [score for score in shown if score.below_floor]
    if below:
        floors = [(task, metric, task.floor(metric)) for task, metric in endpoints]
        legend.append(f"{BELOW} mean not above the task's trivial floor. {captions.floors(floors)}")
    legend += _tuned_legend([task for task, _ in endpoints])
    if any(score.n < score.seeds for score in shown):
        legend.append(f"{FEWER}n: mean over only n of the {len(group.seeds)} seeds; the others failed or are missing.")
    columns = ("method", *(f"{task.name} {metric} ↑" for task, metric in endpoints), "n")
    title = "Scores" if primary else "Scores, the other metrics"
    return Table(title, columns, (Section(None, tuple(rows)),), tuple(legend), detail=not primary)


def _score(score: Score) -> str:
    """Return mean ± standard deviation with its marks."""
    if score.mean is None:
        return "-"
    marks = (BELOW if score.below_floor else "") + (TUNED if score.tuned_corpus else "")
    fewer = f"{FEWER}{score.n}" if score.n < score.seeds else ""
    return plus_minus(score.mean, score.std) + marks + fewer


def _tuned(tasks: Sequence[ScoredTask]) -> str:
    """Return the mark of scores on a corpus that the encoder was tuned on, or nothing."""
    return TUNED if any(task.tuned_corpus for task in tasks) else ""


def _tuned_legend(tasks: Sequence[ScoredTask]) -> list[str]:
    """Return the legend that names the tasks on whose corpus the encoder was tuned."""
    tuned = [f"{task.name} ({task.tuned_corpus})" for task in tasks if task.tuned_corpus]
    return [f"{TUNED} the encoder was tuned on this task's corpus: {', '.join(tuned)}."] if tuned else []


def _overall(group: GroupReport) -> Table:
    """Lay out Δm, ranks, conflict and cost, one row per method; omit columns without values."""
    deltas = {delta.method: delta for delta in group.delta_m}
    ranks = {rank.method: rank for rank in group.mean_ranks}
    over_seeds = {m: r for ranked in group.rankings for m, r in zip(ranked.methods, ranked.mean_ranks, strict=True)}
    mark = _tuned(group.tasks)
    rows = []
    for cost in group.costs:
        delta, rank = deltas.get(cost.method), ranks.get(cost.method)
        rows.append(
            (
                cost.method,
                signed(delta.mean, 2) + (f" ± {number(delta.std, 2)}" if delta.std is not None else "") + mark
                if delta
                else "",
                number(rank.mean_rank, 2) + mark if rank else "",
                number(over_seeds[cost.method], 2) + mark if cost.method in over_seeds else "",
                number(cost.conflict_share, 2) if cost.conflict_share is not None else "",
                number(cost.seconds_per_step, 3) if cost.seconds_per_step is not None else "",
                memory(cost.peak_memory_bytes) if cost.peak_memory_bytes is not None else "",
            )
        )
    names = ("method", "Δm % ↑", "mean rank ↓", "rank over seeds ↓", "conflict", "s/step ↓", "peak memory ↓")
    used = [index for index in range(len(names)) if index == 0 or any(row[index] for row in rows)]
    table_rows = tuple(Row(tuple(row[index] or "-" for index in used)) for row in rows)
    column_captions = [  # one per column, in the order of the columns
        *captions.OVERALL[:3],
        "".join(captions.ranking(ranked, group.pairs) for ranked in group.rankings),
        *captions.OVERALL[3:],
    ]
    explained = [text for index, text in enumerate(column_captions) if index in used and text]
    legend = [captions.DELTA_M] if 1 in used else []
    legend += _tuned_legend(group.tasks) if mark and {1, 2, 3} & set(used) else []
    columns = tuple(names[index] for index in used)
    title = "Over all tasks, and cost"
    return Table(title, columns, (Section(None, table_rows),), tuple(legend), tuple(explained))


def _differences(group: GroupReport, primary: bool) -> Table:
    """Lay out the differences from the baseline, one section per endpoint."""
    differences = [d for d in group.comparisons if (d.family == "primary") == primary]
    sections = []
    if primary:
        mark = _tuned(group.tasks)
        rows = tuple(_difference(d, mark, digits=2) for d in group.delta_m_comparisons)
        sections.append(Section(f"Δm % {mark}".strip(), rows))
    for task in group.tasks:
        mark = _tuned([task])
        for metric in task.metrics:
            rows = tuple(_difference(d, mark) for d in differences if (d.task, d.metric) == (task.name, metric))
            sections.append(Section(f"{task.name} {metric} {mark}".strip(), rows))
    shown = (*differences, *group.delta_m_comparisons) if primary else differences
    legend = captions.differences(shown, group.baseline or "", SEPARABLE) + _tuned_legend(group.tasks)
    columns = ("method", "difference", "95 % interval", "p", "exact p", "Holm p", "n", "ρ")
    title = f"Difference from {group.baseline}" + ("" if primary else ", the other metrics")
    used = tuple(section for section in sections if section.rows)
    return Table(title, columns, used, tuple(legend), tuple(captions.tests(shown)), detail=not primary)


def _difference(d: Difference, mark: str, digits: int = 3) -> Row:
    """Lay out one difference as a row."""
    holm = p_value(d.p_adjusted) + (SEPARABLE if d.separable else "")
    rho = signed(d.rho, 2) if d.rho is not None else "-"
    estimate = (signed(d.mean_difference, digits) + mark, interval(d.ci_low, d.ci_high, digits))
    seeds = (str(d.n), rho if d.paired else "unpaired")
    return Row((d.method, *estimate, p_value(d.p), p_value(d.exact_p), holm, *seeds), strong=d.separable)
