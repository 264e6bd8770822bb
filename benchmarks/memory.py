"""Peak memory of one contender, in this process: called by benchmarks/engine.py, prints JSON."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from benchmarks.models import peak_of
from mtlbench.execute.worker import prepare_process

if __name__ == "__main__":
    name, count, steps, threads, file = sys.argv[1:]
    prepare_process(int(threads))
    corpora = pickle.loads(Path(file).read_bytes())
    print(json.dumps(peak_of(name, int(count), int(steps), int(threads), corpora)))
