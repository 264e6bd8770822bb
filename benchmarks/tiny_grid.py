"""A grid of real cells that train in a second or two: a BERT of two narrow layers on three small tables."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.tiny_bert import write_tiny_bert

WORDS = ["the", "a", "film", "dog", "cat", "good", "bad", "runs", "sleeps", "slowly", "very", "red", "blue", "house"]
TASKS = (
    "table[called=mood,train=mood.csv,dev=mood.csv,text=text,label=label,classes=3]",
    "table[called=same,train=same.csv,dev=same.csv,text=one,text2=two,label=label,classes=2]",
    "table[called=like,train=like.csv,dev=like.csv,text=one,text2=two,label=label,range=0:5]",
)


def make_tiny_grid(folder: Path, steps: int = 40) -> Path:
    """Write model, tables and the suite ``tiny.toml`` to a folder, unless they are there, and return it."""
    if (folder / "tiny.toml").exists():
        return folder
    write_tiny_bert(folder, WORDS)
    dice = random.Random(0)

    def sentence() -> str:
        return " ".join(dice.choices(WORDS, k=dice.randrange(4, 9)))

    rows = {
        "mood.csv": ["text,label", *(f"{sentence()},{dice.randrange(3)}" for _ in range(48))],
        "same.csv": ["one,two,label", *(f"{sentence()},{sentence()},{dice.randrange(2)}" for _ in range(48))],
        "like.csv": ["one,two,label", *(f"{sentence()},{sentence()},{dice.uniform(0, 5):.2f}" for _ in range(48))],
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    tasks = ", ".join(f'"{task}"' for task in TASKS)
    (folder / "tiny.toml").write_text(
        f'description = "tiny"\nmethods = ["sum"]\nseeds = 1\ntasks = [{tasks}]\nmodel = "{folder}"\n'
        f"steps = {steps}\nbatch_size = 4\nlr = 1e-4\nmax_length = 32\nevaluations = 2\nmeasure_every = 5\n"
    )
    return folder
