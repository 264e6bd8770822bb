"""Suggestions for names that nobody registered."""

from __future__ import annotations

import pytest

from mtlbench.errors import UsageError, closest, unknown
from mtlbench.plugins.registry import load_registry

METHODS = ("pcgrad", "nash-mtl", "uw", "uw-so", "mgda-ub", "trimmed-mean", "batch_size")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("PCGrad", "pcgrad"), ("NashMTL", "nash-mtl"), ("Trimmed Mean", "trimmed-mean"), ("batch-size", "batch_size")],
)
def test_case_spaces_hyphens_and_underscores_do_not_count(written: str, meant: str) -> None:
    assert closest(written, METHODS) == [meant]


def test_misspelt_names_are_found_in_any_case() -> None:
    assert closest("pcgrd", METHODS) == closest("PCGRD", METHODS) == ["pcgrad"]
    assert closest("xyz", METHODS) == []
    assert "known: a, b" in str(unknown("method", "xyz", ["b", "a"], ["pcgrad"]))


@pytest.mark.parametrize("written", ["Log-CAGrad", "log_cagrad", "logcagrad"])
def test_wrapped_methods_are_suggested(written: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean log-cagrad\?"):
        load_registry().method(written)


@pytest.mark.parametrize(("written", "meant"), [("SST-5", "sst5"), ("STS_B", "stsb"), ("Sentiment", "sentiment")])
def test_tasks_are_suggested(written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"did you mean {meant}\?"):
        load_registry().task(written)
