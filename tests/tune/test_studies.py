"""Trials worked out from records, and the file that is made of them; the records are written by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mtlbench.errors import UsageError
from mtlbench.grid.tuned_file import read_tuned, tuned_methods, write_tuned
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import load_registry
from mtlbench.tune.sampler import Sampler, load_optuna
from mtlbench.tune.space import read_space
from mtlbench.tune.summary import summarize
from mtlbench.tune.trials import Budget, MethodSearch, Trial, best, ended

REGISTRY = load_registry()
LR = "1e-5:1e-3:log"
Records = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def workload(make_workload: Callable[..., Workload]) -> Workload:
    return make_workload()


def study(spec: str) -> MethodSearch:
    method = REGISTRY.method(spec)
    texts = {"base_lr": LR, **method.search}
    return MethodSearch(method, {name: read_space(text, method, name, 3) for name, text in texts.items()})


def budget(trials: int = 6, sampler: Sampler = "halton", seeds: int = 1, seed: int = 0) -> Budget:
    return Budget(trials, tuple(range(1_000_000, 1_000_000 + seeds)), sampler, seed)


def record(scores: Mapping[str, float] | str) -> dict[str, Any]:
    """Return a record's part that counts here: of a finished cell with these scores, or one that failed so."""
    if isinstance(scores, str):
        return {"status": "failed", "error": {"type": scores, "message": f"a {scores}"}}
    return {
        "status": "done",
        "error": None,
        "tasks": {task: {"metrics": ["first", "second"]} for task in scores},
        "scores": {task: {"second": 9.0, "first": score} for task, score in scores.items()},
    }


def score_of(trial: Trial) -> float:
    """Return a score that is best at a learning rate of 1e-4."""
    lr = trial.method.base_lr or 1e-4
    return 1.0 - abs(1.0 - lr / 1e-4) / 10.0


def play(one: MethodSearch, workload: Workload, given: Budget, score: Callable[[Trial], Any] = score_of) -> list[Trial]:
    """Answer open trials, one after another, until there is none."""
    records: Records = {}
    while True:
        trials = one.trials(workload, given, records)
        waiting = [trial for trial in trials if trial.status == "open"]
        if not waiting:
            return trials
        for cell in waiting[0].cells:
            found = score(waiting[0])
            records[cell.key] = record(found if isinstance(found, str) else {"a": found, "b": found})


def test_the_first_trial_is_the_method_as_it_was_written(workload: Workload) -> None:
    for spec in ("sum", "cagrad", "cagrad[rescale=c2]", "fixed", "stl"):
        first = study(spec).trials(workload, budget(), {})[0]
        assert first.method.spec == spec and first.status == "open"
        assert [cell.seed for cell in first.cells] == [1_000_000]


def test_every_method_has_the_same_number_of_trials_and_the_same_learning_rates(workload: Workload) -> None:
    rates = {
        tuple(trial.method.base_lr for trial in study(spec).trials(workload, budget(9), {}))
        for spec in ("sum", "cagrad", "famo", "fixed", "stl", "log-cagrad")
    }
    assert len(rates) == 1
    tried = [rate for rate in rates.pop() if rate is not None]
    assert len(set(tried)) == 8 and min(tried) >= 1e-5 and max(tried) <= 1e-3


def test_parameters_of_the_methods_own_come_out_of_the_same_budget(workload: Workload) -> None:
    trials = study("fixed").trials(workload, budget(5), {})
    assert len(trials) == 5 and len({trial.method.spec for trial in trials}) == 5
    for trial in trials[1:]:
        weights = [float(piece) for piece in trial.method.parameters["w"].split(":")]
        assert len(weights) == 3 and sum(weights) == pytest.approx(3.0, rel=1e-2)


def test_a_trial_has_the_mean_over_tasks_and_seeds(workload: Workload) -> None:
    one, given = study("sum"), budget(1, seeds=2)
    cells = one.trials(workload, given, {})[0].cells
    records: Records = {cells[0].key: record({"a": 0.2, "b": 0.6})}
    assert one.trials(workload, given, records)[0].status == "open"
    records[cells[1].key] = record({"a": 0.4, "b": 0.8})
    (trial,) = one.trials(workload, given, records)
    assert trial.status == "done" and trial.scores == pytest.approx({"a": 0.3, "b": 0.7})
    assert trial.score == pytest.approx(0.5)
    records[cells[1].key] = record("CellError")
    (trial,) = one.trials(workload, given, records)
    assert (trial.status, trial.score, trial.reason) == ("failed", None, "a CellError")


def test_what_the_machine_did_is_tried_again(workload: Workload) -> None:
    one, given = study("sum"), budget(1)
    (cell,) = one.trials(workload, given, {})[0].cells
    for error, status in (
        ("CellError", "failed"),
        ("SolverError", "failed"),
        ("OutOfMemory", "open"),
        ("ProcessDied", "open"),
    ):
        assert one.trials(workload, given, {cell.key: record(error)})[0].status == status
        assert ended(record(error)) == (status == "failed")
    assert not ended(None)


