"""The certificate finds what is broken, names it, and passes what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls

from mtlbench.check import check_methods, families
from mtlbench.check.certificate import Certificate
from mtlbench.check.claims import STATEMENTS
from mtlbench.check.subject import Instance

BROKEN = Path(__file__).with_name("broken.py")


@pytest.fixture(scope="module")
def certificates() -> dict[str, Certificate]:
    results = check_methods([str(BROKEN)], every=False, plugin_files=(), matrices=5, jobs=1)
    return {certificate.method: certificate for certificate in results}


def failures(certificate: Certificate) -> set[str]:
    return {result.check for result in certificate.results if result.passed is False}


@pytest.mark.parametrize(
    ("method", "check"),
    [
        ("wrong-sign", "one task"),
        ("global-generator", "own generator"),
        ("drifting", "own generator"),
        ("forgetful", "replay"),
        ("shared-state", "no side effects"),
        ("writes-on-gradients", "no side effects"),
        ("head-leakage", "heads"),
        ("order-dependent", "order"),
        ("order-dependent-in-distribution", "order"),
        ("divides-by-zero", "finite"),
        ("raises", "finite"),
        ("not-scale-free", "homogeneous"),
        ("stopped-early", "optimality"),
        ("false-claims", "native scale"),
        ("false-claims", "non-conflicting"),
        ("false-claims", "stationary"),
        ("false-claims", "loss-scale invariant"),
        ("quadratic", "linear under scaling"),
    ],
)
def test_a_broken_method_is_caught(certificates: dict[str, Certificate], method: str, check: str) -> None:
    assert check in failures(certificates[method])
    assert not certificates[method].passed


ONLY = {
    "wrong-sign": {"one task"},
    "forgetful": {"replay"},
    "head-leakage": {"heads"},
    "order-dependent": {"order"},
    "order-dependent-in-distribution": {"order"},
    "not-scale-free": {"homogeneous"},
    "stopped-early": {"optimality"},
    "quadratic": {"linear under scaling"},
}


@pytest.mark.parametrize("method", ONLY)
def test_nothing_else_is_named(certificates: dict[str, Certificate], method: str) -> None:
    assert failures(certificates[method]) == ONLY[method]


def test_a_fine_method_passes(certificates: dict[str, Certificate]) -> None:
    assert certificates["fine"].passed
    assert sum(result.passed is True for result in certificates["fine"].results) >= 7


def test_a_failure_shows_the_matrix(certificates: dict[str, Certificate]) -> None:
    (detail,) = [result.detail for result in certificates["raises"].results if result.check == "finite"]
    assert "Singular matrix" in detail and "J = [[" in detail


def test_the_certificate_is_the_same_every_time() -> None:
    runs = [check_methods(["mgda"], every=False, plugin_files=(), matrices=3, jobs=1)[0].results for _ in range(2)]
    assert runs[0] == runs[1]


def test_two_jobs_find_what_one_finds() -> None:
    names = ["sum", "mgda"]
    first, second = (check_methods(names, every=False, plugin_files=(), matrices=3, jobs=jobs) for jobs in (1, 2))
    assert [one.results for one in first] == [two.results for two in second]


# The command


def test_command(mtlbench: Callable[..., Any]) -> None:
    good = mtlbench("check", "sum", "mgda", "--matrices", "3")
    assert good.returncode == 0 and "FAIL" not in good.stdout and "optimality" in good.stdout
    assert all(len(line) <= 80 for line in good.stdout.splitlines() if not line.startswith("one call"))


def test_command_exits_with_1_on_a_failure(mtlbench: Callable[..., Any]) -> None:
    bad = mtlbench("check", "wrong-sign", "--plugin", str(BROKEN), "--matrices", "3")
    assert bad.returncode == 1 and "FAIL" in bad.stdout and "1 FAILED" in bad.stdout


def test_json_and_markdown(mtlbench: Callable[..., Any], tmp_path: Path) -> None:
    certificates = json.loads(mtlbench("check", "mgda", "--matrices", "3", "--format", "json").stdout)
    assert [certificate["method"] for certificate in certificates] == ["mgda"] and certificates[0]["passed"] is True
    assert {check["check"] for check in certificates[0]["checks"]} >= {"finite", "optimality", *STATEMENTS}
    page = tmp_path / "pages" / "certificate.md"
    assert mtlbench("check", "mgda", "--matrices", "3", "--format", "markdown", "--output", str(page)).returncode == 0
    assert "| mgda | pass |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "unknown method 'nope'"),
        (["missing.py"], "missing.py does not exist"),
        ([], "give names of methods or problems"),
        (["sum", "--format", "pdf"], "unknown format 'pdf'"),
        (["sum", "--matrices", "0"], "matrices"),
    ],
)
def test_bad_input(mtlbench: Callable[..., Any], arguments: list[str], message: str) -> None:
    result = mtlbench("check", *arguments)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


# Families are what their docstrings say


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_families(tasks: int) -> None:
    draw = np.random.default_rng(0)
    for family in families.ALL:
        for _ in range(20):
            rows = family(draw, tasks, 7)
            assert rows.shape == (tasks, 7) and np.isfinite(rows).all()
            if family in families.STATIONARY:
                stacked = np.vstack([rows.T, np.ones(tasks)])  # v ≥ 0 with vᵀJ = 0 and Σ v = 1
                assert nnls(stacked, np.append(np.zeros(7), 1.0))[1] < 1e-12
            if family is families.opposed and tasks > 1:
                assert (rows[0] == -rows[-1]).all()
            if family is families.duplicated:
                assert (rows[0] == rows[-1]).all()
            if family is families.rank_one:
                assert np.linalg.matrix_rank(rows) <= 1


def test_scaling_an_instance() -> None:
    instance = Instance(np.ones((2, 3)), np.array([1.0, 2.0]))
    scaled = instance.scaled(np.array([2.0, 3.0]), losses=True)
    assert scaled.rows.tolist() == [[2.0] * 3, [3.0] * 3] and scaled.losses.tolist() == [2.0, 6.0]
