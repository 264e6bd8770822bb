"""A watched run in the report: what was measured of a user's own training. It is compared with nothing."""

from __future__ import annotations

from math import ceil

from mtlbench.records.groups import Cells
from mtlbench.report.blocks import Block, Bullets, Heading, Paragraph, Row, Section, Table
from mtlbench.report.numbers import ABSENT, number
from mtlbench.report.result import GroupReport, WatchedMethod, WatchedTask

MOST = 0.05
"""Share of the time from which a note says how to measure less."""
GRADIENTS = (
    "Gradient: median norm over the watched parameters. Share: median share of the plain sum of the gradients, "
    "⟨gᵢ, u⟩ / ‖u‖²; negative where the task is worked against.",
    "Losses: means over the first and the last tenth of the steps. Scores: the last ones that the training reported.",
)
WEIGHTS = (
    "Medians over the measured steps. None of these methods trained the model: under its own weights a method would "
    "meet other gradients. A method with a memory saw the measured steps only.",
)


def watched_group(cells: Cells) -> GroupReport:
    """Return the report of a watched run, still without its names.

    :param cells: the group, which is one run.
    """
    record, watched = cells.records[0], cells.watched
    assert watched is not None
    return GroupReport(
        group=cells.group,
        suite=cells.suite,
        encoder="none",
        recipe=cells.recipe,
        tasks=cells.tasks,
        methods=cells.methods,
        seeds=(),
        baseline=None,
        headline=_headline(cells),
        notes=tuple(_notes(cells)),
        watched=tuple(
            WatchedTask(
                task=task.name,
                scores=dict(record["scores"].get(task.name, {})),
                **{name: value for name, value in watched["tasks"][task.name].items() if name != "not_finite"},
            )
            for task in cells.tasks
        ),
        watched_methods=tuple(
            WatchedMethod(spec, entry["looks"], dict(entry["shares"])) for spec, entry in watched["proposed"].items()
        ),
    )


def _headline(cells: Cells) -> tuple[str, ...]:
    record = cells.records[0]
    watched, conflict = record["watched"], record["conflict"]
    state = "" if record["status"] == "done" else f" It is {record['status']}: this is what was measured so far."
    first = (
        f"Own training of {len(cells.tasks)} task{'s' * (len(cells.tasks) > 1)}, watched over "
        f"{record['recipe']['steps']} steps: gradients of {watched['parameters']:,} shared parameters at "
        f"{watched['looks']} of them. It is compared with nothing.{state}"
    )
    if conflict is None:
        return (first,)
    return first, (
        f"Task gradients point apart in {conflict['share']:.0%} of the pairs; mean cosine "
        f"{conflict['mean_cosine']:.2f}."
    )


def _notes(cells: Cells) -> list[str]:
    record = cells.records[0]
    watched = record["watched"]
    notes = []
    if watched["processes"] > 1:
        notes.append(
            f"measured on the losses of process {watched['rank']} of {watched['processes']}: gradients of its "
            "rows alone are noisier than those of the step"
        )
    if record["seconds"] and watched["seconds"] is not None:
        share = watched["seconds"] / record["seconds"]
        fewer = f"; every={ceil(watched['every'] * share / MOST)} would take about {MOST:.0%}" if share > MOST else ""
        notes.append(f"the measurements took at most {share:.1%} of {record['seconds']:.1f} s{fewer}")
    for task, entry in watched["tasks"].items():
        if entry["not_finite"]:
            notes.append(f"{task}: loss or gradient not finite at {entry['not_finite']} recorded steps")
    for spec, entry in watched["proposed"].items():
        if entry["looks"] < watched["looks"]:
            missing = watched["looks"] - entry["looks"]
            notes.append(f"{spec}: no weights at {missing} of {watched['looks']} measured steps")
    return notes


def watched_blocks(group: GroupReport) -> list[Block]:
    """Lay out the report of a watched run.

    :param group: as :func:`watched_group` returns it.
    """
    blocks: list[Block] = [Heading(group.name), *(Paragraph(sentence) for sentence in group.headline)]
    blocks.append(_gradients(group))
    if any(method.shares for method in group.watched_methods):
        blocks.append(_weights(group))
    if group.notes:
        blocks.append(Bullets("Notes", group.notes))
    return blocks


def _gradients(group: GroupReport) -> Table:
    scored = any(task.scores for task in group.watched)
    rows = [
        Row(
            (
                task.task,
                _number(task.norm),
                _share(task.share),
                _number(task.first_loss),
                _number(task.last_loss),
                str(task.looks),
                *((", ".join(f"{name} {_number(value)}" for name, value in task.scores.items()) or ABSENT,) * scored),
            )
        )
        for task in group.watched
    ]
    columns = ("task", "gradient", "share", "first loss", "last loss", "measured", *(("score ↑",) * scored))
    return Table("Task gradients and losses", columns, (Section(None, tuple(rows)),), GRADIENTS)


def _weights(group: GroupReport) -> Table:
    tasks = [task.task for task in group.watched]
    rows = tuple(
        Row((method.spec, *(_share(method.shares[task]) for task in tasks)))
        for method in group.watched_methods
        if method.shares
    )
    return Table("Weights that methods would give, as shares", ("method", *tasks), (Section(None, rows),), WEIGHTS)


def _number(value: float | None) -> str:
    """Return a number with three decimals, or with three digits where those would hide it."""
    if value is None:
        return ABSENT
    return number(value) if abs(value) >= 0.01 or value == 0.0 else f"{value:.2e}"


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{number(100 * value, 0)}%"
