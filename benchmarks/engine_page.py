"""The page of benchmarks/engine.py: reads its JSON, prints Markdown."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Seconds = dict[str, list[float | None]]
Bar = tuple[str, str, float, str, bool]
"""What, where, the figure, the bar in words, and whether it is met."""

OURS, PLAIN, SUM = "packed pcgrad", "plain", "packed sum"
TITLES = {
    "plain": "plain sum: Hugging Face, padded, a backward a task",
    "published": "PCGrad, published way: K graphs kept, flatten, project",
    "torchjd": "PCGrad, TorchJD",
    "loop pcgrad": "PCGrad, engine=loop",
    "packed sum": "sum, engine=packed",
    "packed pcgrad": "PCGrad, engine=packed",
    "lean pcgrad": "PCGrad, engine=lean",
}


def ratio(seconds: Seconds, one: str, other: str) -> float | None:
    """Return the median over rounds of one contender's time by another's; ``None`` if they never ran together."""
    pairs = zip(seconds.get(one, []), seconds.get(other, []), strict=False)
    found = [a / b for a, b in pairs if a is not None and b is not None]
    return statistics.median(found) if found else None


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of what is there."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def configurations(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parts that timed all contenders, by name."""
    return {name: part for name, part in data.items() if isinstance(part, dict) and "tokens" in part}


def bars(data: dict[str, Any]) -> Iterator[Bar]:
    """Yield every figure that has a bar."""
    for name, part in configurations(data).items():
        seconds = part["seconds"]
        for what, one, other, most, least in (
            ("PCGrad ÷ plain sum", OURS, PLAIN, 0.65, None),
            ("PCGrad ÷ sum, both packed", OURS, SUM, 1.10, None),
            ("TorchJD ÷ PCGrad", "torchjd", OURS, None, 4.0),
            ("published way ÷ PCGrad", "published", OURS, None, 5.0),
        ):
            value = ratio(seconds, one, other)
            if value is None:
                continue
            if most is not None:
                yield what, name, value, f"≤ {most:.2f}", value <= most
            elif least is not None:
                yield what, name, value, f"≥ {least:.0f}", value >= least
        if "surgery" in part:
            share = part["surgery"]["all"]
            yield "surgery (Gram, weights, combination), % of the step", name, 100 * share, "≤ 5", share <= 0.05
    for count, found in _memory(data).items():
        if {"plain", "lean pcgrad"} <= set(found):
            value = found["lean pcgrad"] / found["plain"]
            where = f"MiniLM-L6, {count} tasks × 8"
            yield "peak memory, lean PCGrad ÷ plain sum", where, value, "≤ 1.25", value <= 1.25
    for title, seconds in data.get("growth", {}).items():
        value = ratio(seconds, "24 tasks, auto", "3 tasks, auto")
        if value is not None:
            yield "PCGrad at 24 tasks ÷ at 3, the same rows", f"MiniLM-L6, {title}", value, "≤ 1.30", value <= 1.3
    if "loop" in data:
        share = data["loop"]["outside"]
        what = "training loop outside forward, backward, surgery, AdamW, %"
        yield what, "MiniLM-L6, batch 8", 100 * share, "≤ 5", share <= 0.05


def page(data: dict[str, Any]) -> str:
    """Return the page."""
    found = list(bars(data))
    lines = ["# What a step costs", "", *_introduction(data), ""]
    if found:
        lines.append(f"{sum(one[-1] for one in found)} of {len(found)} figures meet their bar.")
        lines += _table(("figure", "where", "measured", "bar", "met"), [_bar(one) for one in found], right=(2,))
        lines += _below_floor(data)
    for name, part in configurations(data).items():
        lines += _configuration(name, part)
    lines += _growth(data) + _memory_part(data) + _variants(data)
    for name, part in configurations(data).items():
        lines += _inside(name, part)
    if data["errors"]:
        lines += ["", "## Not measured", "", *(f"- {name}: {reason}" for name, reason in data["errors"].items())]
    return "\n".join(lines) + "\n"


def _introduction(data: dict[str, Any]) -> list[str]:
    machine, versions = data["machine"], data["versions"]
    threads = f"{data['threads']} thread{'s' if data['threads'] > 1 else ''}"
    return [
        "Made by `make bench`: whole optimizer steps with fused AdamW, three tasks unless said otherwise. Contenders",
        "take turns in one process, on the same batches; medians, and medians of ratios within a round. Peers run as",
        "they come, ours with the deterministic kernels of `mtlbench run`.",
        f"{data['data'][0].upper()}{data['data'][1:]}; {threads}; {machine['processor']};",
        f"Python {versions['python']}, torch {versions['torch']}, transformers {versions['transformers']}.",
        *(["A quick run: too few steps for numbers to go by."] if data["quick"] else []),
    ]


def _bar(one: Bar) -> list[str]:
    what, where, value, bar, met = one
    return [what, where, f"{value:.2f}", bar, "yes" if met else "**no**"]


def _below_floor(data: dict[str, Any]) -> Iterator[str]:
    """Say where a fifth of the published way's time is less than the matrix products of the step alone.

    The floor was measured at a model's batch of 8; that of other batches is as many times as long as they have tokens.
    """
    parts = configurations(data)
    for name, part in parts.items():
        model = name.partition(",")[0]
        known = [one for other, one in parts.items() if other.startswith(f"{model},") and "floor" in one]
        published = median(part["seconds"].get("published", []))
        if not known or published is None:
            continue
        tokens, before = (statistics.median(one["real"] for one in of["tokens"]) for of in (part, known[0]))
        floor = (median(known[0]["floor"]["seconds"]) or 0.0) * tokens / before
        if published / 5 < floor:
            yield ""
            yield f"A bar below the floor: a fifth of the published way on {name} is {1e3 * published / 5:.0f} ms,"
            yield f"and the matrix products of a plain sum over its tokens alone take {1e3 * floor:.0f} ms here."


