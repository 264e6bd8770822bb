"""What ``mtlbench run`` prints before it starts: the workload, warnings, and the state of every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape

from mtlbench.execute.placement import Placement
from mtlbench.host.terminal import console, duration
from mtlbench.plan.cells import Cell, Workload
from mtlbench.records.store import FolderContents


def introduce(workload: Workload, cells: Sequence[Cell], todo: Sequence[Cell], placement: Placement) -> None:
    """Print the plan of a run: cells, steps, model, tasks and warnings.

    :param cells: all cells of the grid.
    :param todo: those that are still to be trained.
    """
    recipe = workload.recipe
    room = placement.room(recipe)
    console.print(
        f"[bold]suite {escape(workload.suite)}[/]: {len(cells)} cells, {len(cells) - len(todo)} done, "
        f"{len(todo)} to run; {workload.steps} steps of {len(workload.tasks)} × {recipe.batch_size} rows; "
        f"{'' if room is None else f'{room} jobs × '}{recipe.threads} threads, {placement.executor}"
    )
    console.print(f"model {escape(workload.files.title)}, SHA-256 {workload.files.fingerprint[:12]}")
    if workload.encoder.pooling == "last":
        console.print("a text's vector is the state of its last token (pooling=last)", highlight=False)
    for task, splits in zip(workload.tasks, workload.splits, strict=True):
        skipped = splits.train.skipped + splits.dev.skipped
        note = f"; {skipped} rows without text or label left out" if skipped else ""
        console.print(
            f"task {escape(task.spec)}: {len(splits.train)} train, {len(splits.dev)} dev, "
            f"{escape(splits.source)}{note}",
            highlight=False,
        )
        if task.corpus in workload.files.tuned_on:
            console.print(
                f"[yellow]the model was tuned on {task.corpus}: {escape(task.key)} scores are not comparable "
                "to those of other models[/]"
            )
    for warning in [placement.note(recipe), *_lowered(workload)]:
        if warning:
            console.print(f"[yellow]{escape(warning)}[/]")


def _lowered(workload: Workload) -> Iterator[str]:
    """Yield a warning for each recipe field that exceeds its maximum and is lowered to it."""
    recipe, longest = workload.recipe, workload.files.longest
    if recipe.max_length > longest:
        yield f"max_length {recipe.max_length} lowered to {longest}: the model has no more positions"
    if recipe.evaluations > workload.steps:
        yield f"evaluations {recipe.evaluations} lowered to {workload.steps}: one after every step"


def print_plan(cells: Sequence[Cell], todo: Sequence[Cell], contents: FolderContents, jobs: int) -> None:
    """Print the state of every cell, and the estimated time if records of the same group show how long a cell takes.

    :param cells: all cells of the grid.
    :param todo: those that are still to be trained.
    :param contents: records of the results folder.
    :param jobs: cells that run at a time.
    """
    states = contents.status()
    waiting = {cell.key for cell in todo}
    for cell in cells:
        state = "done"
        if cell.key in waiting:
            state = {"done": "run again", "failed": "failed, run again"}.get(states.get(cell.key, ""), "to run")
        console.print(f"{escape(cell.title)}: {state}", highlight=False)
    groups = {cell.group for cell in cells}
    done = [record for record in contents.records if record["group"] in groups and record["status"] == "done"]
    seconds = [record["seconds"] for record in done if record["seconds"] is not None]
    if seconds and todo:
        console.print(f"estimated time: {duration(sum(seconds) / len(seconds) * len(todo) / min(jobs, len(todo)))}")
