"""``mtlbench check`` of problems: a sound one passes, and each broken promise fails the check that is named for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mtlbench.check.problem import check_problems
from mtlbench.check.problem.certificate import ProblemCertificate
from mtlbench.errors import UsageError

FILE = str(Path(__file__).with_name("broken_problems.py"))


@cache
def certificate(name: str) -> ProblemCertificate:
    (result,) = check_problems([name], plugin_files=(FILE,))
    return result


def failed(name: str) -> dict[str, str]:
    """Check → detail, of those that fail."""
    return {result.check: result.detail for result in certificate(name).results if result.passed is False}


@pytest.mark.parametrize("name", ["sound", "apart-sound", "only-asked", "normed", "alone"])
def test_a_sound_problem_passes(name: str) -> None:
    assert failed(name) == {} and certificate(name).passed
    checks = [result.check for result in certificate(name).results if result.passed]
    families = [f"methods: {family}" for family in ("losses", "inner products", "gradients", "further batches")]
    assert {"data", "model", "repeatable", "pairing", "single task", "resume", "evaluation", *families} <= set(checks)
    refused = {result.check for result in certificate(name).results if result.passed is None and not result.note}
    assert refused == {"methods: of the last layer", "methods: of representation"}


def test_the_parts_of_a_model_are_told_apart() -> None:
    parts = {part.owner: list(part.parameters) for part in certificate("apart-sound").parts}
    assert parts == {
        "shared": ["trunk.0.weight", "trunk.0.bias"],
        "head of sign": ["heads.sign.weight", "heads.sign.bias"],
        "head of size": ["heads.size.weight", "heads.size.bias"],
        "no loss": ["spare.weight", "spare.bias"],
        "frozen": ["fixed.weight", "fixed.bias"],
    }
    assert [part.numbers for part in certificate("apart-sound").parts] == [20, 12, 6, 6, 2]
    notes = {result.check: result.detail for result in certificate("apart-sound").results if result.note}
    assert "no loss reaches spare.weight, spare.bias" in notes["unused"] and "on one core" in notes["step time"]


@pytest.mark.parametrize(
    ("name", "check", "detail"),
    [
        ("other-rows", "data", "other rows the second time"),
        ("rare", "batches", "has no label of task size, which 8 of 80 training rows have"),
        ("leaking", "shared and heads", "'head of sign' change the outputs of sign, size"),
        ("counting", "resume", "differs in the losses of step 4: keep state in the model alone"),
        ("own-generator", "repeatable", "two trainings of one seed differ in the losses of step 1"),
        ("counting", "pairing", "sum and pcgrad have other losses in their first step"),
        ("running-evaluation", "evaluation", "changes the model"),
        ("noisy-evaluation", "evaluation", "two evaluations have different outputs"),
        ("writing", "rows unchanged", "writes to the loaded rows"),
        ("unfinished", "shared and heads", "problem unfinished: model() is missing; write it"),
    ],
)
def test_a_broken_promise_fails_its_check(name: str, check: str, detail: str) -> None:
    assert detail in failed(name)[check], failed(name)


def test_weights_that_are_the_same_for_all_seeds_are_noted() -> None:
    notes = [result.detail for result in certificate("weights-of-one-seed").results if result.check == "seeds"]
    assert len(notes) == 1 and "all seeds have the same weights" in notes[0]
    assert failed("weights-of-one-seed") == {}


def test_a_fault_of_late_batches_fails_no_other_check() -> None:
    assert list(failed("rare")) == ["batches"]


def test_without_data_or_a_model_nothing_else_is_tried() -> None:
    skipped = {result.check for result in certificate("other-rows").results if result.detail == "not tried"}
    assert {"shared and heads", "model", "resume", "step time"} <= skipped


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("needy", r"load\(\) raised TypeError: .*; if it reads files, give their folder: --data-dir FOLDER"),
        ("polite", "problem polite: x.npy is missing"),
    ],
)
def test_data_that_is_not_there_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        check_problems([name], plugin_files=(FILE,))
    assert "\n" not in str(error.value)


def test_the_command_reports_and_exits(mtlbench: Callable[..., Any], tmp_path: Path) -> None:
    sound = mtlbench("check", "sound", "--plugin", FILE)
    assert sound.returncode == 0 and "head of size" in sound.stdout and "sound: " in sound.stdout
    page = mtlbench("check", "leaking", "sum", "--plugin", FILE, "--matrices", "2", "--format", "json")
    method, problem = json.loads(page.stdout)
    assert page.returncode == 1 and method["method"] == "sum" and method["passed"]
    assert problem["problem"] == "leaking" and not problem["passed"] and problem["parts"][0]["part"] == "shared"
    written = mtlbench(
        "check", "sound", "--plugin", FILE, "--format", "markdown", "--output", str(tmp_path / "page.md")
    )
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert written.returncode == 0 and "| resume | pass |" in text and "| shared | 2 | 20 | trunk.0.weight" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sond", "--plugin", FILE], "unknown method or problem 'sond'; did you mean sound"),
        (["sound[width=3]", "--plugin", FILE], "unknown parameter of problem sound: 'width'"),
        (["columns"], "problem columns needs file"),
        (["digits", "--data-dir", "nowhere"], "data folder nowhere does not exist"),
        (["nowhere.py"], "plugin file nowhere.py does not exist"),
    ],
)
def test_bad_input(mtlbench: Callable[..., Any], arguments: list[str], message: str) -> None:
    result = mtlbench("check", *arguments)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
