"""Results of ``mtlbench toy``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mtlbench.contract.method import Method
from mtlbench.tasks.toy import Toy
from mtlbench.toy.trajectory import REACHED, Trajectory, reads_losses

CRITERION = f"reached: the last point is within {REACHED:g} of the Pareto set (near x2 = -8.4, |x1| <= 7)"


@dataclass(frozen=True)
class ToyResult:
    """Results of one call of ``mtlbench toy``.

    :param problem: the toy problem in one of its settings.
    :param steps: optimizer steps of each trajectory.
    :param lr: learning rate of Adam.
    :param methods: spec → method, for those that ran.
    :param skipped: spec → reason, for those that cannot run.
    :param trajectories: spec → one trajectory per start.
    """

    problem: Toy
    steps: int
    lr: float
    methods: dict[str, Method]
    skipped: dict[str, str]
    trajectories: dict[str, list[Trajectory]]

    @property
    def raised(self) -> bool:
        """Whether a method raised on some trajectory."""
        return any(
            trajectory.error is not None for trajectories in self.trajectories.values() for trajectory in trajectories
        )

    @property
    def notes(self) -> Iterator[str]:
        """What readers of the numbers need to know: the criterion, skipped methods, and errors."""
        yield CRITERION
        readers = [spec for spec, method in self.methods.items() if reads_losses(method)]
        if readers:
            bounds = " and ".join(f"{bound:g}" for bound in self.problem.bounds)
            yield f"given the losses above their lower bounds {bounds}, as FAMO's authors do: {', '.join(readers)}"
        for spec, reason in self.skipped.items():
            yield f"skipped {spec}: {reason}"
        for spec, trajectories in self.trajectories.items():
            for trajectory in trajectories:
                if trajectory.error is not None:
                    step, start = trajectory.steps + 1, point_text(trajectory.start)
                    yield f"{spec} raised in step {step} from {start}: {trajectory.error}"


def point_text(point: Any, digits: int = 1) -> str:
    """Return a point's coordinates as text.

    :param point: a sequence of numbers.
    :param digits: digits after the decimal point.
    """
    return ", ".join(f"{float(value):.{digits}f}" for value in point)
