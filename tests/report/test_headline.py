"""The opening sentences of a report."""

from __future__ import annotations

from factory import grid
from report_json import as_json


def test_three_seeds_claim_nothing() -> None:
    parsed = as_json(grid({"sum": 0.0, "pcgrad": 0.5}, 3))
    assert {c["verdict"] for c in parsed["comparisons"]} == {"too few seeds"}
    assert "3 seeds cannot show a difference" in parsed["headline"][1]


def test_the_headline_names_methods_not_separable_and_the_effects_that_may_be_missed() -> None:
    records = grid({"sum": 0.0, "pcgrad": 0.0, "mgda": -0.2}, 5)
    parsed = as_json(records)
    text = " ".join(parsed["headline"])
    assert "pcgrad is not separable from sum on any task with 5 seeds." in text
    largest = next(
        c["detectable_in_family"]
        for c in parsed["comparisons"]
        if (c["method"], c["task"], c["metric"]) == ("pcgrad", "sst5", "accuracy")
    )
    assert f"A true difference under {largest:.3f} on sst5 accuracy" in text
    assert "margin" not in text and "no difference" not in text.lower()


def test_the_headline_names_methods_whose_delta_m_is_separable() -> None:
    parsed = as_json(grid({"stl": 0.1, "sum": 0.0, "pcgrad": 0.0, "mgda": -0.2}, 5))
    (sentence,) = [s for s in parsed["headline"] if s.startswith("Over all tasks")]
    assert (
        "by Δm against sum, after Holm's correction over 2: mgda is lower (-" in sentence and "pcgrad" not in sentence
    )
    without = as_json(grid({"sum": 0.0, "mgda": -0.2}, 5))["headline"]
    assert not any(sentence.startswith("Over all tasks") for sentence in without)
