"""Bad input of a watch: each is one line that says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mtlbench import UsageError, Watch

SHARED = torch.nn.Linear(2, 2)


def losses(count: int = 2) -> list[Any]:
    return [SHARED(torch.ones(2))[task % 2] for task in range(count)]


CASES: list[tuple[dict[str, Any], str]] = [
    ({"tasks": ["a", "a"]}, "task a is named twice; each loss needs a name of its own"),
    ({"tasks": []}, r"tasks must be a list of names, one for each loss, not \[\]"),
    ({"tasks": "ab"}, "tasks must be a list of names, one for each loss, not 'ab'"),
    ({"tasks": {"a": 1}}, "tasks must be a list of names"),
    ({"tasks": ["a|b", "c"]}, r"a task's name must be letters, digits, '_', '.' or '-', not 'a\|b'"),
    ({"tasks": ["a", 2]}, "a task's name must be"),
    ({"every": 0}, "every must be a whole number of steps, at least 1, not 0"),
    ({"every": -5}, "every must be"),
    ({"every": 2.5}, "every must be"),
    ({"every": True}, "every must be"),
    ({"name": "../up"}, "name must be at most 80 letters, digits, '_', '.' or '-', not '../up'"),
    ({"name": ""}, "name must be"),
    ({"name": ".hidden"}, "name must be"),
    ({"methods": "pcgrad"}, r"methods must be a list of names, such as \['pcgrad'\]"),
    ({"methods": ["pc-grad"]}, "unknown method 'pc-grad'; did you mean pcgrad"),
    ({"methods": ["cagrad[c=-1]"]}, "cagrad.*c"),
    (
        {"methods": ["mgda-ub"]},
        "method mgda-ub cannot be watched: it reads the representation, which a watch is not",
    ),
    ({"methods": ["gradnorm"]}, "method gradnorm cannot be watched: it reads the last shared layer"),
    ({"methods": ["graddrop"]}, "method graddrop cannot be watched: it returns an update, not weights"),
    ({"methods": ["modo"]}, "method modo cannot be watched: it needs 3 batches a step"),
    ({"methods": ["famo"]}, "method famo cannot be watched: it needs the losses after the step"),
    ({"methods": ["excess-mtl"]}, "method excess-mtl cannot be watched: it remembers whole gradients"),
    ({"methods": ["stl"]}, "method stl cannot be watched: it trains one model per task"),
    ({"shared": []}, "shared has no parameters: pass the module that all tasks share, or its parameters"),
    (
        {"shared": torch.nn.Linear(2, 2).requires_grad_(False)},
        "none of the 2 shared parameters requires a gradient: unfreeze some",
    ),
    ({"shared": [SHARED.weight * 2]}, "shared: .* is computed from other tensors: pass the parameters themselves"),
    ({"shared": [torch.zeros(2, dtype=torch.complex64, requires_grad=True)]}, "shared: .* is complex"),
]


@pytest.mark.parametrize(
    ("changes", "message"), CASES, ids=[f"{next(iter(case))}-{number}" for number, (case, _) in enumerate(CASES)]
)
def test_what_is_wrong_at_the_start(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"shared": SHARED, "tasks": ["a", "b"], "folder": tmp_path / "new", **changes}
    with pytest.raises(UsageError, match=message) as caught:
        Watch(**options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (losses(3), r"watch needs a list of 2 losses \(a, b\), got 3 losses"),
        (losses(1), "got 1 losses"),
        (torch.stack(losses()), "got a Tensor"),
        ({"a": losses()[0], "b": losses()[1]}, "got a dict"),
        (
            [loss.detach() for loss in losses()],
            "the loss of task a has no graph: give the tensor itself, before backward",
        ),
        ([losses()[0], 1.5], "the loss of task b has no graph"),
        (
            [losses()[0], SHARED(torch.ones(2))],
            r"the loss of task b is not reduced, its shape is \(2,\): give its mean",
        ),
    ],
    ids=["three", "one", "tensor", "dict", "detached", "number", "unreduced"],
)
def test_what_is_wrong_with_losses(given: Any, message: str, tmp_path: Path) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path)
    with pytest.raises(UsageError, match=message):
        watch(given)


def test_a_call_after_backward_is_told(tmp_path: Path) -> None:
    watch, given = Watch(SHARED, ["a", "b"], tmp_path), [loss.square() for loss in losses()]
    sum(given).backward()
    with pytest.raises(UsageError, match=r"gradient of task a: .* freed by an earlier .*; call watch\(losses\) before"):
        watch(given)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file, not a results folder"):
        Watch(SHARED, ["a"], tmp_path / "file")
    with pytest.raises(UsageError, match=r"cannot write .*: Not a directory"):
        Watch(SHARED, ["a"], tmp_path / "file" / "below")([SHARED(torch.ones(2)).sum()])


def test_a_closed_watch_and_one_that_saw_nothing(tmp_path: Path) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path)
    with pytest.raises(
        UsageError, match=r"nothing was watched: call watch\(losses\) before backward\(\), in every step"
    ):
        watch.close()
    with pytest.raises(
        UsageError, match=r"this watch \(training\) is closed; make a new one, with resume=True to go on"
    ):
        watch(losses())
    watch.close()  # closing again does nothing
    other = Watch(SHARED, ["a", "b"], tmp_path)
    other.begin(1)
    with pytest.raises(UsageError, match="nothing was watched"):
        other.close()
    assert not any(tmp_path.iterdir())


def test_steps_and_scores(tmp_path: Path) -> None:
    watch = Watch(SHARED, ["a", "b"], tmp_path)
    with pytest.raises(UsageError, match="a score needs a step"):
        watch.score("a", 0.5)
    with pytest.raises(UsageError, match="unknown task 'c'; this watch has a, b"):
        watch.score("c", 0.5)
    with pytest.raises(UsageError, match="steps are whole numbers from 1 on, not 0"):
        watch.begin(0)
    watch.begin(3)
    watch(losses())
    with pytest.raises(UsageError, match="step 1 comes after step 3: give another training a Watch of its own"):
        watch.begin(1)
    with pytest.raises(UsageError, match="the score of task a must be a number, not 'good'"):
        watch.score("a", "good")  # type: ignore[arg-type]


def test_parameters_that_are_frozen_meanwhile(tmp_path: Path) -> None:
    shared, head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    watch = Watch(shared, ["a"], tmp_path, every=1)
    watch([head(shared(torch.ones(2))).sum()])
    shared.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing to watch any more: no shared parameter requires a gradient"):
        watch([head(shared(torch.ones(2))).sum()])
