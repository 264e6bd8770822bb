"""A cell of the map is the cell that the ordinary trainer trains, and that a plain loop trains: in float64, to 1e-9."""

from __future__ import annotations

import pytest
from ordinary import Cells, distance, looped_weights

from mtlbench import UsageError
from mtlbench.map.agreement import batched_weights, disagreements, ordinary_weights
from mtlbench.map.cells import Column, Setting

METHODS = (
    "sum", "pcgrad", "cagrad", "mgda", "nash-mtl", "imtl-g", "aligned-mtl", "gradnorm", "famo", "uw", "si", "rlw",
    "upgrad", "dwa", "imtl-l", "fairgrad",
)  # fmt: skip
"""What reads losses or gradients, keeps state, draws, clips, reads losses after the step, and has heads of any kind."""
CONTROLS = (
    Column("sum", 0.02, weights=(0.3, 1.7)),
    Column("sum", 0.02, single=0),
    Column("sum", 0.02, single=1),
)
TWO = [*(Column(method, 0.01 if number % 2 else 0.03) for number, method in enumerate(METHODS)), *CONTROLS]
FOUR = [Column(method, 0.02) for method in ("sum", "pcgrad", "mgda", "nash-mtl", "famo")]
LOOPED = [Column(method, 0.05) for method in ("sum", "mgda", "nash-mtl", "uw")] + [
    Column("sum", 0.05, weights=(0.3, 1.7)),
    Column("sum", 0.05, step_rule="unit"),
    Column("sum", 0.05, weights=(0.3, 1.7), step_rule="unit"),
    Column("sum", 0.05, step_rule="log"),
    Column("sum", 0.05, weights=(0.3, 1.7), step_rule="log"),
    Column("sum", 0.05, single=1),
]
SEEDS = [0, 5]
TOLERANCE = 1e-9


def label(column: Column) -> str:
    """Return a test's name."""
    parts = [column.method, column.weights and "fixed", column.step_rule, column.single]
    return "-".join(str(part) for part in parts if part is not None and part != "plain")


@pytest.fixture(scope="module")
def two() -> tuple[list[Setting], Cells]:
    settings = [Setting(steps=50, loss_ratio=10.0), Setting(steps=50, noise_ratio=9.0, relatedness=0.0)]
    return settings, batched_weights(settings, SEEDS, TWO)


@pytest.fixture(scope="module")
def four() -> tuple[list[Setting], Cells]:
    settings = [Setting(tasks=4, width=3, rows=100, batch=16, steps=50, loss_ratio=0.1, speed_ratio=4.0)]
    return settings, batched_weights(settings, SEEDS, FOUR)


@pytest.fixture(scope="module", params=["adam", "sgd", "momentum"])
def looped(request: pytest.FixtureRequest) -> tuple[list[Setting], Cells]:
    settings = [Setting(steps=50, loss_ratio=3.0, conditioning=30.0, optimizer=request.param)]
    return settings, batched_weights(settings, SEEDS, LOOPED)


@pytest.mark.parametrize("position", range(len(TWO)), ids=[label(column) for column in TWO])
def test_a_cell_is_that_of_the_ordinary_trainer(two: tuple[list[Setting], Cells], position: int) -> None:
    settings, found = two
    which, seed = position % 2, position // 2 % 2
    expected = ordinary_weights(settings[which], TWO[position], SEEDS[seed])
    assert distance(found[which, seed, position], expected) < TOLERANCE
    assert distance(found[which, 1 - seed, position], expected) > 0.01


@pytest.mark.parametrize("position", range(len(FOUR)), ids=[label(column) for column in FOUR])
def test_so_is_one_of_four_tasks(four: tuple[list[Setting], Cells], position: int) -> None:
    settings, found = four
    assert distance(found[0, 1, position], ordinary_weights(settings[0], FOUR[position], SEEDS[1])) < TOLERANCE


@pytest.mark.parametrize("position", range(len(LOOPED)), ids=[label(column) for column in LOOPED])
def test_a_cell_is_that_of_a_plain_loop_with_surgery(looped: tuple[list[Setting], Cells], position: int) -> None:
    settings, found = looped
    assert distance(found[0, 0, position], looped_weights(settings[0], LOOPED[position], SEEDS[0])) < TOLERANCE


def test_disagreements_are_those_of_the_networks_and_need_something_to_compare_with() -> None:
    setting = Setting(steps=5)
    assert max(disagreements(setting, 1, [Column("mgda", 0.01), Column("sum", 0.01, single=1)])) < TOLERANCE
    assert 1e-12 < disagreements(setting, 1, [Column("mgda", 0.01)], "float32")[0] < 1e-4
    with pytest.raises(UsageError, match="the ordinary trainer has Adam and no step rules"):
        disagreements(setting, 1, [Column("sum", 0.01, step_rule="log")])
    with pytest.raises(UsageError, match="the ordinary trainer has Adam"):
        disagreements(Setting(optimizer="sgd", steps=5), 1, [Column("sum", 0.01)])
