"""What one call of ``mtlbench toy`` found: as a table for people, and as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtlbench.contract.method import Method
from mtlbench.host.provenance import environment
from mtlbench.host.terminal import printed
from mtlbench.tasks.toy import Toy
from mtlbench.toy.trajectory import REACHED, Trajectory, reads_losses

METHOD_WIDTH = 18
CRITERION = f"reached: the last point is within {REACHED:g} of the Pareto set (near x2 = -8.4, |x1| <= 7)"


@dataclass(frozen=True)
class ToyResult:
    """The problem, how it was run, and the trajectories of every method by its spec."""

    problem: Toy
    steps: int
    lr: float
    methods: dict[str, Method]
    skipped: dict[str, str]
    found: dict[str, list[Trajectory]]

    @property
    def raised(self) -> bool:
        """Whether a method raised on some trajectory."""
        return any(way.error is not None for ways in self.found.values() for way in ways)

    @property
    def notes(self) -> Iterator[str]:
        """What a reader of the numbers must know beside them."""
        yield CRITERION
        told = [spec for spec, method in self.methods.items() if reads_losses(method)]
        if told:
            low = " and ".join(f"{bound:g}" for bound in self.problem.bounds)
            yield f"told the losses above their lower bounds {low}, as FAMO's authors do: {', '.join(told)}"
        for spec, reason in self.skipped.items():
            yield f"skipped {spec}: {reason}"
        for spec, ways in self.found.items():
            for way in ways:
                if way.error is not None:
                    yield f"{spec} raised in step {way.steps + 1} from {_point(way.start)}: {way.error}"


def as_text(outcome: ToyResult, *, width: int, color: bool) -> str:
    """Return the table and its notes; plain in a pipe, the same characters with colour on a terminal."""

    def show(console: Console) -> None:
        constants = outcome.problem.constants
        scale = "" if constants.scale == 1.0 else f", first loss times {constants.scale:g}"
        title = f"Toy problem, setting {outcome.problem.setting}{scale}: Adam, lr {outcome.lr:g}, {outcome.steps} steps"
        console.print(Text(title, style="bold"), "", sep="\n")
        console.print(_table(outcome))
        console.print()
        for note in outcome.notes:
            console.print(Text(note))

    return printed(show, width=width, color=color)


def _table(outcome: ToyResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("method", overflow="fold", max_width=METHOD_WIDTH)
    for name in ("start", "end", "loss 1", "loss 2", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("reached", no_wrap=True)
    for spec, ways in outcome.found.items():
        for number, way in enumerate(ways):
            numbers = [f"{value:.3f}" for value in (*way.losses, way.losses.mean())]
            told = "raised" if way.error is not None else "yes" if way.reached else "no"
            table.add_row(
                Text(spec if number == 0 else ""),
                _point(way.start),
                _point(way.path[-1], digits=3),
                *numbers,
                Text(told, style="" if way.reached else "bold red"),
                end_section=number == len(ways) - 1,
            )
    return table


def _point(point: Any, digits: int = 1) -> str:
    return ", ".join(f"{float(value):.{digits}f}" for value in point)


def as_data(outcome: ToyResult) -> dict[str, Any]:
    """Return settings, versions, and every end point, as plain data."""
    return {
        "problem": {"setting": outcome.problem.setting, **asdict(outcome.problem.constants)},
        "steps": outcome.steps,
        "lr": outcome.lr,
        "optimizer": "Adam",
        "criterion": CRITERION,
        "methods": [
            {
                "spec": spec,
                "parameters": method.parameters,
                "told_losses_above": outcome.problem.bounds.tolist() if reads_losses(method) else None,
                "trajectories": [_way(way) for way in outcome.found[spec]],
            }
            for spec, method in outcome.methods.items()
        ],
        "skipped": [{"spec": spec, "reason": reason} for spec, reason in outcome.skipped.items()],
        **environment(),
    }


def _way(way: Trajectory) -> dict[str, Any]:
    return {
        "start": list(way.start),
        "end": way.path[-1].tolist(),
        "losses": way.losses.tolist(),
        "mean_loss": float(way.losses.mean()),
        "distance": way.distance,
        "reached": way.reached,
        "steps": way.steps,
        "error": way.error,
    }
