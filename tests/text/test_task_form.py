"""Validation of a plugin's task: faults are one line before the first cell, and harmless deviations are converted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from mtlbench.contract.task import Rows, Splits, Task
from mtlbench.errors import CellError, UsageError
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.problem.metrics import METRICS, metric, score
from mtlbench.recipe.suite import load_suite
from mtlbench.training.train import train

TEXTS: list[Any] = [
    (f"the {word}",) for word in ("good", "bad", "red", "blue", "film", "run", "house", "very", "dog", "cat")
]
PAIRS: list[Any] = [(text, "a dog") for (text,) in TEXTS]
CLASSES = np.arange(10) % 3
SCORES = np.arange(10.0)
SETS = np.stack([CLASSES == 0, CLASSES == 1, SCORES > 4], axis=1).astype(np.int64)


@dataclass
class Odd(Task):
    """A task with whatever a test puts into :attr:`given`."""

    name = "odd"
    given: ClassVar[dict[str, Any]] = {}

    def __getattribute__(self, name: str) -> Any:
        given = type(self).given
        if name in given:
            value = given[name]
            if isinstance(value, Exception):
                raise value
            return value
        return super().__getattribute__(name)


def splits(texts: Any = TEXTS, labels: Any = CLASSES, **changes: Any) -> Splits:
    rows = Rows(texts, labels)
    return replace(Splits(rows, rows, "made up"), **changes)


def loads(value: Any) -> Callable[[Any], Any]:
    return lambda data_dir: value


Try = Callable[..., Workload]


@pytest.fixture
def attempt(suite_file: Path) -> Try:
    """Load the tiny workload with the odd task alone."""
    registry = load_registry()
    registry.add(Odd, "a test")

    def call(recipe: dict[str, Any] | None = None, **given: Any) -> Workload:
        Odd.given = {"prediction": "classification", "outputs": 3, "load": loads(splits()), **given}
        return Workload.load(
            "tiny", load_suite(str(suite_file)).recipe({"tasks": ("odd",), **(recipe or {})}), registry
        )

    return call


def refused(attempt: Try, recipe: dict[str, Any] | None = None, **given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        attempt(recipe, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Rows


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        (None, "load() returned None; return Splits(train, dev, source)"),
        ((Rows(TEXTS, CLASSES), Rows(TEXTS, CLASSES)), "load() returned an object of type tuple"),
        (splits(dev=None), "split dev: None instead of its rows; give Rows(texts, labels)"),
        (splits(train=TEXTS), "split train: an object of type list instead of its rows"),
        (splits(test=(TEXTS, CLASSES)), "split test: an object of type tuple instead of its rows"),
        (splits(source=Path("x")), "the source of its splits is PosixPath('x'); describe where the rows come from"),
        (splits(dev=Rows([], np.zeros(0, int))), "split dev: no rows; give at least one"),
        (splits(train=Rows([], [])), "split train: no rows"),
        (splits(dev=Rows(TEXTS, CLASSES, None)), "split dev: skipped is None; give the number of rows left out"),  # type: ignore[arg-type]
        (splits(dev=Rows(PAIRS, CLASSES)), "split dev: 2 texts per row, but the training rows have 1"),
        (splits([text for (text,) in TEXTS]), "row 0: its texts are the plain string 'the good'; write (text,)"),
        (splits(text for text in TEXTS), "its texts are an object of type generator; give a list of tuples"),
        (splits(pd.Series(TEXTS)), "its texts are an object of type Series"),
        (splits("the film"), "its texts are the plain string 'the film'"),
        (splits(None), "its texts are None"),
        (splits([*TEXTS[:4], *PAIRS[4:]]), "row 4: 2 texts, but row 0 has 1; give all rows the same number"),
        (splits([(*pair, "x") for pair in PAIRS]), "row 0: 3 texts; give one or two"),
        (splits([(), *TEXTS[1:]]), "row 0: 0 texts; give one or two"),
        (splits([*TEXTS[:9], ("",)]), "row 9: its text is empty; leave the row out"),
        (splits([*TEXTS[:8], (" \n",), ("",)]), "row 8: its text is empty"),
        (splits([TEXTS[0], (None,), *TEXTS[2:]]), "row 1: its text is None"),
        (splits([TEXTS[0], (b"raw",), *TEXTS[2:]]), "row 1: its text is an object of type bytes"),
        (splits([TEXTS[0], (float("nan"),), *TEXTS[2:]]), "row 1: its text is an object of type float"),
        (splits([TEXTS[0], ("\ud800",), *TEXTS[2:]]), "row 1: its text '\\ud800' holds half a surrogate pair"),
        (splits(labels=CLASSES[:-1]), "10 texts and 9 labels; give one label per row"),
        (splits(labels=CLASSES[:, None]), "have the shape (10, 1), not (10,); give labels.ravel()"),
        (splits(labels=SETS), "have the shape (10, 3), not (10,)"),
        (splits(labels=pd.DataFrame({"label": CLASSES})), "have the shape (10, 1), not (10,)"),
        (splits(labels=np.int64(1)), "have the shape (), not (10,)"),
        (splits(labels=None), "its labels are of type object"),
        (splits(labels=[0, 1, None, *CLASSES[3:]]), "row 2: label None: its labels are of type object; give whole"),
        (splits(labels=["neg", *CLASSES[1:]]), "row 0: label 'neg': its labels are of type"),
        (splits(labels=np.where(CLASSES == 1, np.nan, CLASSES)), "row 1: label nan: its labels are of type float64"),
        (splits(labels=CLASSES / 2), "row 1: label 0.5: its labels are of type float64; give whole numbers"),
        (splits(labels=CLASSES.astype(float)), "split train: its labels are of type float64; give whole numbers"),
        (
            splits(labels=[[0], [1, 2], *CLASSES[2:]]),
            "its labels are an object of type list that cannot be converted to an array",
        ),
        (splits(labels=iter(CLASSES)), "its labels are of type object"),
        (splits(labels=np.ma.masked_equal(CLASSES, 2)), "some of its labels are masked"),
        (
            splits(labels=pd.Series([0, 1, None, *CLASSES[3:]], dtype="Int64")),
            "row 2: label nan: its labels are of type float64",
        ),
        (splits(labels=pd.Categorical(["a", "b"] * 5)), "row 0: label 'a': its labels are of type object"),
        (splits(labels=CLASSES + 1), "row 2: label 3 is not one of the classes 0 to 2 (as in 3 rows)"),
        (splits(labels=CLASSES - 1), "row 0: label -1 is not one of the classes 0 to 2"),
        (splits(labels=0 * CLASSES), "all training labels are equal, 0; there is nothing to learn"),
        (splits(TEXTS[:1], CLASSES[:1]), "all training labels are equal"),
    ],
)
def test_rows_that_no_cell_could_use(attempt: Try, loaded: Any, words: str) -> None:
    message = refused(attempt, load=loads(loaded))
    assert message.startswith("task odd") and words in message


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.where(SCORES == 3, np.nan, SCORES), "row 3: label nan is not a finite number; leave such rows out"),
        (np.where(SCORES > 7, -np.inf, SCORES), "row 8: label -inf is not a finite number (as in 2 rows)"),
        (SCORES.astype(complex), "its labels are of type complex128; give real numbers"),
        ([f"{one}" for one in SCORES], "row 0: label '0.0': its labels are of type <U3"),
        (np.full(10, 2.5), "all training labels are equal, 2.5; there is nothing to learn"),
        (np.where(SCORES > 1, np.inf, SCORES), "row 2: label inf is not a finite number"),
        (np.where(SCORES > 4, 1e308, -1e308), "its training labels are too large to be standardised"),
        (SCORES * 1e-320, "there is nothing to learn"),  # their spread is 0
    ],
)
def test_scores_that_no_cell_could_use(attempt: Try, labels: Any, words: str) -> None:
    assert words in refused(attempt, prediction="regression", outputs=1, load=loads(splits(labels=labels)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (2 * SETS, "row 0: label [2, 0, 0] is not of zeros and ones (as in 9 rows); give 1 where"),
        (SETS - 0.5, "row 0: label [0.5, -0.5, -0.5] is not of zeros and ones"),
        (SETS[:, :2], "have the shape (10, 2), not (10, 3)"),
        (CLASSES, "have the shape (10,), not (10, 3)"),
        ([["joy"], ["joy", "fear"]] * 5, "cannot be converted to an array"),
        (np.tile([1, 0, 1], (10, 1)), "all training labels are equal, [1, 0, 1]; there is nothing to learn"),
    ],
)
def test_sets_of_labels_that_no_cell_could_use(attempt: Try, labels: Any, words: str) -> None:
    assert words in refused(attempt, prediction="multilabel", load=loads(splits(labels=labels)))


def test_a_correlation_needs_two_development_rows(attempt: Try) -> None:
    loaded = splits(labels=SCORES, dev=Rows(TEXTS[:1], SCORES[:1]))
    words = "split dev: 1 row; a regression needs 2 or more"
    assert words in refused(attempt, prediction="regression", outputs=1, load=loads(loaded))


def test_what_is_constant_once_the_test_rows_are_gone_has_nothing_to_learn(attempt: Try) -> None:
    gone = attempt({"test_rows": 5}).problem.splits[0].test
    assert gone is not None
    labels = np.array([int(texts in gone.texts) for texts in TEXTS])
    assert "all training labels are equal, 0" in refused(attempt, {"test_rows": 5}, load=loads(splits(labels=labels)))


@pytest.mark.parametrize(
    ("prediction", "labels", "as_array"),
    [
        ("classification", CLASSES.tolist(), CLASSES),
        ("classification", tuple(CLASSES.tolist()), CLASSES),
        ("classification", torch.tensor(CLASSES), CLASSES),
        ("classification", pd.Series(CLASSES, index=range(5, 15)), CLASSES),
        ("classification", CLASSES.astype(np.uint64), CLASSES),
        ("regression", SCORES.tolist(), SCORES),
        ("regression", list(range(10)), SCORES),
        ("regression", torch.tensor(SCORES, dtype=torch.float32), SCORES),
        ("multilabel", SETS.tolist(), SETS),
        ("multilabel", pd.DataFrame(SETS), SETS),
    ],
)
def test_what_is_lossless_is_put_right(attempt: Try, prediction: str, labels: Any, as_array: Any) -> None:
    outputs = 1 if prediction == "regression" else 3
    workload = attempt(prediction=prediction, outputs=outputs, load=loads(splits([list(t) for t in TEXTS], labels)))
    rows = workload.problem.splits[0].train
    assert rows.labels.dtype == as_array.dtype and np.array_equal(rows.labels, as_array)
    assert rows.texts == TEXTS and splits(TEXTS, as_array).fingerprint == workload.problem.splits[0].fingerprint


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8, bool, ">i8"])
def test_what_worked_before_is_the_same_object(attempt: Try, kind: Any) -> None:
    loaded = splits(labels=(CLASSES % 2).astype(kind))
    made = attempt(load=loads(loaded)).problem.splits[0]
    assert made.train is loaded.train and made.fingerprint == loaded.fingerprint


def test_texts_as_an_array_of_two_columns_are_pairs(attempt: Try) -> None:
    made = attempt(load=loads(splits(np.array(PAIRS)))).problem.splits[0]
    assert list(made.train.texts) == PAIRS and made.fingerprint == splits(PAIRS).fingerprint


# Declarations


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"load": ValueError("no\nfile")}, "load() raised ValueError: no file"),
        ({"load": KeyError("rows")}, "load() raised KeyError: 'rows'"),
        ({"load": lambda data_dir: sys.exit(3)}, "load() raised SystemExit: 3"),
        ({"load": lambda: None}, "load() raised TypeError"),
        ({"key": ""}, "key is ''; it may hold letters, digits, '.', '_' and '-'"),
        ({"key": "a|b"}, "key is 'a|b'"),
        ({"key": "two words"}, "key is 'two words'"),
        ({"key": None}, "key is None"),
        ({"key": RuntimeError("x")}, "its key raised RuntimeError: x"),
        ({"prediction": "classify"}, "prediction is 'classify'; declare classification or regression or multilabel"),
        ({"prediction": None}, "prediction is None"),
        ({"prediction": NotImplementedError()}, "declare its prediction"),
        ({"outputs": 0}, "outputs is 0; declare the head's size, a whole number from 1 on"),
        ({"outputs": 3.0}, "outputs is 3.0"),
        ({"outputs": True}, "outputs is True"),
        ({"outputs": AttributeError("no names")}, "its outputs raised AttributeError: no names"),
        ({"outputs": 2, "prediction": "regression"}, "outputs is 2; a regression has 1"),
        ({"metrics": ()}, "metrics is (); declare a tuple of one or more of: accuracy, macro_f1"),
        ({"metrics": "accuracy"}, "metrics is 'accuracy'; declare a tuple"),
        ({"metrics": (len,)}, "declare a tuple of one or more of"),
        ({"metrics": ("accuracy", "accuracy")}, "name each once"),
        ({"metrics": ("acuracy",)}, "unknown metric of classification task odd: 'acuracy'; did you mean accuracy?"),
        ({"metrics": ("pearson",)}, "unknown metric of classification task odd: 'pearson'"),
        ({"corpus": 3}, "corpus is 3; declare a name, or nothing"),
        ({"targets": lambda s, labels: labels.tolist()}, "targets() returned an object of type list; return an array"),
        ({"targets": lambda s, labels: torch.tensor(labels)}, "targets() returned an object of type Tensor"),
        ({"targets": lambda s, labels: labels[:-1]}, "targets() returned the shape (9,)"),
        ({"targets": lambda s, labels: labels.sum()}, "targets() returned an object of type int64"),
        ({"targets": lambda s, labels: np.log(labels)}, "targets() is not finite for training row 0"),
        ({"targets": lambda s, labels: labels.astype(str)}, "targets() returned <U21; return float32 or int64"),
        ({"targets": lambda s, labels: 1 / 0}, "targets() raised ZeroDivisionError: division by zero"),
        ({"loss": lambda o, t: torch.nn.functional.cross_entropy(o, t, reduction="none")}, "a tensor of shape (4,);"),
        ({"loss": lambda o, t: o.sum()[None]}, "loss() returned a tensor of shape (1,); return the mean over rows"),
        ({"loss": lambda o, t: 0.5}, "loss() returned 0.5, not a tensor; return the mean over rows"),
        ({"loss": lambda o, t: None}, "loss() returned None, not a tensor"),
        ({"loss": lambda o, t: (o.argmax(1) != t).sum()}, "loss() returned a tensor of torch.int64"),
        ({"loss": lambda o, t: torch.tensor(0.5)}, "loss() returned a tensor without a gradient"),
        ({"loss": lambda o, t: o.detach().mean()}, "loss() returned a tensor without a gradient"),
        ({"loss": lambda o, t: torch.nn.functional.mse_loss(o, t)}, "loss() raised"),
        ({"loss": lambda o, t: o[:, 7].mean()}, "on outputs of shape (4, 3) and targets of shape (4,)"),
    ],
)
def test_declarations_that_no_cell_could_use(attempt: Try, given: dict[str, Any], words: str) -> None:
    if isinstance(given.get("load"), Exception):
        given = {"load": lambda data_dir, error=given["load"]: _raise(error)}
    message = refused(attempt, **given)
    assert "task odd" in message and words in message


def _raise(error: Exception) -> None:
    raise error


def test_a_loss_that_torch_would_broadcast_is_refused(attempt: Try) -> None:
    """(B, 1) minus (B,) is (B, B): torch warns and goes on."""
    given = {"prediction": "regression", "outputs": 1, "load": loads(splits(labels=SCORES))}
    message = refused(attempt, loss=lambda o, t: torch.nn.functional.mse_loss(o, t), **given)
    assert "loss() raised UserWarning: Using a target size" in message


def test_trying_a_loss_draws_none_of_torchs_random_numbers(attempt: Try) -> None:
    before = torch.random.get_rng_state()
    attempt(loss=lambda o, t: (torch.rand(()) * o).mean())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_on_another_device_what_a_loss_raises_is_left_to_the_cell(attempt: Try) -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("expected all tensors to be on the same device")

    assert "same device" in refused(attempt, loss=loss)
    attempt({"device": "cuda"}, loss=loss)
    assert "not a tensor" in refused(attempt, {"device": "cuda"}, loss=lambda o, t: 1.0)


# Metrics


@pytest.fixture
def own_metric() -> Any:
    """Make a function the metric ``own`` for one test."""

    def add(function: Any) -> None:
        metric("classification", "own")(function)

    yield add
    METRICS["classification"].pop("own")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda *given: float("nan"), "metric own returned nan, on 10 answers; return one finite number"),
        (lambda *given: float("inf"), "metric own returned inf"),
        (lambda a, labels, o: a == labels, "metric own returned array("),
        (lambda *given: "good", "metric own returned 'good'"),
        (lambda *given: None, "metric own returned None"),
        (lambda *given: {}["x"], "metric own raised KeyError: 'x', on 10 answers"),
    ],
)
def test_a_metric_that_is_no_number(attempt: Try, own_metric: Any, function: Any, words: str) -> None:
    own_metric(function)
    assert f"task odd: {words}" in refused(attempt, metrics=("own",))


def test_a_metric_may_fail_only_later(attempt: Try, own_metric: Any) -> None:
    own_metric(lambda answered, labels, outputs: np.float32(0.5) if (answered == 0).all() else float("nan"))
    task = attempt(metrics=("own",)).tasks[0]
    assert score(task, np.eye(3)[[0, 0]], np.array([0, 1])) == {"own": 0.5}
    with pytest.raises(CellError, match="task odd: metric own returned nan, on 2 answers"):
        score(task, np.eye(3)[[0, 1]], np.array([0, 1]))


# In a cell, and on the command line


def test_a_loss_that_turns_wrong_in_a_cell_names_step_and_task(attempt: Try) -> None:
    workload, calls = attempt(), []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return outputs.mean() if len(calls) < 3 else outputs

    Odd.given = {**Odd.given, "loss": loss}
    with pytest.raises(CellError, match=r"^step 2: task odd: loss\(\) returned a tensor of shape \(4, 3\)") as caught:
        train(workload, load_registry().method("sum"), 0)
    assert (caught.value.step, caught.value.task) == (2, "odd")


PLUGIN = '''
from dataclasses import dataclass
import numpy as np
from mtlbench.contract.task import Rows, Splits, Task

@dataclass
class Odd(Task):
    """Odd."""
    name = "odd"
    prediction = "classification"
    outputs = 3

    def load(self, data_dir):
        return Splits(Rows([("a film",)] * 6, LABELS), DEV, "made up")
'''


@pytest.mark.parametrize("verb", ["run", "overfit", "bench", "tune"])
@pytest.mark.parametrize(
    ("labels", "dev", "words"),
    [
        ("np.arange(6)", "Rows([('a film',)], [0])", "row 3: label 3 is not one of the classes 0 to 2 (as in 3 rows)"),
        ("np.arange(6) % 3", "[]", "split dev: an object of type list instead of its rows"),
    ],
)
def test_every_verb_ends_with_one_line_and_2(
    mtlbench: Callable[..., subprocess.CompletedProcess[str]],
    suite_file: Path,
    tmp_path: Path,
    verb: str,
    labels: str,
    dev: str,
    words: str,
) -> None:
    plugin = tmp_path / f"{verb}.py"
    plugin.write_text(PLUGIN.replace("LABELS", labels).replace("DEV", dev))
    done = mtlbench(verb, "--suite", str(suite_file), "--plugin", str(plugin), "--tasks", "odd")
    assert done.returncode == 2 and done.stderr.startswith("mtlbench: task odd, split ")
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_the_key_of_a_task_that_was_right_is_what_it_was(attempt: Try) -> None:
    workload = attempt()
    raw = replace(workload, problem=replace(workload.problem, splits=(splits(),)))
    (one,), (other,) = (make_cells(given, [load_registry().method("sum")], [0]) for given in (workload, raw))
    assert one.key == other.key