def _configuration(name: str, part: dict[str, Any]) -> list[str]:
    seconds: Seconds = part["seconds"]
    rows = []
    for contender, of in seconds.items():
        typical, by_plain = median(of), ratio(seconds, contender, PLAIN)
        rounds = sum(value is not None for value in of)
        cells = ["-" if typical is None else f"{1e3 * typical:.0f}", "-" if by_plain is None else f"{by_plain:.2f}"]
        rows.append([TITLES[contender], *cells, str(rounds)])
    real = statistics.median(one["real"] for one in part["tokens"])
    padded = statistics.median(one["padded"] for one in part["tokens"])
    about = f"A step has {real:.0f} tokens, {padded:.0f} when each task pads to its longest row."
    return ["", f"## {name}", "", about, *_table(("contender", "ms", "÷ plain", "rounds"), rows, right=(1, 2, 3))]


def _growth(data: dict[str, Any]) -> list[str]:
    rows = [
        [title, contender, f"{1e3 * (median(of) or 0.0):.0f}"]
        for title, seconds in data.get("growth", {}).items()
        for contender, of in seconds.items()
    ]
    head = ["", "## PCGrad at more tasks, MiniLM-L6, the same rows"]
    return [*head, *_table(("rows", "tasks, engine", "ms"), rows, right=(2,))] if rows else []


def _memory(data: dict[str, Any]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for one in data.get("memory", []):
        found.setdefault(one["tasks"], {})[one["name"]] = one["peak"]
    return found


def _memory_part(data: dict[str, Any]) -> list[str]:
    names = ("plain", "plain, one backward", "lean pcgrad")
    rows = [
        [str(count), *(f"{found[name] / 1e6:.0f}" if name in found else "-" for name in names)]
        for count, found in _memory(data).items()
    ]
    if not rows:
        return []
    about = [
        "The most resident memory of a process of its own while it takes steps, libraries (about 0.4 GB) and model",
        "included; MiniLM-L6, 8 rows a task. The plain sum keeps one task's graph at a time, with one backward all K.",
    ]
    columns = ("tasks", "plain sum, MB", "plain sum with one backward, MB", "lean PCGrad, MB")
    return ["", "## Peak memory", "", *about, *_table(columns, rows, (0, 1, 2, 3))]


def _variants(data: dict[str, Any]) -> list[str]:
    rows = [
        [one["call"], str(one["chunk"]), f"{1e3 * one['seconds']:.0f}" if "seconds" in one else one["error"]]
        for one in data.get("torchjd variants", [])
    ]
    head = ["", "## Ways to call TorchJD, MiniLM-L6, batch 8", "", "The fastest is the one measured everywhere."]
    return [*head, *_table(("function", "chunk size", "ms"), rows, right=(1, 2))] if rows else []


def _inside(name: str, part: dict[str, Any]) -> list[str]:
    if "floor" not in part:
        return []
    floor, seconds = part["floor"], part["seconds"]
    against: Seconds = {**seconds, "floor": floor["seconds"]}
    shares = {key: 100 * share for key, share in part["surgery"].items()}
    distances = [
        f"{TITLES[one]} {value:.2f}"
        for one in (SUM, OURS, PLAIN)
        if (value := ratio(against, one, "floor")) is not None
    ]
    lines = [
        "",
        f"## Where the time goes: {name}",
        "",
        "Floor: the matrix products of a plain sum over real tokens, at the speed that products of these shapes reach",
        f"here, {floor['flops_per_second'] / 1e9:.0f} GFLOP/s: {1e3 * (median(floor['seconds']) or 0.0):.0f} ms.",
        f"Times the floor: {'; '.join(distances)}.",
        "Ours compute the last layer for first tokens alone, which the floor does not count on.",
        f"Surgery of packed PCGrad: {shares['all']:.1f} % of the step: Gram matrix {shares['gram']:.1f},",
        f"weights {shares['ask_weights'] + shares['observe']:.1f}, combination {shares['combine']:.1f}.",
        *_traffic(part),
        "One step of packed PCGrad under torch's profiler, by operator (own time):",
    ]
    rows = [
        [f"`{one['operator']}`", f"{one['milliseconds']:.1f}", f"{100 * one['share']:.1f}", str(one["calls"])]
        for one in part["profile"]
    ]
    return lines + _table(("operator", "ms", "%", "calls"), rows, right=(1, 2, 3))


def _traffic(part: dict[str, Any]) -> list[str]:
    if "traffic" not in part:
        return []
    least, speed = part["traffic"]["seconds"], part["traffic"]["bytes_per_second"]
    share = 100 * least / (median(part["seconds"][OURS]) or float("inf"))
    return [
        "Its least traffic with memory (every task's gradient read for the Gram matrix and again for the sum, the sum",
        f"written) takes {1e3 * least:.0f} ms at {speed / 1e9:.0f} GB/s, the speed of adding two vectors here: that is",
        f"{share:.1f} % of the step.",
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    marks = ["---:" if number in right else "---" for number in range(len(columns))]
    return ["", *(f"| {' | '.join(cells)} |" for cells in (columns, marks, *rows))]


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
