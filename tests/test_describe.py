"""``info``, the methods page, and ``new-method``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.errors import UsageError
from mtlbench.plugins.describe import facts, methods_page
from mtlbench.plugins.registry import load_registry
from mtlbench.plugins.scaffold import write_method

ROOT = Path(__file__).parents[1]
REGISTRY = load_registry()
METHODS = REGISTRY.catalogue()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_all_about_itself(name: str) -> None:
    cls = REGISTRY.method_class(name)
    assert len(cls.summary()) > 10 and cls.source
    told = facts(cls)
    assert all(told.values())
    assert len((cls.__doc__ or "").split()) > 30, "the formula, its symbols, deviations"


def test_facts() -> None:
    told = facts(REGISTRY.method_class("gradnorm"))
    assert told["Reads"].endswith("of the last shared layer, and the losses")
    assert told["Cost of a step"].startswith("K backwards")
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
    told = mtlbench("info", "log-cagrad").stdout
    assert "log-cagrad" in told and "Around cagrad" in told and "c  number" in told


# new-method


def test_new_method_works_as_written(tmp_path: Path, mtlbench: Callable[..., Any]) -> None:
    made = mtlbench("new-method", "my-method", "--folder", str(tmp_path))
    assert made.returncode == 0 and "my_method.py" in made.stdout
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_method.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert mtlbench("check", str(tmp_path / "my_method.py"), "--matrices", "5").returncode == 0


def test_new_method_in_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "mtlbench").mkdir()
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").touch()
    method, test = write_method("mine", tmp_path)
    assert method == tmp_path / "methods" / "mine.py" and test == tmp_path / "tests" / "methods" / "test_mine.py"
    assert method.is_file() and 'METHOD = "mine"' in test.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "told"),
    [("Mine", "lower-case"), ("a_b", "lower-case"), ("sum", "exists already"), ("log", "exists already")],
)
def test_new_method_refuses_a_bad_name(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        write_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_new_method_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        write_method("mine", tmp_path)
    assert not (tmp_path / "mine.py").exists()
