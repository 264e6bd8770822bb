"""Detail tables: statistical power of the comparisons, and intervals over seeds and rows."""

from __future__ import annotations

from mtlbench.report import captions
from mtlbench.report.blocks import Row, Section, Table
from mtlbench.report.numbers import ABSENT, interval, number, p_value, signed
from mtlbench.report.result import Difference, GroupReport


def power(group: GroupReport) -> Table:
    """Return the table of each primary comparison's power, and of the seeds that the method won.

    :param group: the report of one group.
    """
    sections = [Section("Δm %", tuple(_power(d, 2) for d in group.delta_m_comparisons))]
    primary = [d for d in group.comparisons if d.family == "primary"]
    for task in group.tasks:
        rows = tuple(_power(d, 3) for d in primary if d.task == task.name)
        sections.append(Section(f"{task.name} {task.primary}", rows))
    margins = [d.margin for d in primary if d.margin is not None]
    target = f"the margin, {margins[0]:g} (for Δm: the one seen)" if margins else "the one seen"
    legend = [line.format(target=target) for line in captions.POWER]
    columns: tuple[str, ...] = (
        "method",
        "missed under",
        "seeds needed",
        "wins",
        "P(better)",
        "var ratio",
        "primary test",
    )
    shown = tuple(section for section in sections if section.rows)
    if margins:
        columns = (*columns, "p within margin")
        legend.append(f"p within margin: two one-sided tests of ±{margins[0]:g}, adjusted by Holm in the family.")
    else:
        shown = tuple(Section(s.heading, tuple(Row(row.cells[:-1]) for row in s.rows)) for s in shown)
    return Table("What these seeds can show", columns, shown, tuple(legend), detail=True)


def _power(d: Difference, digits: int) -> Row:
    """Lay out one comparison as a row."""
    strict, alone = d.detectable_in_family, d.minimum_detectable_effect
    missed = (
        f"{number(strict, digits) if strict is not None else ABSENT} ({number(alone, digits)})" if alone else ABSENT
    )
    decided = (d.wins or 0) + (d.losses or 0)
    won = ABSENT
    if d.win_rate_low is not None and d.win_rate_high is not None:
        won = f"{d.wins}/{decided} [{number(d.win_rate_low, 2)}, {number(d.win_rate_high, 2)}]"
    return Row(
        (
            d.method,
            missed,
            ABSENT if d.seeds_needed is None else str(d.seeds_needed),
            won,
            ABSENT if d.probability_of_improvement is None else number(d.probability_of_improvement, 2),
            ABSENT if d.variance_ratio is None else number(d.variance_ratio, 2),
            d.primary_test,
            p_value(d.equivalence_p_adjusted),
        )
    )


def examples(group: GroupReport) -> Table:
    """Return the table of intervals over seeds and rows.

    :param group: the report of one group.
    """
    sections = []
    for task in group.tasks:
        intervals = [e for e in group.example_intervals if e.task == task.name]
        rows = tuple(
            Row(
                (
                    e.method,
                    signed(e.mean_difference),
                    interval(e.ci_low, e.ci_high),
                    number(e.example_share, 2),
                    str(e.seeds),
                    str(e.examples),
                )
            )
            for e in intervals
        )
        if rows:
            sections.append(Section(f"{task.name} {task.primary}", rows))
    columns = ("method", "difference", "95 % interval", "rows' share", "seeds", "rows")
    title = f"Difference from {group.baseline}, over seeds and development rows"
    return Table(title, columns, tuple(sections), captions.EXAMPLES)
