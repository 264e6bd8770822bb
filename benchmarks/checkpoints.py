"""What a checkpoint costs: bytes, seconds to write and to read, and the share of a cell's time at the default interval.

    python benchmarks/checkpoints.py > benchmarks/checkpoints.md

Run it on a machine that does nothing else: the page says how busy it was.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mtlbench.execute.worker import prepare_process
from mtlbench.plan.cells import CHECKPOINT_EVERY, Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.text.encoder import Encoder
from mtlbench.training.checkpoint import KEPT, SHARE, Checkpoints
from mtlbench.training.train import Training

TIMES = 5
METHODS = ("sum", "excess-mtl")
"""One without a state, and one that keeps K numbers of every shared parameter: the least and the most."""
BERT_BASE = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}


def bert_base(folder: Path) -> str:
    """Return the spec of a model of BERT-base's size, with MiniLM's tokenizer, which is BERT's."""
    minilm = Encoder.parse("minilm").locate().folder
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (minilm / name).is_file():
            shutil.copy(minilm / name, folder)
    (folder / "config.json").write_text(json.dumps(BERT_BASE))
    return f"{folder}[init=random]"


def measured(model: str, name: str, folder: Path) -> tuple[int, float, float]:
    """Return a checkpoint's bytes, and the median seconds that it takes to write and to read."""
    registry = load_registry()
    recipe = load_suite("quick").recipe({"model": model, "steps": 2, "evaluations": 1, "dev_limit": 50})
    workload = Workload.load("quick", recipe, registry)
    training = Training(workload, registry.method(name), 0)
    next(training.run())
    checkpoints = Checkpoints(folder, "k" * 64, every=CHECKPOINT_EVERY, tell=print)
    writes, reads = [], []
    for _ in range(TIMES):
        begun = time.perf_counter()
        checkpoints.save(training.done, training.state_dict)
        writes.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        assert checkpoints.newest() is not None
        reads.append(time.perf_counter() - begun)
    (file,) = checkpoints.folder.iterdir()
    size = file.stat().st_size
    checkpoints.clear()
    return size, statistics.median(writes), statistics.median(reads)


def main() -> None:
    """Print the page."""
    prepare_process(1)
    print("# What a checkpoint costs\n")
    print(f"`python benchmarks/checkpoints.py`, Python {platform.python_version()}, {os.cpu_count()} cores, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} when it began.")
    print(f"Median of {TIMES} writes and reads; a write ends when the file is on the disk (fsync), a read when its")
    print("SHA-256 is checked and its tensors are in memory.\n")
    print("| model | method | bytes | write | read | share of the time |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        large = Path(place) / "bert"
        large.mkdir()
        for title, model in (("MiniLM", "minilm"), ("BERT-base", bert_base(large))):
            for method in METHODS:
                size, write, read = measured(model, method, Path(place))
                share = write / (write + max(CHECKPOINT_EVERY, write / SHARE))
                told = f"{size / 2**20:.0f} MiB | {write:.2f} s | {read:.2f} s | {100 * share:.2f} %"
                print(f"| {title} | {method} | {told} |", flush=True)
    print(
        f"\nThe share is that at the default interval of {CHECKPOINT_EVERY:.0f} s. It cannot pass {SHARE:.0%}, the bar,"
    )
    print(f"on any disk: where a write takes long, the next one waits for as long as that takes. {KEPT} are kept of a")
    print("cell, and a third is there while it is written.")


if __name__ == "__main__":
    main()
