"""Results of ``mtlbench toy`` as a table and as plain data for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.host.provenance import environment
from mtlbench.host.terminal import printed
from mtlbench.toy.result import CRITERION, ToyResult, point_text
from mtlbench.toy.trajectory import Trajectory, reads_losses

METHOD_WIDTH = 18


def as_text(result: ToyResult, *, width: int, color: bool) -> str:
    """Return the table and its notes.

    :param width: columns of the terminal.
    :param color: whether to add terminal escapes; the characters are the same without.
    """

    def show(console: Console) -> None:
        constants = result.problem.constants
        scale = "" if constants.scale == 1.0 else f", first loss times {constants.scale:g}"
        title = f"Toy problem, setting {result.problem.setting}{scale}: Adam, lr {result.lr:g}, {result.steps} steps"
        console.print(Text(title, style="bold"), "", sep="\n")
        console.print(_table(result))
        console.print()
        for note in result.notes:
            console.print(Text(note))

    return printed(show, width=width, color=color)


def _table(result: ToyResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold", max_width=METHOD_WIDTH)
    for name in ("start", "end", "loss 1", "loss 2", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reached", no_wrap=True)
    for spec, trajectories in result.trajectories.items():
        for number, trajectory in enumerate(trajectories):
            losses = [f"{value:.3f}" for value in (*trajectory.losses, trajectory.losses.mean())]
            outcome = "raised" if trajectory.error is not None else "yes" if trajectory.reached else "no"
            table.add_row(
                Text(spec if number == 0 else ""),
                point_text(trajectory.start),
                point_text(trajectory.path[-1], digits=3),
                *losses,
                Text(outcome, style="" if trajectory.reached else "bold red"),
                end_section=number == len(trajectories) - 1,
            )
    return table


def as_data(result: ToyResult) -> dict[str, Any]:
    """Return settings, end points, versions and machine as plain data."""
    return {
        "problem": {"setting": result.problem.setting, **asdict(result.problem.constants)},
        "steps": result.steps,
        "lr": result.lr,
        "optimizer": "Adam",
        "criterion": CRITERION,
        "methods": [
            {
                "spec": spec,
                "parameters": method.parameters,
                "told_losses_above": result.problem.bounds.tolist() if reads_losses(method) else None,
                "trajectories": [_trajectory_data(trajectory) for trajectory in result.trajectories[spec]],
            }
            for spec, method in result.methods.items()
        ],
        "skipped": [{"spec": spec, "reason": reason} for spec, reason in result.skipped.items()],
        **environment(),
    }


def _trajectory_data(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "start": list(trajectory.start),
        "end": trajectory.path[-1].tolist(),
        "losses": trajectory.losses.tolist(),
        "mean_loss": float(trajectory.losses.mean()),
        "distance": trajectory.distance,
        "reached": trajectory.reached,
        "steps": trajectory.steps,
        "error": trajectory.error,
    }
