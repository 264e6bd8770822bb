"""The ladder: from the paper's likely recipe to a good recipe, one change at a time, with the findings of each rung."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mtlbench import stats
from mtlbench.diagnose import Finding, diagnose_group
from mtlbench.diagnose.without_files import NEEDS
from mtlbench.records.left_out import left_out
from mtlbench.report.blocks import Block, Bullets, Paragraph, Row, Section, Table
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure, Unavailable
from mtlbench.report.numbers import ABSENT, interval, number, plus_minus, signed
from mtlbench.report.result import ScoredTask
from mtlbench.study.paper import RED, SCORES
from mtlbench.study.parts import Rung

METHODS = ("stl", "sum", "pcgrad")
"""Methods on every rung: the two that the paper compared, and the plain sum."""
DIFFERENCES = (("pcgrad", "stl"), ("pcgrad", "sum"))
ROW, PANEL = 0.3, 0.42
"""Height of a rung, and of the rest of a panel, in inches."""
RUN = "No ladder here: run mtlbench run --suite ladder-1-paper, and the other ladder suites (mtlbench list suites)"
Series = Mapping[int, float]


def tables(rungs: Sequence[Rung]) -> list[Block]:
    """Return the scores and paired differences of every rung, with the doctor's findings.

    :param rungs: in the order of the ladder.
    :raises Unavailable: if there are no rungs.
    """
    if not rungs:
        raise Unavailable(RUN)
    columns = (
        "task", *(f"{method} ↑" for method in METHODS), *(f"{a} - {b}" for a, b in DIFFERENCES), "sum - before", "n",
    )  # fmt: skip
    tuned = {f"{t.name} ({t.tuned_corpus})" for rung in rungs for t in rung.part.cells.tasks if t.tuned_corpus}
    caption = [
        "Mean ± sample standard deviation over seeds, on dev; primary metrics, higher is better.",
        "Differences: mean over the seeds that both have, and 95 % interval (Student's t on the seeds' differences). "
        "Each stands on its own: of so many, some intervals miss zero by chance.",
        "Before: the sum's score, at the same seed, on the rung that the change was made to.",
    ]
    caption += [f"† the encoder was tuned on this task's corpus: {', '.join(sorted(tuned))}."] if tuned else []
    sections = tuple(Section(rung.name, tuple(_row(rung, task) for task in _tasks(rung))) for rung in rungs)
    descriptions = tuple(f"{rung.name}: {_description(rung)}" for rung in rungs)
    table = Table("Scores and differences, rung by rung", columns, sections, tuple(caption))
    return [Bullets("The rungs", descriptions), table, *_largest_changes(rungs), _findings(rungs)]


def _description(rung: Rung) -> str:
    """Describe a rung by its suite's description and the changes to the recipe."""
    description = rung.part.description or f"suite {rung.part.suite}"
    if rung.before is None:
        return description
    return f"{description}; against {rung.before.name}: {', '.join(rung.changes) or 'the same recipe'}"


def _tasks(rung: Rung) -> tuple[ScoredTask, ...]:
    return rung.part.cells.tasks


def _row(rung: Rung, task: ScoredTask) -> Row:
    mark = "†" if task.tuned_corpus else ""
    ours = {method: _series(rung, task, method) for method in METHODS}
    before = _series(rung.before, task, "sum") if rung.before else {}
    scores = [_mean(series) + mark if series else ABSENT for series in ours.values()]
    pairs = [*((ours[a], ours[b]) for a, b in DIFFERENCES), (ours["sum"], before)]
    count = "/".join(dict.fromkeys(str(len(series)) for series in ours.values()))
    differences = [_difference(_compared(*pair), mark) for pair in pairs]
    return Row((f"{task.name} {task.primary}", *scores, *differences, count))


def _series(rung: Rung, task: ScoredTask, method: str) -> Series:
    """Return the primary scores of a method, with default parameters, by seed."""
    return rung.part.cells.series(method, task.name, task.primary)