def test_the_best_is_the_earliest_of_the_highest(workload: Workload) -> None:
    trials = play(study("sum"), workload, budget(), lambda trial: 0.5 if trial.number in (2, 4) else 0.1)
    chosen = best(trials)
    assert chosen is not None and chosen.number == 2
    assert best(play(study("sum"), workload, budget(), lambda trial: "CellError")) is None
    worst = best(play(study("sum"), workload, budget(), lambda trial: -0.5 if trial.number else "CellError"))
    assert worst is not None and worst.number == 1


def test_an_optimum_on_an_edge_is_told(workload: Workload) -> None:
    one = study("cagrad")
    found = one.trials(workload, budget(40), {})
    lowest = min(found, key=lambda trial: trial.method.base_lr or 1.0)
    assert one.edges(lowest, workload)["base_lr"] == "low"
    assert one.edges(found[0], workload) == {}


def test_tpe_waits_for_all_before_it_and_is_replayed_exactly(workload: Workload) -> None:
    pytest.importorskip("optuna", reason="needs Optuna: pip install 'mtlbench[tune]'")
    one, given = study("cagrad"), budget(8, "tpe")
    assert len(one.trials(workload, given, {})) == 4
    trials = play(one, workload, given)
    assert [trial.method.spec for trial in trials] == [trial.method.spec for trial in play(one, workload, given)]
    fixed = [trial.method.spec for trial in one.trials(workload, budget(8), {})]
    specs = [trial.method.spec for trial in trials]
    assert specs[:4] == fixed[:4] and specs[4:] != fixed[4:]
    other = play(one, workload, given, lambda trial: "CellError" if trial.number == 1 else -score_of(trial))
    assert [trial.method.spec for trial in other[4:]] != specs[4:]
    assert len(play(study("mgda"), workload, given)) == len(play(study("fixed"), workload, given)) == 8


def test_another_tuning_seed_gives_other_points(workload: Workload) -> None:
    one = study("sum")
    specs = [[trial.method.spec for trial in one.trials(workload, budget(seed=seed), {})] for seed in (0, 0, 1)]
    assert specs[0] == specs[1] and not set(specs[0][1:]) & set(specs[2][1:])


# the file


@pytest.fixture
def file(workload: Workload, tmp_path: Path) -> Path:
    given = budget(4)
    found = [(one, play(one, workload, given)) for one in (study("sum"), study("cagrad"))]
    return write_tuned(summarize(workload, "some group", given, found), tmp_path)


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any], *, checksum: bool = True) -> Path:
    from mtlbench.plan.cells import fingerprint

    content = json.loads(path.read_text())
    change(content)
    if checksum:
        del content["checksum"]
        content["checksum"] = fingerprint(content)
    path.write_text(json.dumps(content))
    return path


def test_the_best_of_each_method_is_reported_on_other_seeds(file: Path) -> None:
    tuned = read_tuned(file)
    methods, group = tuned_methods(file, REGISTRY, [0, 1, 2])
    assert [method.name for method in methods] == ["sum", "cagrad"] and group == "some group"
    assert [method.spec for method in methods] == [one.chosen.spec for one in tuned.studies if one.chosen]
    assert tuned.lr == 1e-4 and tuned.seeds == [1_000_000] and tuned.complete
    assert {len(one.trials) for one in tuned.studies} == {tuned.trials}
    with pytest.raises(UsageError, match=r"seed 1000000 was tuned on .*: report on other seeds"):
        tuned_methods(file, REGISTRY, [0, 1_000_000])


def test_a_tuning_that_is_not_finished_is_not_reported(workload: Workload, tmp_path: Path) -> None:
    given = budget(4)
    found = [
        (study("sum"), play(study("sum"), workload, given)),
        (study("mgda"), study("mgda").trials(workload, given, {})),
    ]
    file = write_tuned(summarize(workload, "some group", given, found), tmp_path)
    with pytest.raises(UsageError, match=r"not finished \(sum 4 of 4, mgda 0 of 4 trials\)"):
        tuned_methods(file, REGISTRY, [0])


def test_a_method_without_a_success_is_named(workload: Workload, tmp_path: Path) -> None:
    given = budget(2)
    found = [(study("mgda"), play(study("mgda"), workload, given, lambda trial: "CellError"))]
    file = write_tuned(summarize(workload, "some group", given, found), tmp_path)
    with pytest.raises(UsageError, match="no trial of mgda succeeded"):
        tuned_methods(file, REGISTRY, [0])


@pytest.mark.parametrize(
    ("change", "checksum", "told"),
    [
        (lambda content: content["studies"][0].update(best=3), False, "its checksum does not fit"),
        (lambda content: content.update(schema=2), True, "is of schema 2; this mtlbench reads schema 1"),
        (lambda content: content["studies"][0].pop("best"), True, "studies.0.best: Field required"),
        (lambda content: content.update(more=1), True, "more: Extra inputs are not permitted"),
    ],
)
def test_a_file_of_another_form_is_one_line(file: Path, change: Any, checksum: bool, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_tuned(rewritten(file, change, checksum=checksum))
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "\x00"])
def test_a_file_that_is_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"is not a file of mtlbench tune"):
        read_tuned(path)
    with pytest.raises(UsageError, match=r"cannot read"):
        read_tuned(tmp_path / "absent.json")


def test_without_optuna_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"needs Optuna: pip install 'mtlbench\[tune\]', or --sampler halton"):
        load_optuna()
