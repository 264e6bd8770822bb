"""``info`` and the methods page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.plugins.describe import facts, methods_page
from mtlbench.plugins.registry import load_registry

ROOT = Path(__file__).parents[2]
REGISTRY = load_registry()
METHODS = REGISTRY.catalogue()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name: str) -> None:
    cls = REGISTRY.method_class(name)
    assert len(cls.summary()) > 10 and cls.source
    descriptions = facts(cls)
    assert all(descriptions.values())
    assert len((cls.__doc__ or "").split()) > 30, "the formula, its symbols, deviations"


def test_facts() -> None:
    descriptions = facts(REGISTRY.method_class("gradnorm"))
    assert descriptions["Reads"].endswith("of the last shared layer, and the losses")
    assert descriptions["Cost of a step"].startswith("K backwards")
    assert facts(REGISTRY.method_class("sum"))["Cost of a step"] == "that of a plain sum"
    assert facts(REGISTRY.method_class("famo"))["Clipping"].endswith("norm 1")


def test_the_methods_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == methods_page(REGISTRY), "run: mtlbench list methods --markdown > docs/methods.md"


def test_the_certificate_page_has_every_method_and_no_failure() -> None:
    page = (ROOT / "docs" / "certificate.md").read_text(encoding="utf-8")
    assert "FAIL" not in page and "All pass." in page
    assert [name for name in METHODS if f"\n| {name} |" not in page] == []


def test_info_of_a_wrapped_method(mtlbench: Callable[..., Any]) -> None:
    output = mtlbench("info", "log-cagrad").stdout
    assert "log-cagrad" in output and "Around cagrad" in output and "c  number" in output
