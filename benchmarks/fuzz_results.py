"""Results folders for :mod:`benchmarks.fuzz_targets`: a record with what lies beside it, and a checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from benchmarks.fuzz_told import call, refused
from benchmarks.sample_record import EVALUATION, STEP, full, history
from mtlbench.diagnose.unfinished import unfinished
from mtlbench.execute.predictions_file import parquet
from mtlbench.host.provenance import versions
from mtlbench.plan.cells import fingerprint
from mtlbench.records.groups import collect
from mtlbench.records.store import CHECKPOINTS, Store
from mtlbench.report.figures.traces import read
from mtlbench.training.checkpoint import SCHEMA, Checkpoints
from mtlbench.training.state_codec import flatten

BETWEEN = b"\n---\n"
"""Between the files of an input that is several."""
RESULTS = Path("results")
KEY = "k" * 64
VERBS = (
    ["status"],
    ["status", "--json"],
    *(["report", "--format", form] for form in ("text", "markdown", "csv", "json", "latex")),  # html takes seconds
    ["diagnose"],
    ["diagnose", "--json"],
    ["export", "exported"],
    ["merge", "results", "--into", "merged"],
    ["clean", "--damaged", "--failed"],
)
"""The commands that read a results folder. An input gets one of them, always the same."""


def _victim() -> Path:
    return next(iter(sorted(RESULTS.rglob("*.json"))))


def whole_record() -> bytes:
    """Make a results folder of six records; return one of them with its history and its predictions."""
    store = Store(RESULTS)
    store.prepare()
    lines = history(STEP, EVALUATION)
    predictions = parquet({"a": np.eye(3, dtype=np.float32)}, {"a": np.arange(3)})
    for seed in range(3):
        for spec in ("sum", "other[c=1]"):
            store.save(full(seed, spec), {**lines, "predictions": ("parquet", predictions)})
    one = json.loads(_victim().read_bytes())
    for what, (ending, _) in {**lines, "predictions": ("parquet", b"")}.items():
        one["files"][what]["name"] = f"{what}.{ending}"
    return json.dumps(one).encode() + BETWEEN + lines["history"][1] + BETWEEN + predictions


def record(content: bytes) -> bool:
    """Put a record and its side files in the place of another, with checksums that fit, and read the folder."""
    victim = _victim()
    written, *beside = [*content.split(BETWEEN, 2), b"", b""][:3]
    for name, side in zip(("history.jsonl", "predictions.parquet"), beside, strict=True):
        (victim.parent / name).write_bytes(side)
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):  # then it stays as it is
        one = json.loads(written)
        for what, side in zip(("history", "predictions"), beside, strict=True):
            one["files"][what].update(bytes=len(side), sha256=hashlib.sha256(side).hexdigest())
        one["checksum"] = fingerprint({name: value for name, value in one.items() if name != "checksum"})
        written = json.dumps(one).encode()
    victim.write_bytes(written)
    found = Store(RESULTS).scan()
    if len(found.records) + len(found.damaged) != 6:
        raise AssertionError(f"{len(found.records)} records and {len(found.damaged)} damaged of 6")
    for cell in collect(found.records):
        read(cell)
    shutil.rmtree("merged", ignore_errors=True)
    call(*VERBS[zlib.crc32(content) % len(VERBS)])
    return all(refused(why) for _, why in found.damaged)


def _tensors() -> tuple[bytes, dict[str, torch.Tensor]]:
    """Return the state of a cell in training, small, as a checkpoint has it: JSON, and the tensors beside it."""
    rows = json.dumps([{**STEP, "step": step} for step in (1, 2)]).encode()
    state = {"done": 2, "finished": [], "record": full(0), "histories": [rows], "progress": {"seconds": 0.5}}
    state["current"] = {"model": {"w": torch.eye(2)}, "generator": np.arange(3), "tries": (1, 2**70, float("inf"), {1})}
    tree, tensors = flatten(state)
    return json.dumps(tree).encode(), tensors


def checkpoint(content: bytes) -> bool:
    """Read a file as the newest checkpoint of a cell: its name holds the right hash."""
    folder = RESULTS / CHECKPOINTS / KEY
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / f"{2:09d}-{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)
    unfinished(RESULTS, _tell)
    if zlib.crc32(content) % 8 == 0:  # a command takes far longer
        call("diagnose")
    state = Checkpoints(RESULTS / CHECKPOINTS, KEY, every=1.0, tell=_tell).newest()
    return state is not None


def whole_state() -> bytes:
    """Return the JSON of a state."""
    return _tensors()[0]


def state(content: bytes) -> bool:
    """Read a text as the state in a checkpoint that is whole otherwise."""
    return checkpoint(_saved(content))


def _tell(line: str) -> None:
    refused(line)


def whole_checkpoint() -> bytes:
    """Return the file of a state."""
    return _saved(whole_state())


def _saved(tree: bytes) -> bytes:
    about = json.dumps({"schema": SCHEMA, "key": KEY, "versions": versions()})
    return save(_tensors()[1], {"checkpoint": about, "state": tree.decode(errors="replace")})
