"""How foreign code behaves: zero gradients, the tasks' order, random numbers, state, inputs, types and devices."""

from __future__ import annotations

import numpy as np
import torch

from mtlbench.check import robust
from mtlbench.check.families import normal, zero_rows
from mtlbench.check.foreign.borrowed import UNSEEDED, Examined, changed
from mtlbench.check.foreign.seeding import seeded
from mtlbench.check.result import Result, not_claimed, observed
from mtlbench.contract.observation import Matrix

CLOSE = 0.05
"""Largest relative difference that an iterative solver or a small constant in a denominator is taken to explain."""
SEEDS = {"torch": "torch.manual_seed", "numpy": "numpy.random.seed", "random": "random.seed"}


def matrices(examined: Examined, count: int, *, fewest_tasks: int = 2) -> list[Matrix]:
    """Return normal (K, P) matrices, always the same ones.

    :param examined: the foreign code.
    :param count: the number of matrices.
    :param fewest_tasks: the smallest K, if the code accepts it.
    """
    instances = examined.subject.instances(normal, 8 * count)
    fitting = [instance.rows for instance in instances if len(instance.losses) >= fewest_tasks]
    return fitting[:count]


def zero_gradient(examined: Examined, count: int) -> Result:
    """Check that the update is finite where the gradient of a task is zero.

    :param examined: the foreign code.
    :param count: the number of matrices.
    """
    for instance in examined.subject.instances(zero_rows, count):
        try:
            finite = bool(np.isfinite(examined.update(instance.rows)).all())
        except Exception as error:  # foreign code may raise anything
            return Result("zero gradient", False, f"raises where gradients are zero: {type(error).__name__}: {error}")
        if not finite:
            return Result("zero gradient", False, "gives NaN or infinity where the gradient of a task is zero")
    return Result("zero gradient", True, "finite where the gradient of a task is zero", None, count)


def order(examined: Examined, count: int) -> Result:
    """Check that permuting the tasks does not change the update; for random code, on average.

    :param examined: the foreign code.
    :param count: the number of matrices per family.
    """
    result = robust.order(examined.subject, count)
    if result.passed is not False:
        return result
    detail = f"the result depends on the order of the tasks: {result.detail}"
    if result.worst is not None and result.worst <= CLOSE and not examined.generators:
        return observed("order", f"nearly independent of the tasks' order: {result.detail}", result.worst)
    ours = examined.ours
    if ours is None:
        return observed("order", f"{detail}; give --as METHOD to hold it to a published method", result.worst)
    if robust.order(ours, count).passed is False:  # as with weights that are given task by task
        return observed("order", f"{detail}; so does that of {ours.spec}", result.worst)
    return Result("order", False, f"{detail}; that of {ours.spec} does not", result.worst, result.tried)


def generators(examined: Examined) -> Result:
    """State which global generators the code draws from.

    :param examined: the foreign code.
    """
    if UNSEEDED in examined.generators:
        return Result(
            "random numbers",
            False,
            "equal gradients and equal seeds of torch, numpy and random give different updates: it cannot be repeated",
        )
    if not examined.generators:
        return Result("random numbers", True, "draws from no global generator")
    names = " and ".join(examined.generators)
    seeds = " and ".join(SEEDS[name] for name in examined.generators)
    return observed(
        "random numbers",
        f"draws from the global generator of {names}: seed it with {seeds}; its draws shift all later "
        "ones, such as those of data loaders and dropout",
    )


def state(examined: Examined, count: int) -> Result:
    """Find out whether a call changes later ones.

    :param examined: the foreign code.
    :param count: the number of runs.
    """
    if UNSEEDED in examined.generators:
        return not_claimed("state", "cannot be told, as equal calls differ")
    for rows in matrices(examined, count):
        call = examined.make()
        first = examined.update(rows, 1, call)
        examined.update(rows[::-1] * 2.0 + 1.0, 2, call)
        if changed(first, examined.update(rows, 1, call), rows):
            detail = "keeps state between calls: the same gradients and seed give another update later in a run"
            if examined.claimed is not None and examined.claimed.state == "none":
                return Result("state", False, f"{detail}; {examined.claimed.name} keeps none")
            return observed("state", f"{detail}; save it in checkpoints")
    return Result("state", True, "keeps no state between calls", None, count)


def inputs(examined: Examined, count: int) -> Result:
    """Check that the code does not change what it is given.

    :param examined: the foreign code.
    :param count: the number of matrices.
    """
    if examined.shape.takes == "losses":
        return not_claimed("inputs", "is given losses, not gradients")
    for seed, rows in enumerate(matrices(examined, count)):
        given, call = torch.tensor(rows), examined.make()
        with seeded(seed):
            call(given, torch.ones(len(rows), dtype=torch.float64))
        if not torch.equal(given, torch.tensor(rows)):
            return Result("inputs", False, "changes the gradients that it is given in place: the caller's are lost")
        if examined.shape.takes == "list":
            kept = len(call.given) == len(rows) and all(
                isinstance(one, torch.Tensor) and torch.equal(one, row)
                for one, row in zip(call.given, given, strict=True)
            )
            if not kept:
                return Result("inputs", False, "changes the list that it is given: its order or its length")
    return Result("inputs", True, "leaves the gradients that it is given unchanged", None, count)


def precision(examined: Examined, count: int) -> Result:
    """Check that the update has the type of the gradients and is computed in it.

    :param examined: the foreign code.
    :param count: the number of matrices.
    """
    for rows in matrices(examined, count):
        losses = torch.ones(len(rows), dtype=torch.float64)
        for dtype in (torch.float64, torch.float32):
            given = torch.tensor(rows, dtype=dtype)
            try:
                with seeded(0):
                    update = examined.make()(given, losses)
            except Exception as error:  # foreign code may raise anything
                if any(isinstance(value, torch.Tensor) for value in examined.foreign.arguments.values()):
                    return not_claimed("precision", "cannot be told: an argument is a tensor of one type")
                return Result("precision", False, f"raises on gradients of {dtype}: {type(error).__name__}: {error}")
            if update.is_floating_point() and torch.finfo(update.dtype).bits > torch.finfo(dtype).bits:
                return observed("precision", f"gradients of {dtype}, update of {update.dtype}: convert it before use")
            if update.dtype != dtype:
                return Result("precision", False, f"loses the type: gradients of {dtype}, update of {update.dtype}")
        rounded = rows.astype(np.float32).astype(np.float64)
        if np.array_equal(examined.update(rows), examined.update(rounded)) and np.any(examined.update(rows)):
            return Result("precision", False, "rounds gradients of double precision to single precision inside")
    return Result("precision", True, "the update has the type of the gradients, single and double", None, count)


def device(examined: Examined, count: int, name: str) -> Result:
    """Check that the update lies on the device of the gradients.

    :param examined: the foreign code.
    :param count: the number of matrices.
    :param name: the device, such as ``cuda``; ``cpu`` cannot show anything.
    """
    if name == "cpu":
        return not_claimed("device", "not tested: no accelerator here")
    for rows in matrices(examined, count):
        try:
            with seeded(0):
                update = examined.make()(torch.tensor(rows).to(name), torch.ones(len(rows)).to(name))
        except Exception as error:  # foreign code may raise anything
            return Result("device", False, f"raises on gradients on {name}: {type(error).__name__}: {error}")
        if update.device.type != name:
            return Result("device", False, f"wrong device: gradients on {name}, update on {update.device.type}")
    return Result("device", True, f"gradients on {name}, update on {name}", None, count)
