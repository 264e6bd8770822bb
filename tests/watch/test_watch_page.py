"""The code in docs/watch.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from own_training import Model, batches

from mtlbench.diagnose import diagnose
from mtlbench.records.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "watch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = {"training": 0, "accumulated": 1, "trainer": 2, "lightning": 3}


@pytest.mark.filterwarnings("ignore")  # Lightning warns of few workers, short epochs and its own internals
@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_the_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("trainer", "lightning"):
        pytest.importorskip("accelerate" if name == "trainer" else "lightning", reason=f"the {name} example needs it")
    monkeypatch.chdir(tmp_path)
    model = Model()
    names: dict[str, Any] = {
        "model": model,
        "batches": batches(40),
        "steps": [list(batches(2, seed=step)) for step in range(4)],
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }
    rows = list(torch.cat(list(batches(2))))
    if name == "trainer":
        from transformers import TrainingArguments

        names["rows"] = [{"batch": row} for row in rows]
        names["arguments"] = TrainingArguments(
            "out", num_train_epochs=1, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
            remove_unused_columns=False,
        )  # fmt: skip
    if name == "lightning":
        names["loader"] = torch.utils.data.DataLoader(rows, batch_size=4)  # type: ignore[arg-type]
        names["options"] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    source = BLOCKS[NAMES[name]] if name == "training" else f"import mtlbench\n{BLOCKS[NAMES[name]]}"
    exec(compile(source, "docs/watch.md", "exec"), names)
    (record,) = Store(Path("results/mine")).scan().records
    assert record["suite"] == name and record["watched"] is not None and record["watched"]["looks"] >= 1


def test_the_page_names_the_findings_that_a_watched_run_can_have() -> None:
    from mtlbench.diagnose import NOT_MEASURED
    from mtlbench.diagnose.rules import RULES

    everything = {
        line.split("`")[1]
        for line in (Path(__file__).parents[2] / "docs/diagnose.md").read_text().splitlines()
        if line.startswith("| `")
    }
    table = PAGE[PAGE.index("| finding | from |") : PAGE.index("It cannot say")]
    advice = {rule.code for rule in RULES}
    possible = everything - {code for codes in NOT_MEASURED.values() for code in codes} - advice
    assert set(re.findall(r"`([a-z-]+)`", table)) - advice == possible
    assert diagnose([]) == []
