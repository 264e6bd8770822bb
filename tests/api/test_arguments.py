"""Bad arguments are one line that says what is wrong, before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtlbench
from mtlbench.api.arguments import changes_of, plugin_files, seeds_of, words_of

Call = Callable[[], Any]

FAULTS: dict[str, tuple[Call, str]] = {
    "unknown suite": (lambda: mtlbench.run("digit"), "unknown suite 'digit'; did you mean digits"),
    "suite": (lambda: mtlbench.run(3), "suite=3: give the name of a suite"),  # type: ignore[arg-type]
    "problem": (lambda: mtlbench.run(problem=dict), "problem=<class 'dict'>: give the spec"),  # type: ignore[arg-type]
    "problem and model": (lambda: mtlbench.run(problem="digits", model="minilm"), "--model is for tasks on texts"),
    "unknown method": (lambda: mtlbench.run("digits", ["pc-grad"]), "did you mean pcgrad"),
    "no method": (lambda: mtlbench.run("digits", []), "give at least one method"),
    "a method": (lambda: mtlbench.run("digits", ["sum", 3]), "methods: 3 is no text"),  # type: ignore[list-item]
    "methods": (lambda: mtlbench.run("digits", 3), "methods=3: give a text or a list"),  # type: ignore[arg-type]
    "no seed": (lambda: mtlbench.run("digits", seeds=0), "number of seeds must be 1 to 10000, not 0"),
    "a seed": (lambda: mtlbench.run("digits", seeds=[0, 1.5]), "seeds: 1.5 is no whole number"),  # type: ignore[list-item]
    "seeds": (lambda: mtlbench.run("digits", seeds=True), "seeds=True: give a text or a list"),
    "negative seed": (lambda: mtlbench.run("digits", seeds=[-1]), "seeds must be a number"),
    "unknown argument": (
        lambda: mtlbench.run("digits", step=3),
        "argument of mtlbench.run: 'step'; did you mean steps",
    ),
    "argument of tune": (lambda: mtlbench.tune("digits", trial=3), "mtlbench.tune: 'trial'; did you mean trials"),
    "processes": (lambda: mtlbench.run("digits", processes=2), "did you mean processes_per_cell"),
    "steps": (lambda: mtlbench.run("digits", steps="many"), "option steps=many should be a valid integer"),
    "learning rate": (lambda: mtlbench.run("digits", lr=-1), "option lr=-1 should be greater than 0"),
    "jobs": (lambda: mtlbench.run("digits", jobs="2"), "jobs='2': give a whole number"),  # type: ignore[arg-type]
    "no jobs": (lambda: mtlbench.run("digits", jobs=0), "jobs=0: give a whole number, at least 1"),
    "executor": (lambda: mtlbench.run("digits", executor="slrum"), "unknown executor 'slrum'; did you mean slurm"),
    "device": (lambda: mtlbench.run("digits", device="gpu"), "device 'gpu' is not known"),
    "checkpoints": (lambda: mtlbench.run("digits", checkpoint_every=-1), "checkpoint_every=-1: give seconds"),
    "checkpoint": (lambda: mtlbench.run("digits", checkpoint_every=None), "checkpoint_every=None"),  # type: ignore[arg-type]
    "results": (lambda: mtlbench.run("digits", results=3), "results=3: give a path"),  # type: ignore[arg-type]
    "data folder": (lambda: mtlbench.run("digits", data_dir="nowhere"), "data folder nowhere does not exist"),
    "plugin": (lambda: mtlbench.run("digits", plugin=["no.py"]), "no.py"),
    "trials": (lambda: mtlbench.tune("digits", trials=0), "trials=0: give a whole number, at least 1"),
    "rates": (lambda: mtlbench.tune("digits", lr=(1, 2, 3)), "write LOW:HIGH"),  # type: ignore[arg-type]
    "tuning seed": (lambda: mtlbench.tune("digits", tuning_seed=-1), "tuning_seed=-1"),
    "sampler": (lambda: mtlbench.tune("digits", sampler="halt"), "unknown sampler 'halt'; did you mean halton"),
    "single task": (lambda: mtlbench.bench("digits", ["stl"]), "trains a model per task"),
    "matrices": (lambda: mtlbench.check("sum", matrices=0), "matrices=0"),
    "nothing": (lambda: mtlbench.check(), "nothing to check"),
    "claim": (lambda: mtlbench.check("sum", as_="pcgrad"), "--as says what --foreign code claims to be"),
    "no records": (lambda: mtlbench.load_results("nowhere"), "no records in nowhere"),
    "report": (lambda: mtlbench.report("nowhere"), "no records in nowhere"),
    "report of nothing": (lambda: mtlbench.report(None), "results=None: give a path"),  # type: ignore[arg-type]
    "format": (lambda: mtlbench.report(format="markdwon"), "unknown format 'markdwon'; did you mean markdown"),
    "one folder": (lambda: mtlbench.report(compare=("a",)), "compare takes two results folders, not 1"),  # type: ignore[arg-type]
    "three": (lambda: mtlbench.report("c", compare=("a", "b")), "compare names both results folders"),
    "doctor": (lambda: mtlbench.diagnose("nowhere"), "no records in nowhere"),
    "status": (lambda: mtlbench.status("nowhere"), "results folder nowhere does not exist"),
    "sources": (lambda: mtlbench.merge([], "into"), "give at least one results folder"),
    "source": (lambda: mtlbench.merge("nowhere", "into"), "results folder nowhere does not exist"),
    "export": (lambda: mtlbench.export("out", to="cvs"), "unknown export format 'cvs'; did you mean csv"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_argument_is_one_line(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = FAULTS[fault]
    with pytest.raises(mtlbench.UsageError) as raised:
        call()
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (5, "5"),
        ("0,3", "0,3"),
        ([3], "3,"),
        (range(2), "0,1,"),
        (np.arange(2), "0,1,"),
        (np.int64(4), "4"),
        (None, None),
    ],
)
def test_seeds_are_a_number_a_text_or_a_list(given: Any, words: str | None) -> None:
    assert seeds_of(given) == words


def test_methods_keep_their_brackets_and_a_text_stays_as_it_is() -> None:
    assert words_of("methods", ["sum", "cagrad[c=0.2/0.4]"]) == "sum,cagrad[c=0.2/0.4]"
    assert words_of("methods", "sum, pcgrad") == "sum, pcgrad"


def test_one_plugin_file_or_several(tmp_path: Path) -> None:
    assert plugin_files("my.py") == ("my.py",)
    assert plugin_files([tmp_path / "a.py", "b.py"]) == (str(tmp_path / "a.py"), "b.py")


def test_none_keeps_the_suites_value() -> None:
    assert changes_of(mtlbench.run, {"steps": None, "lr": 0.1}) == {"lr": 0.1}
    assert changes_of(mtlbench.run, {"tasks": ["left"]}, 2) == {"tasks": "left", "processes": 2}