def _mean(series: Series) -> str:
    values = list(series.values())
    return plus_minus(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _compared(ours: Series, theirs: Series) -> stats.Comparison | None:
    """Compare two methods on their common seeds, if there are any."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    return stats.paired_comparison(np.array([ours[s] for s in seeds]), np.array([theirs[s] for s in seeds]))


def _difference(comparison: stats.Comparison | None, mark: str = "") -> str:
    """Return the mean difference with its interval."""
    if comparison is None:
        return ABSENT
    bounds = f" {interval(comparison.ci_low, comparison.ci_high)}" if comparison.ci_low is not None else ""
    return f"{signed(comparison.mean_difference)}{mark}{bounds}"


def _largest_changes(rungs: Sequence[Rung]) -> list[Paragraph]:
    """For each task, name the rung that changed the sum's score most, and the largest effect of PCGrad."""
    if len(rungs) < 2:
        return []
    changes_by_task = []
    for task in {task.name: task for rung in rungs for task in _tasks(rung)}.values():
        series = {(rung.name, m): _series(rung, task, m) for rung in rungs for m in ("sum", "pcgrad")}
        changes = {r.name: _compared(series[r.name, "sum"], series[r.before.name, "sum"]) for r in rungs if r.before}
        swaps = {rung.name: _compared(series[rung.name, "pcgrad"], series[rung.name, "sum"]) for rung in rungs}
        changes_by_task.append(f"{task.name} {task.primary}, {_largest(changes)} and {_largest(swaps)}")
    return [
        Paragraph(
            f"The largest change of the sum's score by one rung, and the largest by PCGrad in the sum's place on any "
            f"rung: {'; '.join(changes_by_task)}. Each is the largest of several, and looks larger than it is for that."
        )
    ]


def _largest(comparisons: Mapping[str, stats.Comparison | None]) -> str:
    known = {name: comparison for name, comparison in comparisons.items() if comparison}
    if not known:
        return ABSENT
    name = max(known, key=lambda name: abs(known[name].mean_difference))
    return f"{_difference(known[name])} ({name})"


def _findings(rungs: Sequence[Rung]) -> Bullets:
    """List the doctor's findings on every rung; notes, which are not faults, in brackets."""
    items = []
    for rung in rungs:
        findings = diagnose_group(rung.part.cells)
        faults, notes = ([f for f in findings if (f.severity == "note") is note] for note in (False, True))
        names = [_named(group, rung.part.cells.methods) for group in (faults, notes)]
        clauses = [f"{names[0] or 'nothing'}{f' [{names[1]}]' if notes else ''}"]
        clauses += filter(None, [left_out(rung.part.cells.done.values(), NEEDS)])
        items.append(f"{rung.name}: {'; '.join(clauses)}")
    return Bullets("What the doctor says of each rung (docs/diagnose.md lists what it looks for)", tuple(items))


def _named(findings: Sequence[Finding], methods: Sequence[str]) -> str:
    """Name each finding once by its code, with the tasks and methods that show it.

    :param methods: all methods of the rung.
    """
    codes: dict[str, dict[str, list[str]]] = {}
    for finding in findings:
        codes.setdefault(finding.code, {}).setdefault(" and ".join(finding.tasks), []).append(finding.method)
    return "; ".join(f"{code} ({_where(tasks, methods)})" for code, tasks in codes.items())


def _where(tasks: Mapping[str, Sequence[str]], methods: Sequence[str]) -> str:
    """Name the tasks of a finding, with their methods; a finding on the data has no method."""
    method_names = {
        task: "all methods" if {*names} == {*methods} else ", ".join(filter(None, names))
        for task, names in tasks.items()
    }
    return " / ".join(f"{task}: {names}" if task and names else task or names for task, names in method_names.items())


def figure(rungs: Sequence[Rung]) -> Figure:
    """Return a figure of the rungs, from top to bottom, with one panel per task.

    :param rungs: in the order of the ladder.
    :raises Unavailable: if there are no rungs.
    """
    if not rungs:
        raise Unavailable(RUN)
    tasks = {task.name: task for rung in rungs for task in _tasks(rung)}
    sentences = []
    for task in tasks.values():
        ends = [(rung, list(_series(rung, task, "sum").values())) for rung in (rungs[0], rungs[-1])]
        means = [f"{number(statistics.fmean(values))} ({rung.name})" for rung, values in ends if values]
        sentences.append(f"{task.name} {task.primary}, sum: {' to '.join(means)}." if means else "")
    return Figure(
        name="ladder",
        title="The ladder, rung by rung",
        description=(
            "Large: means over seeds; small: seeds. Dotted: the highest trivial floor; red: the paper's "
            f"single-task (dashed) and PCGrad (solid) scores. {' '.join(filter(None, sentences))}"
        ),
        draw=lambda: _draw(rungs, list(tasks.values())),
    )


def _draw(rungs: Sequence[Rung], tasks: Sequence[ScoredTask]) -> matplotlib.figure.Figure:
    looks = style.looks(METHODS, "sum", ["stl"])
    sheet, panels = style.sheet(len(tasks) * (PANEL + ROW * len(rungs)) + 0.45, len(tasks), sharey=True)
    for panel, task in zip(panels, tasks, strict=True):
        _panel(panel, rungs, task, looks)
    entries = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=method)
        for method, look in looks.items()
    ]
    style.legend(sheet, entries)
    return sheet


def _panel(panel: Axes, rungs: Sequence[Rung], task: ScoredTask, looks: Mapping[str, style.Look]) -> None:
    style.grid(panel, "x")
    for row, rung in enumerate(rungs):
        for index, method in enumerate(METHODS):
            values = list(_series(rung, task, method).values())
            height, look = row + 0.22 * (index - 1), looks[method]
            panel.plot(values, [height] * len(values), look.marker, color=look.colour, markersize=3, alpha=0.5)
            if values:
                panel.plot(statistics.fmean(values), height, look.marker, color=look.colour, markersize=6.5)
    floor = task.floor(task.primary)
    if floor is not None:
        panel.axvline(floor.value, color=style.QUIET, linewidth=1.0, linestyle=":", zorder=1)
    for method, line in {"stl": (0, (4, 2)), "pcgrad": "-"}.items():
        if task.name in SCORES:
            panel.axvline(SCORES[task.name][method], color=RED, linewidth=0.9, linestyle=line, zorder=1)
    panel.set_title(f"{style.short(task.name)} {task.primary}{' †' if task.tuned_corpus else ''} →")
    panel.set_yticks(range(len(rungs)), [style.short(rung.name) for rung in rungs])
    panel.set_ylim(len(rungs) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
