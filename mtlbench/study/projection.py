"""The paper's Figure 2: PCGrad's projection of a pair of gradients, computed by the method itself."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mtlbench.engine.library import weights
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure
from mtlbench.report.numbers import number, signed
from mtlbench.solvers.inner_products import cosines

Pair = NDArray[np.float64]
"""(2 tasks, 2 coordinates)."""
PAIRS = (np.array([[2.0, 0.4], [-0.9, 1.5]]), np.array([[2.0, 0.4], [0.5, 1.4]]))
"""A pair that conflicts, and a pair that does not."""
HEIGHT = 2.7
"""Height of the figure, in inches."""
SUM, PROJECTED, UPDATE = style.QUIET, style.PALETTE[1], style.PALETTE[0]


@dataclass(frozen=True)
class Projection:
    """A pair of gradients, its projection by PCGrad, and the update.

    :param gradients: (2, 2), a gradient per row.
    :param projected: (2, 2), the projected gradients.
    :param update: (2,), their sum.
    """

    gradients: Pair
    projected: Pair
    update: NDArray[np.float64]

    @property
    def cosine(self) -> float:
        """Cosine between the two gradients."""
        return float(cosines(self.gradients @ self.gradients.T)[0, 1])


def project(gradients: Pair) -> Projection:
    """Compute PCGrad's update of two gradients, and the projected gradients from its weights.

    The weights are the sums of the coordinates of both projected gradients. With two tasks, each gradient moves along
    the other gradient only: g₁ᴾᶜ = g₁ + (w₂ − 1) g₂, and vice versa.

    :param gradients: (2, 2), a gradient per row.
    """
    w = weights("pcgrad", gradients @ gradients.T)
    return Projection(gradients, gradients + (w[::-1, None] - 1.0) * gradients[::-1], w @ gradients)


def projection() -> Figure:
    """Return a figure of a pair that conflicts next to a pair that does not."""
    projections = [project(pair) for pair in PAIRS]
    apart, together = projections
    shrunk = float(np.linalg.norm(apart.update) / np.linalg.norm(apart.gradients.sum(axis=0)))
    return Figure(
        name="figure-2-projection",
        title="What PCGrad does to a pair of gradients",
        description=(
            f"Computed by the method that the grid trains with. Left, cosine {signed(apart.cosine, 2)}: each gradient "
            f"loses its part against the other, and the update is {number(shrunk, 2)} times as long as the plain sum. "
            f"Right, cosine {signed(together.cosine, 2)}: nothing is projected, and the update is the plain sum."
        ),
        draw=lambda: _draw(projections),
    )


def _draw(projections: list[Projection]) -> matplotlib.figure.Figure:
    figure, panels = style.sheet(HEIGHT, 1, 2, sharex=True, sharey=True)
    for panel, pair in zip(panels, projections, strict=True):
        panel.set_title(f"cosine {signed(pair.cosine, 2)}", fontweight="normal")
        panel.set_aspect("equal")
        panel.set_axis_off()
        points = np.vstack([g for p in projections for g in (p.gradients, p.projected, p.update[None])])
        panel.set_xlim(points[:, 0].min() - 0.3, points[:, 0].max() + 0.4)
        panel.set_ylim(min(points[:, 1].min(), 0.0) - 0.25, points[:, 1].max() + 0.3)
        _arrow(panel, pair.gradients.sum(axis=0), SUM, width=3.0)
        _arrow(panel, pair.update, UPDATE, width=1.6)
        for i, (gradient, projected) in enumerate(zip(pair.gradients, pair.projected, strict=True)):
            _arrow(panel, gradient, style.INK, width=1.2, label=f"g{'₁₂'[i]}")
            if not np.array_equal(gradient, projected):
                _arrow(panel, projected, PROJECTED, width=1.2, label=f"g{'₁₂'[i]}ᴾᶜ")
                panel.plot(*zip(gradient, projected, strict=True), color=style.QUIET, linewidth=0.7, linestyle=":")
    entries = {"task gradient": style.INK, "projected": PROJECTED, "plain sum": SUM, "PCGrad's update": UPDATE}
    style.legend(figure, [Line2D([], [], color=colour, label=label, linewidth=2) for label, colour in entries.items()])
    return figure


def _arrow(panel: Axes, tip: NDArray[np.float64], colour: str, width: float, label: str = "") -> None:
    """Draw an arrow from the origin, with its label beyond the tip."""
    panel.annotate(
        "", xy=tuple(tip), xytext=(0.0, 0.0),
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    if label:
        position = tip + 0.2 * tip / np.linalg.norm(tip)
        panel.text(float(position[0]), float(position[1]), label, color=colour, ha="center", va="center")
