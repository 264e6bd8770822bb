"""The conclusions that the records of a suite do not support, derived from the records."""

from __future__ import annotations

from mtlbench.records.groups import Record
from mtlbench.report.blocks import Bullets
from mtlbench.report.numbers import number
from mtlbench.study.paper import SAMPLED, rows_of, sampling_error, score_of
from mtlbench.study.parts import StudiedSuite


def limits(part: StudiedSuite) -> Bullets:
    """List the conclusions that a suite does not support.

    :param part: the suite.
    """
    record = next(iter(part.cells.done.values()), part.cells.records[0])
    items = [*_encoder(part), *_sampling(part), _training(part, record), *_time(part), _rates(part)]
    return Bullets("What cannot be concluded from it", tuple(items))


def _encoder(part: StudiedSuite) -> list[str]:
    """Name the encoder, and the tasks whose corpus it was tuned on; or the problem."""
    if part.cells.problem is not None:
        return [f"How methods compare on another problem than {part.group.encoder}."]
    items = [f"How methods compare with another encoder than {part.group.encoder}."]
    tuned = [task.name for task in part.cells.tasks if task.tuned_corpus]
    if tuned:
        items.append(f"How well {' and '.join(tuned)} was learned here: the encoder was tuned on its corpus before.")
    return items


def _sampling(part: StudiedSuite) -> list[str]:
    """Give the sampling error of every task, at the baseline's score."""
    errors = []
    for task in part.cells.tasks:
        score, rows = score_of(part, task.name, part.group.baseline or ""), rows_of(part, task.name)
        if score and score.mean is not None and task.primary in SAMPLED:
            errors.append(f"{number(sampling_error(task.primary, score.mean, rows))} on {task.name} ({rows:,} rows)")
    if not errors:
        return []
    return [
        f"Levels to less than the sampling error of the rows, which is {', '.join(errors)}, whatever the number of "
        "seeds. Differences between methods share their rows and are surer."
    ]


def _training(part: StudiedSuite, record: Record) -> str:
    """Give the length of the training, in steps and in passes over the training rows."""
    recipe, described = part.cells.recipe, record["tasks"]
    rows_read = record.get("seen") or dict.fromkeys(described, recipe["steps"] * recipe["batch_size"])
    passes = [f"{task.name} {rows_read[task.name] / described[task.name]['train']:.2g}" for task in part.cells.tasks]
    return (
        f"How methods compare after more than {recipe['steps']} steps, in which the training rows were passed over so "
        f"many times: {', '.join(passes)}."
    )


def _time(part: StudiedSuite) -> list[str]:
    """Compare the time of single-task training to that of the baseline."""
    seconds = {cost.method: cost.seconds_per_step for cost in part.group.costs if cost.seconds_per_step}
    alone = next((method for method in part.cells.single_task if method in seconds), None)
    baseline = part.group.baseline
    if alone is None or baseline not in seconds or baseline == alone:
        return []
    ratio, steps = seconds[alone] / seconds[baseline], part.cells.recipe["steps"]
    return [
        f"How single-task training compares at matched time: {alone} is matched in steps, and a step of all its models "
        f"takes {number(ratio, 2)} times as long as one of {baseline}, whose time is that of {steps / ratio:.0f} steps."
    ]


def _rates(part: StudiedSuite) -> str:
    """Say whether the methods had learning rates of their own."""
    if any((record["method"].get("parameters") or {}).get("base_lr") is not None for record in part.cells.records):
        return "How methods compare after more tuning than they had here."
    return f"How each method does at its own best learning rate: all had {part.cells.recipe['lr']:g}."
