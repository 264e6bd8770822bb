"""The page of benchmarks/own_loop.py: reads its JSON, prints Markdown."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLAIN, EXACT, SKIPPED = "plain sum", "PCGrad", "PCGrad, rows of zeros skipped"
SUM_SKIPPED = "plain sum, rows of zeros skipped"
REPRESENTATION, RENEWED = "PCGrad, Gram matrix of the representation", "PCGrad, weights renewed every 10 steps"
SEPARATE = ("MiniLM, padded, a batch a task", "BERT-base, padded, a batch a task")
BARS = [
    *((case, EXACT, 1.10) for case in SEPARATE),
    *((case, SKIPPED, 0.95) for case in SEPARATE),
    ("MiniLM, no dead rows", EXACT, 1.10),
    ("MiniLM, no dead rows", SKIPPED, 1.10),
    ("MiniLM, one concatenated batch", SKIPPED, 1.15),
    ("CNN, one shared batch, K = 3", EXACT, 2.5),
    ("MiniLM, one shared batch, K = 3", SKIPPED, 2.6),
    ("CNN, one shared batch, K = 40", EXACT, 28.0),
    ("CNN, one shared batch, K = 40", REPRESENTATION, 1.20),
    ("CNN, one shared batch, K = 40", RENEWED, 3.8),
    ("MiniLM with LoRA, a batch a task", EXACT, 1.05),
    ("MiniLM with LoRA, one shared batch, K = 3", EXACT, 2.0),
]
"""Case, contender, and the most that its step may take in steps of the plain sum."""
Seconds = dict[str, list[float | None]]


def ratio(seconds: Seconds, name: str, base: str) -> float | None:
    """Return the median over rounds of one contender's time by another's; ``None`` if they never ran together."""
    pairs = zip(seconds.get(name, []), seconds.get(base, []), strict=False)
    values = [a / b for a, b in pairs if a is not None and b is not None]
    return statistics.median(values) if values else None


def figures(results: dict[str, Any]) -> Iterator[tuple[str, str, float, str, bool]]:
    """Yield what was measured, where, the figure, its bar in words, and whether it is met."""
    cases = results["cases"]
    for case, name, most in BARS:
        value = ratio(cases[case]["seconds"], name, PLAIN) if case in cases else None
        if value is not None:
            yield f"{name} ÷ plain sum", case, value, f"≤ {most:.2f}", value <= most
    for case, part in cases.items():
        ours = min(EXACT, SKIPPED, key=lambda name: ratio(part["seconds"], name, PLAIN) or 0.0)
        for name in part["seconds"]:
            value = ratio(part["seconds"], name, ours) if name.startswith("TorchJD") else None
            if value is not None:
                least = 2.5 if case in SEPARATE else 1.0
                yield f"{name} ÷ {ours}", case, value, f"≥ {least:.1f}", value >= least
    yield from _memory(results.get("memory", []))


def _memory(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, float, str, bool]]:
    plain = {row["case"]: row["peak"] for row in rows if row["contender"] == PLAIN}
    for row in rows:
        if row["contender"] in (EXACT, SKIPPED):
            extra = (row["peak"] - plain[row["case"]]) / (row["tasks"] * row["shared"])
            what = f"{row['contender']}: peak memory beyond the plain sum ÷ K × P numbers"
            yield what, row["case"], extra, "≤ 1.00", extra <= 1.0


def table(part: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a case's table."""
    yield "| step | ms | ÷ plain sum | rounds |"
    yield "| --- | ---: | ---: | ---: |"
    for name, row in part["seconds"].items():
        values = [value for value in row if value is not None]
        milliseconds, relative = 1000 * statistics.median(values), ratio(part["seconds"], name, PLAIN)
        yield f"| {name} | {milliseconds:.0f} | {relative:.2f} | {len(values)} |"
    for name, error in part["errors"].items():
        yield f"| {name} | failed: {error} | | |"


def page(results: dict[str, Any]) -> Iterator[str]:
    """Yield the page's lines."""
    rows = list(figures(results))
    versions, machine = results["versions"], results["machine"]
    yield f"""# Surgery in a user's own loop

Made by `make bench-own-loop`: whole optimizer steps (forward, backward, fused AdamW) of a loop in plain torch and
Hugging Face modules with random weights. Contenders take turns in one process, on one model and the same batches;
medians, and medians of ratios within a round. A contender whose weights are renewed every 10 steps is timed over whole
cycles of 10 steps: its figures are means. Each case is a run of its own. {results["threads"]} threads;
{machine["processor"]}; Python {versions["python"]}, torch {versions["torch"]}, transformers {versions["transformers"]}.

{sum(row[4] for row in rows)} of {len(rows)} figures meet their bar.

| figure | where | measured | bar | met |
| --- | --- | ---: | --- | --- |"""
    for what, where, value, bar, met in rows:
        yield f"| {what} | {where} | {value:.2f} | {bar} | {'yes' if met else '**no**'} |"
    yield """
Rows of zeros: half of the rows of a padded batch have a gradient of exactly zero (padding, and in the last layer all
but [CLS]). Skipping them is exact, and speeds up the plain sum too: its row says by how much. One shared batch: an
exact method needs one forward and K backward passes, (1 + 2K) / 3 plain steps: 2.33 for 3 tasks, 27 for 40. TorchJD
runs the same passes there, so both are at that floor. TorchJD is compared with the faster of our two ways.

Memory: K rows of P numbers are kept between steps, and the update overwrites one of them. The plain sum has P gradients
in its backward pass too, so what surgery takes beyond it is less than K × P numbers.
"""
    for case, part in results["cases"].items():
        yield f"## {case}\n"
        yield from table(part)
        yield ""
    yield """## Peak memory beyond the model

| step | where | MB | K × P numbers, MB |
| --- | --- | ---: | ---: |"""
    for row in results.get("memory", []):
        size = row["tasks"] * row["shared"] / 1e6
        yield f"| {row['contender']} | {row['case']} | {row['peak'] / 1e6:.0f} | {size:.0f} |"


if __name__ == "__main__":
    print("\n".join(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
