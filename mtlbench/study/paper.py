"""The seed paper's numbers, and the numbers of ours that they fit.

Saykin and Dolev, Gradient Descent in Multi-Task Learning (CS224N, Stanford): BERT-base on SST-5, Quora pairs and STS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mtlbench.report.blocks import Block, Bullets, Paragraph, Row, Section, Table
from mtlbench.report.figures.figure import Unavailable
from mtlbench.report.numbers import ABSENT, number, plus_minus
from mtlbench.report.result import Score, ScoredTask
from mtlbench.study.parts import StudiedSuite, StudyResult

SCORES = {
    "sst5": {"stl": 0.520, "pcgrad": 0.436},
    "qqp": {"stl": 0.696, "pcgrad": 0.373},
    "stsb": {"stl": 0.286, "pcgrad": 0.279},
}
"""The paper's Table 2: accuracy, accuracy and Pearson correlation on the development rows, without seeds."""
TRAIN = {"sst5": 8_544, "qqp": 141_506, "stsb": 6_041}
"""Numbers of training rows, from the paper's Table 1."""
METHODS = {"stl": "single-task", "pcgrad": "PCGrad"}
RED = "#b3001b"
"""Colour of the paper's scores in figures, which no method has."""
WITHIN = 2.0
"""Largest difference, in standard errors, between a number of the paper and a number of ours that fits it."""
SAMPLED = ("accuracy", "pearson", "spearman")
"""Metrics whose sampling error has a closed form."""
READINGS = {
    ("sst5", "stl"): (
        "explained",
        "what BERT-base reaches on this task when it is tuned: the course's own baseline is .515 over ten seeds.",
    ),
    ("sst5", "pcgrad"): (
        "open",
        "lower than single-task training by more than the sampling of two runs explains. The paper's text trains the "
        "whole architecture, the caption of its Figure 3 the layers above BERT alone; the course's baselines are .515 "
        "tuned and .390 frozen, and the score lies between. Unequal steps, or the small sets' many passes, would lower "
        "it too. Which it was cannot be known from the paper.",
    ),
    ("qqp", "stl"): (
        "likely",
        "two texts that are encoded apart, with a linear head on their vectors: a published ladder on the same data "
        "has .693 there, and more where both texts are encoded together.",
    ),
    ("qqp", "pcgrad"): (
        "explained, its cause open",
        "below the majority class, and what always answering yes scores on all development rows: the head gave one "
        "answer. A sigmoid that is applied twice does that, and so does a head that was never trained; the paper's "
        "text does not tell them apart.",
    ),
    ("stsb", "stl"): (
        "likely",
        "below the overlap of the two texts' words, which needs no training: the mark of texts encoded apart, for "
        "which the published ladder has .174. Its loss was Pearson's correlation over batches of 8, a noisy one.",
    ),
    ("stsb", "pcgrad"): (
        "explained",
        "differs from the paper's single-task score by a fraction of one sampling error: nothing was lost that had "
        "been won.",
    ),
}
"""Explanation of each number: a verdict and a sentence. Independent of the records."""
DROP = (
    "The paper's Figure 4 falls after about two epochs, comes back, and then does not improve. With a batch of every "
    f"task a step, one pass over its {TRAIN['qqp']:,} Quora pairs is {TRAIN['qqp'] / TRAIN['sst5']:.1f} passes over "
    f"SST-5 and {TRAIN['qqp'] / TRAIN['stsb']:.1f} over STS: small sets learned by heart are the best guess. Scores "
    "that come back do not look like that, and the paper gives no training scores: open. In a run of one's own, the "
    "doctor's findings uneven-epochs and overfit would tell."
)
"""Explanation of the paper's Figure 4. Independent of the records."""


@dataclass(frozen=True)
class Fit:
    """One of our numbers, compared to one of the paper's.

    :param name: the trivial rule or the suite that the number comes from.
    :param value: our number.
    :param error: standard error of the difference: the sampling of development rows, and the spread over our seeds.
    :param published: the paper's number.
    """

    name: str
    value: float
    error: float
    published: float

    @property
    def distance(self) -> float:
        """Absolute difference of the two numbers."""
        return abs(self.value - self.published)

    @property
    def fits(self) -> bool:
        """Whether the numbers differ by no more than :data:`WITHIN` standard errors."""
        return self.distance <= WITHIN * self.error


