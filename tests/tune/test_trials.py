"""Trials of a search, derived from records that are made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from tune_searches import budget_of, play, record, score_of, search_of

from mtlbench.plan.cells import Workload
from mtlbench.tune.trials import best, ended

Records = dict[str, dict[str, Any]]


def test_the_first_trial_is_the_method_as_it_was_written(workload: Workload) -> None:
    for spec in ("sum", "cagrad", "cagrad[rescale=c2]", "fixed", "stl"):
        first = search_of(spec).trials(workload, budget_of(), {})[0]
        assert first.method.spec == spec and first.status == "open"
        assert [cell.seed for cell in first.cells] == [1_000_000]


def test_every_method_has_the_same_number_of_trials_and_the_same_learning_rates(workload: Workload) -> None:
    rates = {
        tuple(trial.method.base_lr for trial in search_of(spec).trials(workload, budget_of(9), {}))
        for spec in ("sum", "cagrad", "famo", "fixed", "stl", "log-cagrad")
    }
    assert len(rates) == 1
    tried = [rate for rate in rates.pop() if rate is not None]
    assert len(set(tried)) == 8 and min(tried) >= 1e-5 and max(tried) <= 1e-3


def test_parameters_of_the_methods_own_come_out_of_the_same_budget(workload: Workload) -> None:
    trials = search_of("fixed").trials(workload, budget_of(5), {})
    assert len(trials) == 5 and len({trial.method.spec for trial in trials}) == 5
    for trial in trials[1:]:
        weights = [float(piece) for piece in trial.method.parameters["w"].split(":")]
        assert len(weights) == 3 and sum(weights) == pytest.approx(3.0, rel=1e-2)


def test_a_trial_has_the_mean_over_tasks_and_seeds(workload: Workload) -> None:
    search, budget = search_of("sum"), budget_of(1, seeds=2)
    cells = search.trials(workload, budget, {})[0].cells
    records: Records = {cells[0].key: record({"a": 0.2, "b": 0.6})}
    assert search.trials(workload, budget, records)[0].status == "open"
    records[cells[1].key] = record({"a": 0.4, "b": 0.8})
    (trial,) = search.trials(workload, budget, records)
    assert trial.status == "done" and trial.scores == pytest.approx({"a": 0.3, "b": 0.7})
    assert trial.score == pytest.approx(0.5)
    records[cells[1].key] = record("CellError")
    (trial,) = search.trials(workload, budget, records)
    assert (trial.status, trial.score, trial.reason) == ("failed", None, "a CellError")


def test_what_the_machine_did_is_tried_again(workload: Workload) -> None:
    search, budget = search_of("sum"), budget_of(1)
    (cell,) = search.trials(workload, budget, {})[0].cells
    for error, status in (
        ("CellError", "failed"),
        ("SolverError", "failed"),
        ("OutOfMemory", "open"),
        ("ProcessDied", "open"),
    ):
        assert search.trials(workload, budget, {cell.key: record(error)})[0].status == status
        assert ended(record(error)) == (status == "failed")
    assert not ended(None)


def test_the_best_is_the_earliest_of_the_highest(workload: Workload) -> None:
    trials = play(search_of("sum"), workload, budget_of(), lambda trial: 0.5 if trial.number in (2, 4) else 0.1)
    chosen = best(trials)
    assert chosen is not None and chosen.number == 2
    assert best(play(search_of("sum"), workload, budget_of(), lambda trial: "CellError")) is None
    worst = best(play(search_of("sum"), workload, budget_of(), lambda trial: -0.5 if trial.number else "CellError"))
    assert worst is not None and worst.number == 1


def test_an_optimum_on_an_edge_is_told(workload: Workload) -> None:
    search = search_of("cagrad")
    found = search.trials(workload, budget_of(40), {})
    lowest = min(found, key=lambda trial: trial.method.base_lr or 1.0)
    assert search.edges(lowest, workload)["base_lr"] == "low"
    assert search.edges(found[0], workload) == {}


def test_tpe_waits_for_all_before_it_and_is_replayed_exactly(workload: Workload) -> None:
    pytest.importorskip("optuna", reason="needs Optuna: pip install 'mtlbench[tune]'")
    search, budget = search_of("cagrad"), budget_of(8, "tpe")
    assert len(search.trials(workload, budget, {})) == 4
    trials = play(search, workload, budget)
    assert [trial.method.spec for trial in trials] == [trial.method.spec for trial in play(search, workload, budget)]
    fixed = [trial.method.spec for trial in search.trials(workload, budget_of(8), {})]
    specs = [trial.method.spec for trial in trials]
    assert specs[:4] == fixed[:4] and specs[4:] != fixed[4:]
    other = play(search, workload, budget, lambda trial: "CellError" if trial.number == 1 else -score_of(trial))
    assert [trial.method.spec for trial in other[4:]] != specs[4:]
    assert len(play(search_of("mgda"), workload, budget)) == len(play(search_of("fixed"), workload, budget)) == 8


def test_another_tuning_seed_gives_other_points(workload: Workload) -> None:
    search = search_of("sum")
    specs = [[trial.method.spec for trial in search.trials(workload, budget_of(seed=seed), {})] for seed in (0, 0, 1)]
    assert specs[0] == specs[1] and not set(specs[0][1:]) & set(specs[2][1:])
