"""The paper's Figure 3: the architecture, read from a model object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from torch import nn

from mtlbench.errors import UsageError
from mtlbench.plugins.registry import load_registry
from mtlbench.report.figures import style
from mtlbench.report.figures.figure import Figure
from mtlbench.study.parts import StudiedSuite
from mtlbench.text.encoder import Encoder
from mtlbench.text.model import MultiTaskModel

ROW, GAP = 0.56, 0.2
"""Height of a box and of the gap above it, in inches."""
SPLIT = {"cross": "two texts stand in one sequence", "apart": "two texts are two sequences, and their vectors joined"}


@dataclass(frozen=True)
class Box:
    """One part of the model, with its name, its shape and its number of parameters (0 for a part without any)."""

    name: str
    shape: str
    parameters: int

    @property
    def text(self) -> str:
        """The lines of text in the box."""
        return "\n".join([self.name, self.shape, *([f"{self.parameters:,} parameters"] if self.parameters else [])])


def build_model(part: StudiedSuite) -> MultiTaskModel:
    """Build the model that the cells of a suite start from.

    :param part: the suite, with its encoder and tasks.
    :raises UsageError: if the encoder or one of the tasks is not available, or the suite trains a problem.
    """
    if part.cells.problem is not None:
        raise UsageError(f"{part.suite} trains problem {part.cells.problem}: only encoders are drawn")
    registry, encoder = load_registry(), Encoder.parse(str(part.cells.encoder["spec"]))
    tasks = [registry.task(spec) for spec in part.cells.recipe["tasks"]]
    return MultiTaskModel(encoder, encoder.locate(), tasks, seed=0)


def architecture(part: StudiedSuite) -> Figure:
    """Return a figure of the model that the cells of a suite start from.

    :param part: the suite, with its encoder and tasks.
    :raises UsageError: as :func:`build_model`.
    """
    model = build_model(part)
    shared, heads = shared_boxes(model), head_boxes(model, [task.name for task in part.cells.tasks])
    total = sum(box.parameters for box in (*shared, *heads))
    head_total = sum(box.parameters for box in heads)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Figure(
        name="figure-3-architecture",
        title=f"The architecture as built, suite {part.suite}",
        description=(
            f"From the bottom: {'; '.join(f'{box.name} ({box.shape})' for box in shared)}; then a head per task: "
            f"{', '.join(f'{box.name} ({box.shape})' for box in heads)}. {total:,} parameters, "
            f"{head_total:,} of them in heads, {'all' if trained == total else f'{trained:,}'} trained; "
            f"{SPLIT[model.settings.pairs]}."
        ),
        draw=lambda: _draw(shared, heads),
    )


def shared_boxes(model: MultiTaskModel) -> list[Box]:
    """Return the boxes of the parts that all tasks share, from the texts upwards.

    :param model: a text model.
    """
    settings, config = model.settings, model.encoder.config
    marked = {"cross": "[CLS] text ([SEP] text) [SEP]", "apart": "[CLS] text [SEP]"}[settings.pairs]
    boxes = [Box("texts", "as the tokenizer marks them" if settings.pooling == "last" else marked, 0)]
    for name, child in model.encoder.named_children():
        if not _count(child):
            continue  # the encoder's own pooling layer, replaced by an identity
        stack = next((module for module in child.modules() if isinstance(module, nn.ModuleList)), None)
        if stack is None:
            boxes.append(Box(name, _shape(child, config), _count(child)))
        else:
            shape = f"width {config.hidden_size}, {config.num_attention_heads} attention heads"
            shape += f", LoRA of rank {settings.rank}" if settings.adapter is not None else ""
            boxes.append(Box(f"{len(stack)} Transformer layer{'s' * (len(stack) > 1)}", shape, _count(child)))
    poolings = {"cls": "the state of [CLS]", "mean": "the tokens' mean", "last": "the state of the last token"}
    boxes.append(Box("pooling", poolings[settings.pooling or "cls"], 0))
    layer = model.fine_tuning
    boxes.append(Box("fine-tuning layer", f"linear {layer.in_features} → {layer.out_features}, tanh", _count(layer)))
    return boxes


def _shape(part: nn.Module, config: Any) -> str:
    """Return the shape of a part beside the layers: tables of tokens, a table of positions, or a norm."""
    table = next((module for module in part.modules() if isinstance(module, nn.Embedding)), None)
    if table is None:
        return f"width {config.hidden_size}"
    rows = "tokens" if table.num_embeddings == config.vocab_size else "positions"
    return f"{table.num_embeddings:,} {rows} × {config.hidden_size}"


def head_boxes(model: MultiTaskModel, tasks: list[str]) -> list[Box]:
    """Return the boxes of the heads.

    :param model: a text model.
    :param tasks: the names of its tasks, in order.
    """
    return [
        Box(name, f"linear {head.in_features} → {head.out_features}", _count(head))
        for name, head in zip(tasks, model.heads, strict=True)
    ]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _draw(shared: list[Box], heads: list[Box]) -> matplotlib.figure.Figure:
    figure, (panel,) = style.sheet((len(shared) + 1) * (ROW + GAP) + 0.1)
    panel.set_axis_off()
    top = (len(shared) + 1) * (ROW + GAP) - GAP
    panel.set(xlim=(0.0, style.WIDTH), ylim=(-0.05, top + 0.05))
    left, width = 0.7, style.WIDTH - 1.4
    for row, box in enumerate(shared):
        _box(panel, box, left, row * (ROW + GAP), width, style.INK if box.parameters else style.QUIET)
        if row:
            _arrow(panel, style.WIDTH / 2, style.WIDTH / 2, row)
    wide = style.WIDTH / len(heads)
    for column, box in enumerate(heads):
        _box(panel, box, column * wide + 0.05, len(shared) * (ROW + GAP), wide - 0.1, style.PALETTE[column % 6])
        _arrow(panel, style.WIDTH / 2, (column + 0.5) * wide, len(shared))
    return figure


def _box(panel: Axes, box: Box, left: float, bottom: float, width: float, colour: str) -> None:
    panel.add_patch(
        FancyBboxPatch(
            (left, bottom), width, ROW, boxstyle="round,pad=0,rounding_size=0.06", facecolor="none", edgecolor=colour,
        )
    )  # fmt: skip
    panel.text(left + width / 2, bottom + ROW / 2, box.text, ha="center", va="center", fontsize=7.5, linespacing=1.4)


def _arrow(panel: Axes, start: float, end: float, row: int) -> None:
    """Draw an arrow up to a row from the one below."""
    panel.annotate(
        "", xy=(end, row * (ROW + GAP)), xytext=(start, row * (ROW + GAP) - GAP),
        arrowprops={"arrowstyle": "-|>", "color": style.QUIET, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
