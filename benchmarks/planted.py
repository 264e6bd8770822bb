"""Faults planted in small real runs, and healthy runs: does the doctor name exactly what is wrong?

    python -m benchmarks.planted              # prints the table; --write puts it into benchmarks/doctor.md

Every fault is one change of one healthy recipe: three embedded tasks on three layers of the packaged MiniLM. A finding
counts as named when its code is the fault's; others may appear only where they are a consequence of the fault that a
user would want to read, and each such is listed with its fault. Notes do not count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtlbench.diagnose import diagnose
from mtlbench.store import Store

PAGE = Path(__file__).with_name("doctor.md")
HEALTHY = ("sum", "mgda", "pcgrad", "cagrad", "gradnorm", "uw", "famo", "imtl-g", "nash-mtl", "fairgrad")
"""With two seeds each: twenty healthy runs."""
RECIPE = {
    "model": '"minilm[layers=3]"',
    "steps": "200",
    "batch_size": "8",
    "lr": "3e-4",
    "lr_schedule": '"linear"',
    "max_length": "64",
    "evaluations": "5",
    "dev_limit": "300",
    "measure_every": "5",
    "threads": "1",
}
TASKS = ("sentiment", "paraphrase", "similarity")
HEAD = """
from dataclasses import dataclass, replace
import numpy as np, torch
from mtlbench.task import Rows, Splits
from mtlbench.tasks.sentiment import Sentiment
from mtlbench.tasks.paraphrase import Paraphrase
from mtlbench.tasks.similarity import Similarity
"""


@dataclass(frozen=True)
class Fault:
    """One change of the healthy recipe.

    :param code: the finding that must be named.
    :param plugin: Python code of a faulty task.
    :param tasks: in place of the healthy ones.
    :param changes: of fields of the recipe, in TOML.
    :param method: whose cells are examined.
    :param consequences: codes of findings that the fault brings with it, and rightly so.
    """

    name: str
    code: str
    plugin: str = ""
    tasks: tuple[str, ...] = TASKS
    changes: tuple[tuple[str, str], ...] = ()
    method: str = "sum"
    consequences: tuple[str, ...] = ()


def _faulty(base: str, body: str) -> str:
    return f'{HEAD}\n@dataclass\nclass Faulty({base}):\n    """Faulty."""\n    name = "faulty"\n{body}'


def _loss(base: str, body: str) -> str:
    return _faulty(base, f"    def loss(self, outputs, targets):\n{body}")


def _splits(base: str, body: str) -> str:
    return _faulty(base, f"    def load(self, data_dir):\n        splits = super().load(data_dir)\n{body}")


SENTIMENT = ("faulty", "paraphrase", "similarity")
PARAPHRASE = ("sentiment", "faulty", "similarity")
SIMILARITY = ("sentiment", "paraphrase", "faulty")
UNTRAINED = ("below-floor", "missing-classes", "one-sided-head", "dead-head", "shifted-threshold")

FAULTS = (
    Fault(
        "a loss 100 times as large",
        "loss-scale",
        _loss("Similarity", "        return 100 * super().loss(outputs, targets)\n"),
        SIMILARITY,
        consequences=("dominated", "underfit", "missing-classes"),
    ),
    Fault(
        "cross entropy summed over the batch",
        "odd-first-loss",
        _loss(
            "Sentiment",
            '        return torch.nn.functional.cross_entropy(outputs, targets, reduction="sum")\n',
        ),
        SENTIMENT,
        consequences=("loss-scale", "dominated", "underfit"),
    ),
    Fault(
        "a class weight that makes the head say yes",
        "one-sided-head",
        _loss(
            "Paraphrase",
            "        weight = torch.tensor([0.02, 1.0])\n"
            "        return torch.nn.functional.cross_entropy(outputs, targets, weight=weight)\n",
        ),
        PARAPHRASE,
        consequences=("below-floor",),
    ),
    Fault(
        "a loss that does not depend on the outputs",
        "no-gradient",
        _loss("Similarity", "        return 0 * super().loss(outputs, targets) + 1\n"),
        SIMILARITY,
        consequences=("below-floor", "dead-head"),
    ),
    Fault(
        "not a number at step 20",
        "not-finite",
        _loss(
            "Similarity",
            "        Faulty.count = getattr(Faulty, 'count', 0) + 1\n"
            '        factor = float("nan") if Faulty.count > 20 else 1.0\n'
            "        return factor * super().loss(outputs, targets)\n",
        ),
        SIMILARITY,
    ),
    Fault("learning rate a ten-thousandth", "learning-rate-low", changes=(("lr", "3e-8"),), consequences=UNTRAINED),
    Fault(
        "learning rate 100 times as high",
        "learning-rate-high",
        changes=(("lr", "3e-2"),),
        consequences=(*UNTRAINED, "diverged", "not-finite"),
    ),
    Fault("60 steps", "underfit", changes=(("steps", "60"),), consequences=("missing-classes", "below-floor")),
    Fault(
        "development rows among the training rows",
        "leakage",
        _splits(
            "Paraphrase",
            "        train = Rows([*splits.train.texts, *splits.dev.texts],"
            " np.concatenate([splits.train.labels, splits.dev.labels]))\n"
            "        return replace(splits, train=train)\n",
        ),
        PARAPHRASE,
    ),
    Fault(
        "training rows joined with themselves",
        "duplicates",
        _splits(
            "Sentiment",
            "        rows = splits.train\n"
            "        return replace(splits, train=Rows([*rows.texts, *rows.texts],"
            " np.concatenate([rows.labels, rows.labels])))\n",
        ),
        SENTIMENT,
    ),
    Fault(
        "scores cut to whole numbers",
        "whole-labels",
        _splits(
            "Similarity",
            "        noise = np.random.default_rng(0).uniform(-0.4, 0.4, len(splits.dev))\n"
            "        return replace(splits, dev=Rows(splits.dev.texts, splits.dev.labels + noise))\n",
        ),
        SIMILARITY,
    ),
    Fault(
        "a class without training rows",
        "absent-class",
        _splits(
            "Sentiment",
            "        kept = np.flatnonzero(splits.train.labels != 4)\n"
            "        rows = Rows([splits.train.texts[row] for row in kept], splits.train.labels[kept])\n"
            "        return replace(splits, train=rows)\n",
        ),
        SENTIMENT,
    ),
    Fault(
        "texts of a pair encoded apart",
        "encoded-apart",
        changes=(("model", '"minilm[layers=3,pairs=apart]"'),),
        consequences=("below-floor", "underfit"),
    ),
    Fault(
        "texts cut to 8 tokens",
        "cut-texts",
        changes=(("max_length", "8"),),
        consequences=("below-floor", "underfit", "missing-classes"),
    ),
    Fault(
        "40 training rows, seen 40 times",
        "overfit",
        _splits("Sentiment", "        return replace(splits, train=splits.train.sample(40, 'planted'))\n"),
        SENTIMENT,
        consequences=("uneven-epochs",),
    ),
    Fault(
        "weights 200 : 1 : 1",
        "dominated",
        method="fixed[w=200:1:1]",
        consequences=("underfit", "below-floor", "negative-transfer"),
    ),
)


def run(folder: Path, name: str, fault: Fault | None, methods: Sequence[str], seeds: int) -> set[str]:
    """Train a small grid and return the codes of the doctor's findings, without notes."""
    here = folder / name
    here.mkdir(parents=True)
    recipe = RECIPE | dict(fault.changes if fault else ())
    tasks = fault.tasks if fault else TASKS
    head = f'description = "planted"\nmethods = ["sum"]\nseeds = 1\ntasks = {list(tasks)}\n'.replace("'", '"')
    (here / "suite.toml").write_text(head + "".join(f"{key} = {value}\n" for key, value in recipe.items()))
    command = [sys.executable, "-m", "mtlbench", "run", "--suite", str(here / "suite.toml"), "--seeds", str(seeds)]
    command += ["--methods", ",".join(methods), "--results", str(here / "results")]
    if fault and fault.plugin:
        (here / "faulty.py").write_text(fault.plugin)
        command += ["--plugin", str(here / "faulty.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    found = diagnose(Store(here / "results").scan().records)
    return {finding.code for _, findings in found for finding in findings if finding.severity != "note"}


def main() -> None:
    """Plant every fault, run the healthy grid, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--only", help="part of a fault's name, or 'healthy'")
    options = parser.parse_args()
    lines, named, false = [], 0, 0
    chosen = [fault for fault in FAULTS if options.only is None or options.only in fault.name]
    with tempfile.TemporaryDirectory() as temporary:
        for number, fault in enumerate(chosen):
            codes = run(Path(temporary), f"fault-{number}", fault, [fault.method], 1)
            also, wrong = codes & set(fault.consequences), codes - {fault.code, *fault.consequences}
            named, false = named + (fault.code in codes), false + len(wrong)
            lines.append(
                f"| {fault.name} | `{fault.code}` | {'yes' if fault.code in codes else '**no**'} "
                f"| {', '.join(sorted(also)) or '–'} | {', '.join(sorted(wrong)) or '–'} |"
            )
            print(lines[-1], flush=True)
        healthy = set()
        if options.only in (None, "healthy"):
            healthy = run(Path(temporary), "healthy", None, HEALTHY, 2)
    text = [
        "# What the doctor names",
        "",
        "`python -m benchmarks.planted`: every row is one fault planted in one small real run, of the healthy recipe"
        " otherwise.",
        "",
        "| fault | finding | named | with it, rightly | named falsely |",
        "| --- | --- | --- | --- | --- |",
        *lines,
        "",
        f"{named} of {len(chosen)} faults are named; {false} findings are false.",
        "",
        f"Healthy runs: {len(HEALTHY)} methods ({', '.join(HEALTHY)}), two seeds each: "
        f"{', '.join(sorted(healthy)) or 'no finding'}.",
    ]
    print("\n".join(text))
    if options.write:
        PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
