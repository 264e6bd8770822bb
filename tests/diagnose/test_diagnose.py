"""The doctor on synthetic cells: it finds each fault by its evidence, and nothing in healthy cells."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mtlbench.contract.task import Rows, Splits
from mtlbench.diagnose import Finding, diagnose
from mtlbench.diagnose.text import to_blocks, to_json
from mtlbench.report.text import render
from mtlbench.text.row_audit import audit

TASKS = {"mood": 3, "same": 2, "like": 1}
STEPS, EVERY, DEV = 100, 5, 400
Change = Callable[[dict[str, Any]], None]


def cell(folder: Path, change: Change = lambda made: None, method: str = "pcgrad", seed: int = 0) -> dict[str, Any]:
    """Return a finished cell that learns every task well, after a change of what it left behind."""
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {"record": _record(method, seed), "steps": [], "evaluations": [], "outputs": {}}
    for step in range(1, STEPS + 1):
        fall = 0.3 + 0.7 * np.exp(-step / 20)
        row: dict[str, Any] = {
            "step": step,
            "losses": {task: float(fall * (np.log(n) if n > 1 else 1.0)) for task, n in TASKS.items()},
            "weights": dict.fromkeys(TASKS, 1.0),
            "seconds": 0.1,
        }
        if step % EVERY == 0:
            row["norms"] = {"mood": 1.0, "same": 1.5, "like": 2.0}
            row["cosines"] = {"mood|same": -0.3, "mood|like": 0.2, "same|like": -0.2}
            after = {task: value * (0.99 if task == "mood" else 1.001) for task, value in row["losses"].items()}
            row |= {"moved": 0.01, "size": 10.0, "half": after, "after": after}
        made["steps"].append(row)
    for step, share in ((50, 0.98), (75, 1.0), (100, 1.0)):
        scores = {
            "mood": {"accuracy": 0.8 * share},
            "same": {"accuracy": 0.85 * share},
            "like": {"pearson": 0.9 * share},
        }
        made["evaluations"].append({"step": step, "scores": scores, "elapsed": 1.0})
    made["record"]["scores"] = made["evaluations"][-1]["scores"]
    for task, outputs in TASKS.items():
        labels = random.integers(0, outputs, DEV) if outputs > 1 else random.uniform(0, 5, DEV)
        values = random.normal(0, 0.5, (DEV, outputs))
        values += 2 * np.eye(outputs)[labels] if outputs > 1 else labels[:, None]
        made["outputs"][task] = (values, labels)
    change(made)
    return _written(made, folder)


def _record(method: str, seed: int) -> dict[str, Any]:
    metrics = {"mood": "accuracy", "same": "accuracy", "like": "pearson"}
    oddities = {"leaked": 0, "shared": 0, "repeated": 0, "contradicted": 0, "distinct": 9, "whole": 100}
    tasks = {
        task: {
            "spec": task,
            "prediction": "classification" if outputs > 1 else "regression",
            "metrics": [metrics[task]],
            "train": 2000,
            "dev": DEV,
            "corpus": "",
            "fingerprint": task,
            "source": "made up",
            "floors": {metrics[task]: [{"name": "token overlap", "value": 0.6}]},
            "audit": {**oddities, "whole_dev": 10, "rarest": 500 if outputs > 1 else None},
        }
        for task, outputs in TASKS.items()
    }
    return {
        "key": f"{method}-{seed}",
        "group": "a" * 64,
        "status": "done",
        "suite": "made",
        "seed": seed,
        "method": {"spec": method, "name": method, "joint": method != "stl", "reads": "gram"},
        "recipe": {"tasks": list(TASKS), "model": "minilm", "steps": STEPS, "batch_size": 8, "lr": 1e-4},
        "tasks": tasks,
        "encoder": {"spec": "minilm", "parameters": 100, "trainable": 100},
        "cut": {task: {"tokens": 64, "train": 0, "dev": 0} for task in TASKS},
        "scores": {},
        "error": None,
        "started": f"2026-01-01T00:00:0{seed}Z",
    }


def _written(made: dict[str, Any], folder: Path) -> dict[str, Any]:
    record = made["record"]
    stem = f"{record['method']['spec']}-{record['seed']}"
    rows = sorted([*made["steps"], *made["evaluations"]], key=lambda row: row["step"])
    (folder / f"{stem}.history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    frames = []
    for task, (values, labels) in made["outputs"].items():
        row, output = np.indices(values.shape)
        frames.append(
            pd.DataFrame({"task": task, "row": row.ravel(), "output": output.ravel(), "value": values.ravel()}).assign(
                label=labels.astype(float)[row.ravel()]
            )
        )
    pd.concat(frames).to_parquet(folder / f"{stem}.predictions.parquet")
    files = {
        what: {"name": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}
        for what, name in (("history", f"{stem}.history.jsonl"), ("predictions", f"{stem}.predictions.parquet"))
    }
    return {**record, "files": files, "path": str(folder / f"{stem}.json")}


def codes(records: list[dict[str, Any]], notes: bool = False) -> set[str]:
    found = [finding for _, findings in diagnose(records) for finding in findings]
    return {finding.code for finding in found if notes or finding.severity != "note"}


def of_task(task: str, **values: Any) -> Change:
    return lambda made: made["record"]["tasks"][task].update(values)


def oddity(task: str, **values: Any) -> Change:
    return lambda made: made["record"]["tasks"][task]["audit"].update(values)


def each(change: Callable[[dict[str, Any]], None]) -> Change:
    """Change every step."""

    def changed(made: dict[str, Any]) -> None:
        for row in made["steps"]:
            change(row)

    return changed


def measured(name: str, value: Any) -> Change:
    return each(lambda row: row[name].update(value) if name in row else None)


def head(task: str, change: Callable[[Any, Any], Any]) -> Change:
    def changed(made: dict[str, Any]) -> None:
        values, labels = made["outputs"][task]
        made["outputs"][task] = (change(values, labels), labels)

    return changed


def scored(task: str, metric: str, *values: float) -> Change:
    def changed(made: dict[str, Any]) -> None:
        for row, value in zip(made["evaluations"], values, strict=True):
            row["scores"] = copy.deepcopy(row["scores"])
            row["scores"][task][metric] = value
        made["record"]["scores"] = made["evaluations"][-1]["scores"]

    return changed


def shift(values: Any, labels: Any) -> Any:
    return values + np.array([[0.0, 1.8]])


def by_heart(made: dict[str, Any]) -> None:
    of_task("mood", train=100)(made)
    of_task("same", train=800)(made)
    of_task("like", train=800)(made)
    for row in made["steps"]:
        row["losses"]["mood"] /= row["step"]
        if "after" in row:
            row["after"] = {task: 0.99 * loss for task, loss in row["losses"].items()}
    head("mood", lambda values, labels: 5 * np.roll(values, 1, axis=0))(made)


def blown_up(row: dict[str, Any]) -> None:
    if STEPS / 5 < row["step"] <= STEPS / 2:
        row["losses"].update({task: 4 * row["losses"][task] for task in ("mood", "same")})


FAULTS: dict[str, tuple[str, Change]] = {
    "leakage": ("leakage", oddity("same", leaked=20)),
    "duplicates": ("duplicates", oddity("same", repeated=300)),
    "contradictions": ("duplicates", oddity("same", repeated=60, contradicted=40)),
    "cut labels": ("whole-labels", oddity("like", whole=2000)),
    "absent class": ("absent-class", oddity("mood", rarest=0)),
    "diverged": ("diverged", each(lambda row: row["losses"].update(mood=1.0 + row["step"] / 20))),
    "rate low": ("learning-rate-low", each(lambda row: row.update(moved=1e-5) if "moved" in row else None)),
    "rate high": ("learning-rate-high", measured("after", dict.fromkeys(TASKS, 9.0))),
    "blown up": ("learning-rate-high", each(blown_up)),
    "not learned": ("not-learned", each(lambda row: row["losses"].update(mood=float(np.log(3))))),
    "frozen": ("frozen-encoder", lambda made: made["record"]["encoder"].update(spec="minilm[frozen=true]")),
    "softmax over the batch": (
        "odd-first-loss",
        each(lambda row: row["losses"].update(same=3 * row["losses"]["same"])),
    ),
    "overfit": ("overfit", scored("same", "accuracy", 0.95, 0.9, 0.8)),
    "by heart": ("overfit", by_heart),
    "underfit": ("underfit", scored("same", "accuracy", 0.6, 0.65, 0.85)),
    "first loss": ("odd-first-loss", each(lambda row: row["losses"].update(mood=8 * row["losses"]["mood"]))),
    "cut texts": ("cut-texts", lambda made: made["record"]["cut"]["mood"].update(train=500)),
    "dead": ("dead-head", head("like", lambda values, labels: 0.0 * values)),
    "one-sided": ("one-sided-head", head("same", lambda values, labels: values + np.array([[0.0, 9.0]]))),
    "turned": ("reversed-head", head("same", lambda values, labels: -values)),
    "shifted": ("shifted-threshold", head("same", shift)),
    "few classes": ("missing-classes", head("mood", lambda values, labels: values + np.array([[0.0, 0.0, 9.0]]))),
    "below floor": ("below-floor", scored("same", "accuracy", 0.5, 0.5, 0.5)),
    "apart": ("encoded-apart", lambda made: made["record"]["encoder"].update(spec="minilm[pairs=apart]")),
    "no gradient": ("no-gradient", measured("norms", {"like": 0.0})),
    "loss scale": ("loss-scale", measured("norms", {"like": 12.0, "mood": 1.0, "same": 6.0})),
    "dominated": ("dominated", each(lambda row: row["weights"].update(like=30.0))),
    "epochs": ("uneven-epochs", of_task("mood", train=100)),
    "epochs by sampling": (
        "uneven-epochs",
        lambda made: made["record"].update(seen={"mood": 12_000, "same": 1900, "like": 2100}),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_else(name: str, tmp_path: Path) -> None:
    code, change = FAULTS[name]
    assert codes([cell(tmp_path, change)]) == {code}


def test_healthy_cells_have_no_finding(tmp_path: Path) -> None:
    records = [cell(tmp_path, method=method, seed=seed) for method in ("stl", "sum", "pcgrad") for seed in range(3)]
    assert codes(records, notes=True) == set()
    ((_, findings),) = diagnose(records)
    assert "nothing is wrong" in render(to_blocks(diagnose(records)))
    assert findings == []


def test_one_cell_of_three_is_not_yet_a_finding(tmp_path: Path) -> None:
    code, change = FAULTS["below floor"]
    records = [cell(tmp_path, change if seed == 0 else lambda made: None, seed=seed) for seed in range(3)]
    assert codes(records) == set()
    records[1] = cell(tmp_path, change, seed=1)
    assert codes(records) == {code}


def lost(folder: Path, metric: str, alone: float, together: float, floor: float | None) -> Finding:
    """Return the finding on a task that scores lower together with the others than alone, over three seeds."""
    task = {"pearson": "like", "r2": "like"}.get(metric, "same")
    floors = {} if floor is None else {metric: [{"name": "constant", "value": floor}]}

    def at(value: float, seed: int) -> Change:
        def changed(made: dict[str, Any]) -> None:
            of_task(task, metrics=[metric], floors=floors)(made)
            for row in made["evaluations"]:
                row["scores"] = {**row["scores"], task: {metric: value + 0.0001 * seed}}
            made["record"]["scores"] = made["evaluations"][-1]["scores"]

        return changed

    records = [
        cell(folder, at(value, seed if method == "stl" else 0), method=method, seed=seed)
        for method, value in (("stl", alone), ("sum", together))
        for seed in range(3)
    ]
    ((_, findings),) = diagnose(records)
    (finding,) = (one for one in findings if one.code == "negative-transfer" and one.method == "sum")
    return finding


def test_negative_transfer_needs_an_interval_below_zero(tmp_path: Path) -> None:
    def worse(by: float) -> Change:
        return scored("like", "pearson", 0.88, 0.9, 0.9 - by)

    alone = [cell(tmp_path, method="stl", seed=seed) for seed in range(3)]
    clear = [cell(tmp_path, worse(0.03 + 0.001 * seed), seed=seed) for seed in range(3)]
    assert codes([*alone, *clear]) == {"negative-transfer"}
    unclear = [cell(tmp_path, worse(0.03 * seed - 0.02), seed=seed) for seed in range(3)]
    assert codes([*alone, *unclear], notes=True) == set()


@pytest.mark.parametrize(
    ("metric", "alone", "together", "floor", "severity", "said"),
    [
        ("accuracy", 0.9, 0.885, 0.5, "note", "3.8% of what it gains alone over constant (0.500), a warning above 5%"),
        ("accuracy", 0.9, 0.875, 0.5, "warning", "6.3% of what it gains alone over constant (0.500)"),
        ("accuracy", 0.9, 0.875, None, "note", "2.8% of what it gains alone over a constant answer (0.000)"),
        ("r2", 0.4, 0.385, -0.01, "note", "3.7% of what it gains alone over constant (-0.010)"),
        ("r2", 0.4, 0.37, -0.01, "warning", "7.3% of what it gains alone"),
        ("pearson", 0.4, 0.385, None, "note", "3.8% of what it gains alone over a constant answer (0.000)"),
        ("pearson", 0.4, 0.37, None, "warning", "7.5% of what it gains alone"),
        ("accuracy", 0.45, 0.449, 0.5, "warning", "single-task training gains nothing over constant (0.500)"),
        ("negative_mse", -1.0, -1.01, None, "warning", "single-task training gains nothing over a constant answer"),
    ],
)
def test_negative_transfer_is_as_grave_as_the_share_that_is_lost(
    metric: str, alone: float, together: float, floor: float | None, severity: str, said: str, tmp_path: Path
) -> None:
    finding = lost(tmp_path, metric, alone, together, floor)
    assert finding.severity == severity and said in finding.evidence


def test_surgery_without_conflict_is_noted(tmp_path: Path) -> None:
    orthogonal = measured("cosines", {"mood|same": -0.01, "mood|like": 0.01, "same|like": -0.02})
    assert codes([cell(tmp_path, orthogonal)], notes=True) == {"no-conflict"}
    assert codes([cell(tmp_path, orthogonal, method="stl")], notes=True) == set()


def test_conflict_that_the_step_does_not_see_is_noted(tmp_path: Path) -> None:
    harmless = measured("after", dict.fromkeys(TASKS, 0.0))
    assert codes([cell(tmp_path, harmless)], notes=True) == {"conflict-not-in-step"}


def test_a_task_whose_gradient_is_small_once_it_is_learned_is_no_matter_of_scale(tmp_path: Path) -> None:
    learned = each(lambda row: row["norms"].update(mood=0.1) if "norms" in row and row["step"] > 30 else None)
    assert codes([cell(tmp_path, learned)]) == set()


def test_the_conditions_of_the_pcgrad_paper_are_noted(tmp_path: Path) -> None:
    def change(row: dict[str, Any]) -> None:
        if "norms" in row:
            row["norms"] = {"mood": 1.0, "same": 4.0, "like": 3.0}
            row["cosines"]["mood|same"] = -0.5
            row |= {"half": {task: 0.5 * loss for task, loss in row["losses"].items()}, "after": dict(row["losses"])}

    assert codes([cell(tmp_path, each(change))], notes=True) == {"three-conditions"}


def test_a_step_that_only_helps_its_own_rows_is_told_of(tmp_path: Path) -> None:
    high = measured("after", dict.fromkeys(TASKS, 9.0))

    def change(made: dict[str, Any]) -> None:
        high(made)
        each(lambda row: row.update(next=dict(row["losses"])) if "moved" in row else None)(made)

    ((_, (finding,)),) = diagnose([cell(tmp_path, change)])
    assert finding.code == "learning-rate-high"
    assert "lowers the total loss of its own 8 rows a task by -25" in finding.evidence


def test_failed_cells_are_looked_at(tmp_path: Path) -> None:
    record = cell(tmp_path)
    error = {"type": "CellError", "message": "step 7: the loss of task mood is nan", "step": 7, "task": "mood"}
    assert codes([{**record, "status": "failed", "scores": {}, "error": error}]) == {"not-finite"}


def test_a_cell_without_side_files_is_looked_at_by_its_record(tmp_path: Path) -> None:
    record = {**cell(tmp_path), "files": {}}
    assert codes([record], notes=True) == set()


def test_json_holds_every_finding(tmp_path: Path) -> None:
    records = [cell(tmp_path, FAULTS["loss scale"][1])]
    content = json.loads(to_json(diagnose(records)))
    assert [finding["code"] for finding in content["findings"]] == ["loss-scale"]
    assert content["groups"] == [{"suite": "made", "group": "a" * 64, "done": 1, "failed": 0, "unfinished": []}]
    text = render(to_blocks(diagnose(records)), width=80)
    assert "loss-scale" in text and "evidence" in text and max(map(len, text.splitlines())) <= 80


def test_what_is_wrong_with_several_methods_is_said_once(tmp_path: Path) -> None:
    records = [cell(tmp_path, FAULTS["dead"][1], method=method) for method in ("pcgrad", "sum")]
    text = render(to_blocks(diagnose(records)))
    assert text.count("error dead-head: 2 methods: the head of like says the same of every row") == 1
    assert "evidence: pcgrad: " in text and "evidence: sum: " in text and text.count("cause") == 1


def test_a_little_leakage_is_a_warning_and_much_an_error(tmp_path: Path) -> None:
    def severity(leaked: int) -> list[str]:
        ((_, findings),) = diagnose([cell(tmp_path, oddity("same", leaked=leaked))])
        return [one.severity for one in findings]

    assert severity(3) == [] and severity(10) == ["warning"] and severity(30) == ["error"]


class Pairs:
    prediction, outputs = "classification", 3


def test_the_audit_counts_rows() -> None:
    train = Rows([("A b", "c"), ("a  B", "c"), ("d", "e"), ("a b", "C ")], np.array([0, 1, 1, 0]))
    dev = Rows([("a b", "c"), ("x", "e"), ("x", "y")], np.array([0, 2, 1]))
    found = audit(Pairs(), Splits(train, dev, ""))  # type: ignore[arg-type]
    assert found == {
        "leaked": 1,
        "shared": 2,
        "repeated": 2,
        "contradicted": 1,
        "distinct": 2,
        "whole": 4,
        "whole_dev": 3,
        "rarest": 0,
    }
