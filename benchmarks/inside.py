"""Where the time of a step goes: surgery, the training loop, the floor of its arithmetic, and a profile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mtlbench.bench.contenders import Ours
from mtlbench.engine.packed import packed_engine as engine
from mtlbench.engine.packed.rows import GradientRows
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.text.batches import TaskData
from mtlbench.text.inputs import Inputs
from mtlbench.training.train import train

SURGERY = ((GradientRows, "gram"), (GradientRows, "combine"), (engine, "observe"), (engine, "ask_weights"))
"""Gram matrix, weights, weighted sum: what PCGrad adds to the sum's forward and backward."""


@contextmanager
def timed(places: Sequence[tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """Add up the seconds spent in some functions and methods while the block runs, by name."""
    spent = {name: 0.0 for _, name in places}
    before = [(place, name, getattr(place, name)) for place, name in places]
    for place, name, function in before:
        setattr(place, name, _counted(function, name, spent))
    try:
        yield spent
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def _counted(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.perf_counter() - begun

    return call


def surgery(contender: Ours, steps: Sequence[int]) -> dict[str, float]:
    """Return the median share of a packed step that is surgery, and the shares of its parts."""
    torch.use_deterministic_algorithms(True)
    shares = []
    for step in steps:
        with timed(SURGERY) as spent:
            begun = time.perf_counter()
            contender.step(step)
            whole = time.perf_counter() - begun
        shares.append({"all": sum(spent.values()) / whole, **{name: of / whole for name, of in spent.items()}})
    return {name: statistics.median(one[name] for one in shares) for name in shares[0]}


def traffic(tasks: int, numbers: int, times: int = 7) -> dict[str, float]:
    """Return the seconds that surgery's least traffic takes: K · P numbers read twice, P written.

    :param numbers: P, of what is not an embedding table.
    :returns: also the memory's speed in bytes a second, by adding two vectors of P numbers into a third.
    """
    one, other, into = torch.ones(numbers), torch.ones(numbers), torch.empty(numbers)
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        torch.add(one, other, out=into)
        seconds.append(time.perf_counter() - begun)
    speed = 3 * 4 * numbers / statistics.median(seconds)
    return {"seconds": 4 * (2 * tasks + 1) * numbers / speed, "bytes_per_second": speed}


def loop_share(steps: int, threads: int) -> dict[str, float]:
    """Train PCGrad as `mtlbench run` does; return the share of time outside forward, backward, surgery and AdamW."""
    torch.use_deterministic_algorithms(True)
    registry = load_registry()
    changes = {"model": "minilm", "steps": steps, "evaluations": 1, "threads": threads}
    workload = Workload.load("quick", load_suite("quick").recipe(changes), registry)
    places = (
        (Inputs, "forward"),
        (Inputs, "_packed"),
        (engine.PackedEngine, "_backward"),
        (torch.optim.AdamW, "step"),
        *SURGERY,
    )
    marks: list[tuple[float, dict[str, float]]] = []
    with timed(places) as spent:
        train(workload, registry.method("pcgrad"), 0, lambda *_: marks.append((time.perf_counter(), {**spent})))
    (begun, first), (ended, last) = marks[0], marks[-2]  # the last step also evaluates
    parts = {name: last[name] - first[name] for name in spent}
    packs = parts.pop("_packed")  # made before the forward, which finds them: the loop's own work
    whole = ended - begun
    return {"outside": 1.0 - sum(parts.values()) / whole, "packs": packs / whole, "steps": len(marks) - 2}


def tokens_of(data: Sequence[TaskData], step: int) -> dict[str, int]:
    """Return a step's real tokens, and the tokens with the padding that a plain sum adds."""
    batches = [one.batch(step)[0].lengths for one in data]
    return {
        "real": int(sum(lengths.sum() for lengths in batches)),
        "padded": int(sum(len(lengths) * lengths.max() for lengths in batches)),
    }


def floor(config: Any, data: Sequence[TaskData], steps: Sequence[int]) -> dict[str, Any]:
    """Return the time that a plain sum's matrix products over real tokens take at this machine's speed, by step.

    Per layer and token: 6 FLOPs a weight (forward, and gradients of inputs and weights); attention 12 · width FLOPs a
    pair of tokens of one sequence. The speed is that of the layers' own products, at the median number of tokens.
    """
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    counts = [tokens_of(data, step)["real"] for step in steps]
    speed = _speed(int(statistics.median(counts)), width, inner)
    seconds = []
    for step, count in zip(steps, counts, strict=True):
        pairs = sum(int((one.batch(step)[0].lengths ** 2).sum()) for one in data)
        flops = layers * (6 * (4 * width * width + 2 * width * inner) * count + 12 * width * pairs)
        seconds.append(flops / speed)
    return {"seconds": seconds, "flops_per_second": speed}


def _speed(tokens: int, width: int, inner: int) -> float:
    """Return FLOPs a second of the products of a layer: each shape forward, and both of its gradients."""
    total, work = 0.0, 0.0
    for inputs, outputs, times in ((width, width, 4), (width, inner, 1), (inner, width, 1)):
        x, w, dy = torch.randn(tokens, inputs), torch.randn(outputs, inputs), torch.randn(tokens, outputs)
        for left, right in ((x, w.T), (dy, w), (dy.T, x)):
            seconds = []
            for _ in range(7):
                begun = time.perf_counter()
                torch.mm(left, right)
                seconds.append(time.perf_counter() - begun)
            total += times * statistics.median(seconds)
            work += times * 2.0 * tokens * inputs * outputs
    return work / total


def profile(contender: Ours, step: int, most: int = 15) -> list[dict[str, Any]]:
    """Return the operators that a step's time goes to, the largest share first."""
    torch.use_deterministic_algorithms(True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        contender.step(step)
    averages: Any = found.key_averages()
    rows = sorted(averages, key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in rows)
    return [
        {
            "operator": row.key,
            "milliseconds": row.self_cpu_time_total / 1e3,
            "share": row.self_cpu_time_total / whole,
            "calls": row.count,
        }
        for row in rows[:most]
    ]
