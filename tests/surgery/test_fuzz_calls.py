"""Random calls of the library, right and wrong arguments mixed: a finite result, or one line of our own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fault_cases import NAMES, OURS, but, freed, gradients, infinite_slope, same
from library_cases import TASKS, Biggest, Named, Signs, Toy
from torch import nn

from mtlbench import Surgery, TaskGradients, backward

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    2,
    -1,
    2.5,
    float("nan"),
    10**30,
    "x",
    "",
    b"x",
    1j,
    np.int64(2),
    object(),
]
JUNK: list[Any] = [
    *SCALARS,
    [],
    {},
    [[]],
    (),
    [None],
    ["a", 1],
    {"a": None},
    np.zeros(3),
    torch.zeros(()),
    torch.zeros(3),
    torch.zeros(2, 2),
    nn.Linear,
    len,
    range(3),
]
METHODS = [
    "pcgrad",
    "mgda",
    "gradnorm[parameters_of=shared]",
    "gradnorm",
    "sum",
    "rlw",
    "famo",
    "uw",
    "moco",
    "sdmgrad",
]
Draw = random.Random


def one(draw: Draw, right: list[Any], wrong: float = 0.15) -> Any:
    """Return a right argument, or now and then anything."""
    return draw.choice(JUNK if draw.random() < wrong else right)


def shared_of(draw: Draw, toy: Toy) -> Any:
    named = dict(toy.trunk.named_parameters())
    right = [toy.trunk, toy.shared, [toy.trunk[0], toy.trunk[2]], named, list(named.items()), iter(toy.shared), toy]
    return one(draw, [*right, [toy.trunk[0], draw.choice(JUNK)], toy.trunk[2], toy.heads, toy.losses()], 0.1)


def losses_of(draw: Draw, toy: Toy) -> Any:
    def stacked() -> Any:
        return torch.stack(toy.losses())

    right: list[Callable[[], Any]] = [toy.losses] * 6
    right += [stacked, lambda: dict(zip(NAMES, toy.losses(), strict=True)), lambda: iter(toy.losses())]
    near: list[Callable[[], Any]] = [
        lambda: but(toy, lambda loss: draw.choice(JUNK)),
        lambda: but(toy, lambda loss: loss * draw.choice([0.0, -1.0, torch.nan, torch.inf, 1e300])),
        lambda: but(toy, lambda loss: loss.to(draw.choice([torch.float16, torch.complex64, torch.int64]))),
        lambda: but(toy, lambda loss: loss.expand(draw.choice([(1,), (1, 1), (2,), (0,)]))),
        lambda: but(toy, lambda loss: loss + infinite_slope(toy.trunk[2].bias)),
        lambda: but(toy, lambda loss: loss + infinite_slope(toy.heads[1].weight)),
        lambda: but(toy, lambda loss: loss + nn.Parameter(torch.ones(()))),
        lambda: [*toy.losses()[:2], None],
        lambda: toy.losses()[: draw.randrange(TASKS)],
        lambda: [loss for loss in toy.losses() for _ in range(2)],
        lambda: dict(zip(draw.sample([*NAMES, "d", 1, None], TASKS), toy.losses(), strict=True)),
        lambda: freed(toy),
        lambda: sum(toy.losses()),
        lambda: toy.trunk(toy.inputs),
        lambda: draw.choice(JUNK),
    ]
    return draw.choice(near if draw.random() < 0.4 else right)()


def options_of(draw: Draw, toy: Toy) -> dict[str, Any]:
    """Return some arguments of Surgery(...)."""
    choices: dict[str, list[Any]] = {
        "tasks": [TASKS, NAMES, tuple(NAMES), None, np.int64(TASKS)],
        "heads": [toy.heads, list(toy.heads), None, dict(zip(NAMES, toy.heads, strict=True)), toy.heads[:2]],
        "gram_of": [None, "shared", "last_shared_layer", "representation"],
        "last_shared_layer": [toy.trunk[2], list(toy.trunk[2].parameters()), None, toy.trunk[1]],
        "renew_every": [1, 2, 3],
        "accumulate": [1, 2],
        "skip_zero_rows": [False, True],
        "data_parallel": ["auto", False],
        "scaler": [None, torch.amp.GradScaler("cpu", enabled=False)],
    }
    return {name: one(draw, right) for name, right in choices.items() if draw.random() < 0.25}


def method_of(draw: Draw) -> Any:
    return one(draw, [*METHODS, *METHODS, Named(), Biggest(), Signs(), Named, "pc-grad"], 0.05)


def step_options(draw: Draw, toy: Toy) -> dict[str, Any]:
    further = [(), [toy.losses(), toy.losses()], (toy.losses() for _ in range(2)), [toy.losses(), toy.losses()[:2]]]
    choices: dict[str, list[Any]] = {"representation": [None, toy.trunk(toy.inputs)], "further": further}
    return {name: one(draw, right) for name, right in choices.items() if draw.random() < 0.3}


def one_line(error: BaseException) -> None:
    assert "\n" not in str(error)


def use_surgery(draw: Draw, toy: Toy) -> None:
    """Create a surgery and do a few random things with it; a fault of one call must not disturb the next."""
    surgery = Surgery(shared_of(draw, toy), method_of(draw), **options_of(draw, toy))
    for _ in range(4):
        before, act = gradients(toy), draw.choice(["step", "step", "step", "after", "load", "close", "save"])
        try:
            if act == "step":
                loss = surgery.loss(losses_of(draw, toy), **step_options(draw, toy))
                before = []
                loss.backward(**draw.choice([{}, {}, {"retain_graph": True}, {"create_graph": True}]))
            elif act == "after":
                surgery.after_step(losses_of(draw, toy))
            elif act == "load":
                state = surgery.state_dict()
                if draw.random() < 0.5:
                    state[draw.choice(list(state))] = draw.choice(JUNK)
                surgery.load_state_dict(one(draw, [state]))
            elif act == "close":
                surgery.close()
            else:
                surgery.state_dict()
        except OURS as error:
            one_line(error)
            if before:
                same(gradients(toy), before)


def use_functions(draw: Draw, toy: Toy) -> None:
    backward(losses_of(draw, toy), method_of(draw), shared_of(draw, toy), **step_options(draw, toy))
    toy.zero_grad()
    actual = TaskGradients(losses_of(draw, toy), shared_of(draw, toy))
    function = draw.choice([actual.combine, actual.backward])
    function(one(draw, [[1.0] * TASKS, np.ones(TASKS), torch.ones(TASKS, requires_grad=True), range(TASKS), [1.0]]))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about create_graph=True
@pytest.mark.parametrize("examples", [300, pytest.param(10000, marks=pytest.mark.slow)])
def test_random_calls(examples: int) -> None:
    faults, model = 0, Toy().state_dict()
    toy = Toy()
    for seed in range(examples):
        draw = random.Random(seed)
        toy.load_state_dict(model)
        toy.zero_grad()
        try:
            draw.choice([use_surgery, use_surgery, use_functions])(draw, toy)
        except OURS as error:
            one_line(error)
            faults += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        for module in toy.modules():
            vars(module).pop("forward", None)
        assert all(g is None or bool(g.isfinite().all()) for g in gradients(toy)), f"seed {seed}"
    assert 0.2 * examples < faults < 0.8 * examples