def table_2(study: StudyResult) -> list[Block]:
    """Return the paper's Table 2 next to our numbers, with an explanation of each cell.

    :param study: the suites of a results folder.
    :raises Unavailable: if no suite has a task of the paper.
    """
    parts = (*(rung.part for rung in study.rungs[:1]), *study.suites)
    selected = [part for part in parts if any(task.name in SCORES for task in part.cells.tasks)][:2]
    if not selected:
        raise Unavailable("No suite here has one of the paper's tasks: run mtlbench run --suite cs224n-small")
    tasks = {task.name: task for part in selected for task in part.cells.tasks if task.name in SCORES}
    cells = [(task, method) for task in tasks.values() for method in METHODS]
    columns = ("", "paper", *(part.suite for part in selected), "fits", "reading")
    rows = tuple(Row(_row(study, selected, task, method)) for task, method in cells)
    caption = [
        "The paper names no seeds; ours are means ± sample standard deviation over seeds.",
        f"Fits: a trivial rule, or the same method's score on a rung of the ladder, within {WITHIN:g} standard errors "
        "of the paper's number (sampling of development rows, and spread over our seeds). Our encoder is another one, "
        "and may fit by chance: a fit is a candidate, not a proof.",
    ]
    tuned = [f"{task.name} ({task.tuned_corpus})" for task in tasks.values() if task.tuned_corpus]
    caption += [f"† our encoder was tuned on this task's corpus before: {', '.join(tuned)}."] if tuned else []
    readings = tuple(
        f"{task.name} {METHODS[method]}, {number(SCORES[task.name][method])}: {': '.join(READINGS[task.name, method])}"
        for task, method in cells
    )
    return [
        Table("The paper's Table 2 beside ours", columns, (Section(None, rows),), tuple(caption)),
        Bullets("Cell by cell", readings),
        Paragraph(DROP),
    ]


def _row(study: StudyResult, parts: list[StudiedSuite], task: ScoredTask, method: str) -> tuple[str, ...]:
    mark = "†" if task.tuned_corpus else ""
    scores = [score_of(part, task.name, method) for part in parts]
    ours = [plus_minus(s.mean, s.std) + mark if s and s.mean is not None else ABSENT for s in scores]
    candidates = sorted(_candidates(study, task, method), key=lambda fit: (fit.distance, fit.name))
    fitting = [f"{fit.name} ({number(fit.value)})" for fit in candidates if fit.fits]
    name = f"{task.name} {task.primary}, {METHODS[method]}"
    return (
        name,
        number(SCORES[task.name][method]),
        *ours,
        "; ".join(fitting) or "nothing here",
        READINGS[task.name, method][0],
    )


def _candidates(study: StudyResult, task: ScoredTask, method: str) -> Iterator[Fit]:
    """Yield candidates for a number of the paper: trivial rules, and the method's scores on the rungs of the ladder."""
    published = SCORES[task.name][method]
    rules: dict[str, Fit] = {}
    rungs = [rung.part for rung in study.rungs]
    for part in study.parts:
        rows = rows_of(part, task.name)
        sampling = sampling_error(task.primary, published, rows) if rows else math.inf
        for floor in next((t.floors.get(t.primary, ()) for t in part.cells.tasks if t.name == task.name), ()):
            rules.setdefault(floor.name, Fit(floor.name, floor.value, sampling, published))
        score = score_of(part, task.name, method)
        if part in rungs and score and score.mean is not None:
            yield Fit(part.suite, score.mean, math.hypot(sampling, score.std or 0.0), published)
    yield from rules.values()


def sampling_error(metric: str, score: float, rows: int) -> float:
    """Return the standard error of a score that is due to the sampling of the development rows.

    :param metric: one of :data:`SAMPLED`.
    :param score: an accuracy p, whose standard error is √(p (1 − p) / N), or a correlation r, with (1 − r²) / √N.
    :param rows: the number N of rows.
    """
    return math.sqrt(score * (1.0 - score) / rows) if metric == "accuracy" else (1.0 - score**2) / math.sqrt(rows)


def score_of(part: StudiedSuite, task: str, method: str) -> Score | None:
    """Return a method's score on the primary metric of a task, or ``None`` if it has no cells.

    :param part: the suite.
    :param task: a task of the suite, by name.
    :param method: the name of the method, without parameters.
    """
    spec = part.cells.find(method)  # the spec of a tuned method has parameters
    return next((s for s in part.group.scores if (s.task, s.method) == (task, spec) and s.primary), None)


def rows_of(part: StudiedSuite, task: str) -> int:
    """Return the number of development rows of a task in a suite, or 0 if the suite lacks the task.

    :param part: the suite.
    :param task: the name of the task.
    """
    rows = next((record["tasks"][task]["dev"] for record in part.cells.records if task in record["tasks"]), 0)
    return int(rows)
