"""Ratios and failures in the results of ``mtlbench bench``, and their text."""

from __future__ import annotations

from collections.abc import Callable

from mtlbench.bench.result import PLAIN, BenchResult, ContenderResult
from mtlbench.bench.text import as_data, as_text
from mtlbench.plan.cells import Workload


def bench_result(make_workload: Callable[..., Workload], contenders: list[ContenderResult]) -> BenchResult:
    return BenchResult("tiny", make_workload(steps=2).recipe, ("one", "two"), "a tiny BERT", contenders)


def test_ratios_are_medians_of_pairs(make_workload: Callable[..., Workload]) -> None:
    plain, ours = (
        ContenderResult(PLAIN, None, [1.0, 2.0, 4.0], 100),
        ContenderResult("mine", "packed", [2.0, 1.0, 2.0], 50),
    )
    assert ours.time_ratio(plain) == 0.5 and ours.memory_ratio(plain) == 0.5
    failed = ContenderResult("mine", "lean", [1.0], None, "stopped")
    assert failed.time_ratio(plain) is None and failed.memory_ratio(plain) is None
    whole = bench_result(make_workload, [plain, ours, failed])
    assert whole.failed and as_data(whole)["contenders"][1]["time_by_plain"] == 0.5
    assert as_text(whole, width=80, color=False).splitlines()[-1] == "mine, lean: stopped"


def test_an_engine_that_is_not_possible_is_no_failure(make_workload: Callable[..., Workload]) -> None:
    impossible = ContenderResult(
        "sum", "packed", error="engine=packed is not possible: encoder family xlnet is not among bert"
    )
    assert not bench_result(make_workload, [ContenderResult(PLAIN, None, [1.0], 1), impossible]).failed
