"""``new-method``: files that work as written, and refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtlbench.errors import UsageError
from mtlbench.plugins.scaffold import write_method


def test_new_method_works_as_written(tmp_path: Path, mtlbench: Callable[..., Any]) -> None:
    done = mtlbench("new-method", "my-method", "--folder", str(tmp_path))
    assert done.returncode == 0 and "my_method.py" in done.stdout
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
    ("name", "message"),
    [("Mine", "lower-case"), ("a_b", "lower-case"), ("sum", "exists already"), ("log", "exists already")],
)
def test_new_method_refuses_a_bad_name(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_new_method_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        write_method("mine", tmp_path)
    assert not (tmp_path / "mine.py").exists()
