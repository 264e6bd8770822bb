"""What an author can get wrong is one line before training that names problem, task or hook; and what records say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_problems import ApartPoints, Net, Points, load, recipe_of
from torch import nn

from mtlbench.contract.examples import Data, Examples
from mtlbench.contract.problem import Problem, Target
from mtlbench.engine.library import get_method
from mtlbench.engine.processes import ALONE
from mtlbench.errors import CellError, UsageError
from mtlbench.problem.loaded import LoadedProblem
from mtlbench.problem.metrics import METRICS


def changed(hook: str, function: Callable[..., Any]) -> Points:
    """Points with another hook."""
    problem = Points()
    setattr(problem, hook, function)
    return problem


def with_labels(**labels: Any) -> Points:
    """Points with other labels in the training rows."""
    data = Points().load(None)
    given = {name: values for name, values in labels.items() if values is not None}
    rest = {name: values for name, values in data.train.labels.items() if name not in labels}
    return changed("load", lambda folder: replace(data, train=Examples(data.train.inputs, {**rest, **given})))


def checked(problem: Points, **changes: Any) -> None:
    loaded, recipe = load(problem, **changes)
    loaded.check(recipe)


def refused(problem: Points, **changes: Any) -> str:
    """Load and check a problem, and return the error's message."""
    with pytest.raises(UsageError) as error:
        checked(problem, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def raising(*arguments: Any) -> Any:
    raise KeyError("lost\nkey")


A, B = Target("a", "regression"), Target("b", "classification", outputs=2)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (raising, "problem points: targets() raised KeyError: 'lost\\nkey'"),
        (lambda: [], "problem points: targets() returned []; return a list of one or more Target"),
        (lambda: {"a": A}, "return a list of one or more Target"),
        (lambda: ["a"], "targets() returned ['a']"),
        (lambda: [A, A], "targets() has two tasks of the name a"),
        (lambda: [Target("a/b", "regression")], "a task's name is 'a/b'"),
        (lambda: [Target("", "regression")], "a task's name is ''"),
        (lambda: [Target("a", "ranking")], "task a: prediction is 'ranking'; declare classification or regression or"),
        (lambda: [Target("a", "classification")], "task a: outputs is 1; declare a whole number of at least 2"),
        (lambda: [Target("a", "regression", outputs=0)], "task a: outputs is 0; declare a whole number of at least 1"),
        (lambda: [Target("a", "regression", outputs=True)], "task a: outputs is True"),
        (lambda: [Target("a", "regression", outputs=1.5)], "task a: outputs is 1.5"),
        (
            lambda: [Target("a", "regression", metrics=("accuracy",))],
            "task a: unknown metric of regression task a: '",
        ),
        (lambda: [Target("a", "regression", metrics=("r2", "r2"))], "task a: metrics is ('r2', 'r2'); name each once"),
        (lambda: [Target("a", "regression", metrics="r2")], "task a: metrics is 'r2'; declare a tuple"),
    ],
)
def test_targets(targets: Callable[[], Any], message: str) -> None:
    assert message in refused(changed("targets", targets))


def test_chosen_tasks() -> None:
    assert "unknown task of problem points: 'summ'; did you mean sum?" in refused(Points(), tasks=("summ",))
    assert "task sum of problem points is named twice" in refused(Points(), tasks=("sum", "sum"))
    loaded, recipe = load(Points(), tasks=("signs", "side"))
    assert [task.key for task in loaded.tasks] == ["signs", "side"] == list(recipe.tasks)
    assert loaded.structure.heads[0] == ("heads.signs.weight", "heads.signs.bias")
    every, named = load(Points())[1], load(Points(), tasks=("side", "sum", "signs", "place"))[1]
    assert every == named


CLASSES, NUMBERS, SIGNS = np.zeros(96, int), np.arange(96.0), np.zeros((96, 2))
CLASSES[0] = 1


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (changed("load", raising), "problem points: load() raised KeyError"),
        (changed("load", lambda folder: {"train": 1}), "load() returned {'train': 1}; return Data("),
        (changed("load", lambda folder: replace(Points().load(None), dev=[])), "dev split is []; give Examples"),
        (changed("load", lambda folder: replace(Points().load(None), source=None)), "the data's source is None"),
        (with_labels(sum=None), "train split has no labels of task sum"),
        (with_labels(sum=NUMBERS[:95]), "have 96 rows, but labels of task sum have 95"),
        (with_labels(extra=NUMBERS[:3]), "have 96 rows, but labels of task extra have 3"),
        (with_labels(sum=list(NUMBERS)), "labels of task sum are ["),
        (with_labels(sum=NUMBERS.astype(str)), "task sum: labels are of type <U"),
        (with_labels(sum=np.zeros((96, 2))), "task sum: labels have the shape (96, 2), not (96, 1)"),
        (with_labels(sum=np.where(NUMBERS == 7, np.inf, NUMBERS)), "task sum: row 7 has [inf]; give finite numbers"),
        (with_labels(sum=np.full(96, np.nan)), "task sum has no labelled row in the train split"),
        (with_labels(sum=np.ones(96)), "task sum: all training labels are equal"),
        (with_labels(sum=NUMBERS * 1e300), "task sum: its training labels are too large"),
        (
            with_labels(place=np.stack([NUMBERS, NUMBERS * 0], 1)),
            "task place: all training labels of output 1",
        ),
        (
            with_labels(place=np.stack([NUMBERS, np.where(NUMBERS == 5, np.nan, 0)], 1)),
            "row 5 has some numbers and",
        ),
        (with_labels(side=CLASSES + 2), "task side: row 0 has class 3; classes are 0 to 2"),
        (with_labels(side=CLASSES - 2), "task side: row 1 has class -2"),
        (with_labels(side=CLASSES.astype(float)), "task side: labels have the shape (96,) and the type float64"),
        (with_labels(side=CLASSES[:, None]), "task side: labels have the shape (96, 1)"),
        (with_labels(side=CLASSES * 0), "task side: all training labels are 0; there is nothing to learn"),
        (with_labels(side=CLASSES * 0 - 1), "task side has no labelled row in the train split"),
        (with_labels(signs=SIGNS + 2.0), "task signs: row 0 has [2.0, 2.0]; give zeros and ones"),
        (with_labels(signs=SIGNS[:, :1]), "task signs: labels have the shape (96, 1), not (96, 2)"),
        (with_labels(signs=SIGNS), "task signs: all training labels are [0, 0]"),
    ],
)
def test_rows(problem: Points, message: str) -> None:
    assert message in refused(problem)


def test_inputs_and_labels_of_different_lengths() -> None:
    data = Points().load(None)
    short = replace(data, dev=Examples({"x": data.dev.inputs, "y": data.dev.inputs[:3]}, data.dev.labels))
    assert "dev split: labels of task side have 40 rows, but inputs 'y' have 3" in refused(
        changed("load", lambda folder: short)
    )
    empty = Examples(data.dev.inputs[:0], {task: labels[:0] for task, labels in data.dev.labels.items()})
    assert "dev split has no rows" in refused(changed("load", lambda folder: replace(data, dev=empty)))


def test_inputs_without_a_fingerprint() -> None:
    data = Points().load(None)

    class Reader:
        def __getitem__(self, rows: Any) -> Any:
            return torch.from_numpy(data.train.inputs[rows])

    train = Examples(Reader(), data.train.labels)
    message = refused(changed("load", lambda folder: replace(data, train=train)))
    assert "problem points: inputs of type Reader have no fingerprint" in message


def test_fingerprints_of_inputs_of_any_kind() -> None:
    data = Points().load(None)
    x = torch.from_numpy(data.train.inputs)

    def loading(inputs: Any) -> Points:
        train = Examples(inputs, data.train.labels)
        return changed("load", lambda folder: replace(data, train=train))

    class Reader:
        """Rows that are read on demand."""

        fingerprint = "first"

        def __getitem__(self, rows: Any) -> Any:
            return x[torch.from_numpy(rows)] + np.random.normal() + random.random()

    second = Reader()
    second.fingerprint = "second"
    kinds = [x, x.bfloat16(), x.clone().requires_grad_(), x + 1.0, Reader(), second]
    prints = [load(loading(inputs))[0].fingerprint for inputs in kinds]
    for inputs in (x.clone().requires_grad_(), Reader()):
        checked(loading(inputs))
    audit = load(loading({"x": x.bfloat16()}))[0].describe()["sum"]["audit"]
    assert audit["repeated"] == audit["leaked"] == 0
    assert prints[0] == prints[2]
    assert len(set(prints)) == len(prints) - 1
    assert "inputs[...] raised NotImplementedError: Could not run" in refused(loading(x.to_sparse()))
    loaded, recipe = load(loading(Reader()))
    results = []
    for _ in range(2):  # a reader that draws random numbers draws the same ones in the same step
        session = loaded.prepare(recipe, get_method("sum"), 0).session(range(4), ALONE)
        results.append([session.step(get_method("sum"), step, measure=False).losses for step in (0, 1)])
        assert np.array_equal(session.losses_after(1), results[-1][1])
    assert np.array_equal(results[0], results[1])


def outputs_of(**changes: Any) -> Points:
    """Points whose outputs are other tensors."""

    def outputs(model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        result = model(inputs)
        return {name: changes[name](value) if name in changes else value for name, value in result.items()}

    return changed("outputs", outputs)


def loss_of(change: Callable[..., Any]) -> Points:
    """Points with another loss of one task."""

    def loss(target: Target, outputs: Any, labels: Any) -> Any:
        plain = Points().loss(target, outputs, labels)
        return change(plain, outputs) if target.name == "sum" else plain

    return changed("loss", loss)


def different(targets: Any, count: list[int] = []) -> nn.Module:  # counts the calls
    count.append(1)
    torch.manual_seed(len(count))
    return Net(6, 0.0, False)


class Split(nn.Module):
    """Heads on two trunks: nothing is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.nets = nn.ModuleDict({name: Net(3, 0.0, False) for name in ("side", "sum", "signs", "place")})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: net(x)[name] for name, net in self.nets.items()}


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (changed("model", raising), "problem points: model() raised KeyError"),
        (changed("model", lambda targets: "net"), "model() returned 'net'; return a torch.nn.Module"),
        (
            changed("model", lambda targets: Net(6, 0.0, False).requires_grad_(False)),
            "without a parameter that",
        ),
        (changed("model", different), "model() gives other weights the second time"),
        (changed("model", lambda targets: Split()), "no parameter is reached by the losses of two tasks"),
        (changed("outputs", raising), "problem points: outputs() raised KeyError"),
        (
            changed("outputs", lambda model, inputs, tasks: model(inputs)["sum"]),
            "outputs() returned an object of type",
        ),
        (
            changed("outputs", lambda model, inputs, tasks: {"side": model(inputs)["side"]}),
            "no outputs of task sum, but",
        ),
        (outputs_of(sum=lambda x: x[:, 0]), "outputs() returned the shape (8,) for task sum, not (8, 1)"),
        (outputs_of(side=lambda x: x[:, :2]), "outputs() returned the shape (8, 2) for task side, not (8, 3)"),
        (outputs_of(side=lambda x: x.argmax(1, keepdim=True).expand(-1, 3)), "returned torch.int64 for task side"),
        (outputs_of(side=lambda x: x.tolist()), "outputs() returned an object of type list for task side"),
        (outputs_of(sum=lambda x: x.detach().requires_grad_()), "task sum: the loss depends on none of the shared"),
        (outputs_of(sum=lambda x: x.detach()), "task sum: the loss depends on no parameter"),
        (loss_of(raising), "problem points: task sum: loss() raised KeyError"),
        (loss_of(lambda loss, outputs: outputs), "task sum: loss() returned a tensor of shape (8, 1); return the mean"),
        (loss_of(lambda loss, outputs: float(loss.detach())), "task sum: loss() returned"),
        (loss_of(lambda loss, outputs: loss.detach()), "task sum: loss() returned a tensor without a gradient"),
        (loss_of(lambda loss, outputs: loss * float("nan")), "task sum: the loss of the first batch is nan"),
        (changed("shared", raising), "problem points: shared() raised KeyError"),
        (changed("shared", lambda model: model.first), "both reach last.weight, but shared() does not have it"),
        (
            changed("shared", lambda model: nn.Linear(2, 2)),
            "shared() returned weight, which is no parameter",
        ),
        (changed("shared", lambda model: model), "shared() has heads.side.weight, which the loss of task side alone"),
        (changed("shared", lambda model: "trunk"), "shared() must be a module, parameters"),
        (changed("shared", lambda model: []), "shared() returned no parameter that requires a gradient"),
        (changed("last_shared_layer", lambda model: model.heads["sum"]), "last_shared_layer() has heads.sum.weight"),
        (
            changed("last_shared_layer", lambda model: nn.Linear(1, 1)),
            "last_shared_layer() returned weight",
        ),
        (changed("representation", raising), "problem points: representation() raised KeyError"),
        (changed("representation", lambda model: model.act.weight), "representation() raised AttributeError"),
        (changed("representation", lambda model: nn.Tanh()), "return a module of the model"),
        (changed("representation", lambda model: model.heads), "a module that outputs() does not run"),
        (changed("representation", lambda model: model.heads["sum"]), "around which a loss reaches a shared parameter"),
    ],
)
def test_models(problem: Points, message: str) -> None:
    assert message in refused(problem)


def test_frozen_layers_and_unused_ones_are_no_fault() -> None:
    class Wide(Net):
        def __init__(self) -> None:
            super().__init__(6, 0.0, False)
            self.unused = nn.Linear(3, 3)
            self.first.weight.requires_grad_(False)

    loaded, recipe = load(changed("model", lambda targets: Wide()))
    loaded.check(recipe)
    assert loaded.structure.shared == ("first.bias", "last.weight", "last.bias")
    assert (loaded.structure.parameters, loaded.structure.trainable) == (72 + 12, 48)
    session = loaded.prepare(recipe, get_method("pcgrad"), 0).session(range(4), ALONE)
    session.step(get_method("pcgrad"), 0, measure=False)
    assert session.model.unused.weight.grad is None


def test_what_is_shared_with_a_task_that_is_not_chosen() -> None:
    class Branch(Net):
        """The tasks side and sum share a layer of their own."""

        def __init__(self) -> None:
            super().__init__(6, 0.0, False)
            self.branch = nn.Linear(6, 6)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            features = self.act(self.last(self.first(x)))
            own = self.branch(features)
            return {name: head(own if name in ("side", "sum") else features) for name, head in self.heads.items()}

    problem = changed("model", lambda targets: Branch())
    problem.representation = lambda model: None  # type: ignore[method-assign, assignment]
    problem.shared = lambda model: [model.first, model.last, model.branch]  # type: ignore[method-assign, assignment]
    trunk = ("first.weight", "first.bias", "last.weight", "last.bias")
    assert load(problem)[0].structure.shared == (*trunk, "branch.weight", "branch.bias")
    part = load(problem, tasks=("side", "signs"))[0].structure
    assert part.shared == trunk
    assert part.heads[0] == ("heads.side.weight", "heads.side.bias", "branch.weight", "branch.bias")


class Joined(nn.Module):
    """Heads whose outputs are stacked, so that the graph leads from each loss to all heads; they begin with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.act = nn.Linear(4, 6), nn.Linear(6, 6), nn.Tanh()
        self.heads = nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 2)])
        for head in self.heads:
            nn.init.zeros_(head.weight)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.act(self.last(self.first(x).tanh()))
        outputs = torch.stack([head(features) for head in self.heads])
        return {"signs": outputs[0], "place": outputs[1]}


def test_stacked_heads_of_zeros_are_told_apart_by_gradients() -> None:
    loaded, recipe = load(changed("model", lambda targets: Joined()), tasks=("signs", "place"))
    assert loaded.structure.shared == ("first.weight", "first.bias", "last.weight", "last.bias")
    assert loaded.structure.heads == (("heads.0.weight", "heads.0.bias"), ("heads.1.weight", "heads.1.bias"))
    for name in ("sum", "pcgrad", "uw"):
        session = loaded.prepare(recipe, get_method(name), 0).session(range(2), ALONE)
        session.step(get_method(name), 0, measure=True)
        assert all(parameter.grad is not None for parameter in session.heads)


def test_a_metric_that_fails_on_trivial_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS["regression"], "broken", raising)
    targets = [Target("side", "classification", outputs=3), Target("sum", "regression", metrics=("broken",))]
    assert "task sum: metric broken raised KeyError" in refused(changed("targets", lambda: targets))


def test_hooks_that_are_missing() -> None:
    class Empty(Problem):
        name = "empty"

    class Bare(Points):
        name = "bare"
        model = Problem.model
        representation = Problem.representation
        last_shared_layer = Problem.last_shared_layer

    assert "problem empty: load() is missing; write it" in refused(Empty())  # type: ignore[arg-type]
    Empty.load = lambda self, data_dir: Points().load(None)  # type: ignore[method-assign]
    assert "problem empty: targets() is missing; write it" in refused(Empty())  # type: ignore[arg-type]
    assert "problem bare: model() is missing; write it" in refused(Bare())
    Bare.model = lambda self, targets: nn.Linear(4, 3)  # type: ignore[method-assign, assignment]
    assert "problem bare: outputs() returned an object of type Tensor; return a mapping" in refused(Bare())
    Bare.model = lambda self, targets: nn.ModuleList([nn.Linear(4, 3)])  # type: ignore[method-assign, assignment]
    assert "problem bare: outputs() raised NotImplementedError: Module [ModuleList] is missing" in refused(Bare())


def test_a_backward_pass_that_fails() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            raise ArithmeticError("no gradient")

    message = refused(outputs_of(sum=Broken.apply))
    assert "problem points: a trial of its model raised ArithmeticError: no gradient" in message


def test_one_task_alone() -> None:
    loaded, recipe = load(Points(), tasks=("sum",))
    assert loaded.structure.shared == ("first.weight", "first.bias", "last.weight", "last.bias")
    bare, _ = load(changed("representation", lambda model: None), tasks=("sum",))
    assert len(bare.structure.shared) == 6
    session = loaded.prepare(recipe, get_method("sum"), 0).session([0], ALONE)
    assert session.step(get_method("sum"), 0, measure=True).gram.shape == (1, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 64}, "max_length=64 is for tasks on texts"),
        ({"engine": "packed"}, "engine=packed is for tasks on texts"),
        ({"engine": "lean"}, "engine=lean is for tasks on texts"),
        ({"engine": "loop"}, "engine=loop is for tasks on texts"),
        ({"checkpointing": True}, "checkpointing is for tasks on texts"),
        ({"sampling": "sqrt"}, "sampling=sqrt needs a batch for each task"),
        ({"test_rows": 5}, "test_rows=5: problem points has a test split already"),
    ],
)
def test_options_without_a_meaning(changes: dict[str, Any], message: str) -> None:
    assert message in refused(Points(), **changes)


def test_methods_that_need_what_is_not_declared() -> None:
    for hook, name in (("last_shared_layer", "gradnorm"), ("representation", "mgda-ub")):
        loaded, recipe = load(changed(hook, lambda model: None))
        with pytest.raises(UsageError, match=rf"method {name} reads .* problem points does not name: write {hook}\(\)"):
            loaded.prepare(recipe, get_method(name), 0)
    loaded, recipe = load(ApartPoints())
    with pytest.raises(UsageError, match="problem apart-points has a batch for each task"):
        loaded.prepare(recipe, get_method("mgda-ub"), 0)


def test_a_batch_without_a_label() -> None:
    loaded, recipe = load(Points(unlabelled=0.7), batch_size=4, steps=20)
    with pytest.raises(UsageError, match=r"batch of step \d+ has no label of task sum, which \d+ of 96 .*separate"):
        loaded.prepare(recipe, get_method("sum"), 0)
    loaded, recipe = load(Points(unlabelled=0.7), batch_size=16, steps=5)
    seed = next(
        seed for seed in range(99) if fits(loaded, recipe, "sum", seed) and not fits(loaded, recipe, "modo", seed)
    )
    with pytest.raises(UsageError, match=r"batch [23] of step \d+ has no label"):
        loaded.prepare(recipe, get_method("modo"), seed)
    loaded, recipe = load(ApartPoints(unlabelled=0.7), batch_size=4, steps=20)
    assert loaded.prepare(recipe, get_method("sum"), 0).seen == dict.fromkeys(["side", "sum", "signs", "place"], 80)


def fits(loaded: LoadedProblem, recipe: Any, method: str, seed: int) -> bool:
    """Whether every batch has a label of every task."""
    try:
        loaded.prepare(recipe, get_method(method), seed)
    except UsageError:
        return False
    return True


def steps(problem: Points) -> None:
    """Take four steps of the plain sum."""
    loaded, recipe = load(problem)
    session = loaded.prepare(recipe, get_method("sum"), 0).session(range(4), ALONE)
    for step in range(4):
        session.step(get_method("sum"), step, measure=False)


def test_faults_in_steps_name_problem_and_task() -> None:
    calls: list[int] = []

    def late(loss: torch.Tensor, outputs: torch.Tensor) -> Any:
        calls.append(1)
        return raising() if len(calls) > 3 else loss

    with pytest.raises(CellError, match=r"problem points: task sum: loss\(\) raised KeyError.* on tensors of") as error:
        steps(loss_of(late))
    assert error.value.task == "sum"


def test_a_head_that_another_loss_reaches_later_is_refused() -> None:
    calls: list[int] = []

    def outputs(model: Any, inputs: Any, tasks: Sequence[str]) -> Any:
        calls.append(1)
        result = model(inputs)
        return result if len(calls) < 3 else {**result, "sum": result["sum"] + result["side"][:, :1]}

    with pytest.raises(UsageError, match="losses side and sum both reach a parameter of shape"):
        steps(changed("outputs", outputs))


def test_rows_without_a_label_are_left_out() -> None:
    problem = Points(unlabelled=0.4)
    loaded, recipe = load(problem, batch_size=16)
    described = loaded.describe()
    data = problem.load(None)
    kept = ~np.isnan(data.dev.labels["sum"])
    assert described["sum"]["dev"] == int(kept.sum()) < 40 == described["side"]["dev"]
    session = loaded.prepare(recipe, get_method("sum"), 0).session(range(4), ALONE)
    _, outputs, labels = session.evaluate("dev", 4)
    assert np.array_equal(labels["sum"], data.dev.labels["sum"][kept])
    session.model.eval()
    with torch.no_grad():
        raw = session.model(torch.from_numpy(data.dev.inputs[kept]))["sum"].numpy()
    train = data.train.labels["sum"]
    expected = raw * np.nanstd(train) + np.nanmean(train)
    np.testing.assert_allclose(outputs["sum"], expected, rtol=1e-5)


def test_predictions_and_floors_are_in_the_labels_unit() -> None:
    loaded, _ = load(Points())
    floors = loaded.describe()
    assert floors["sum"]["floors"]["r2"][0]["value"] == pytest.approx(0.0, abs=0.2)
    assert [floor["name"] for floor in floors["side"]["floors"]["accuracy"]] == ["majority class"]
    assert [floor["name"] for floor in floors["signs"]["floors"]["micro_f1"]] == [
        "majority labels",
        "frequent labels",
        "all positive",
    ]
    assert floors["place"]["floors"]["pearson"] == [{"name": "constant", "value": 0.0}]
    test = floors["side"]["test"]
    assert test is not None and test["rows"] == 30 and list(test["floors"]) == ["accuracy", "macro_f1"]


def test_limits_of_rows() -> None:
    @dataclass
    class Untested(Points):
        name = "untested"

        def load(self, data_dir: Path | None) -> Data:
            return replace(super().load(data_dir), test=None)

    loaded, _ = load(Untested(unlabelled=0.3), test_rows=20, dev_limit=10)
    assert [len(loaded.splits[name]) for name in ("train", "test")] == [76, 20]
    assert not set(loaded.splits["train"].rows) & set(loaded.splits["test"].rows)
    assert {task: entry["dev"] for task, entry in loaded.describe().items()} == dict.fromkeys(loaded.describe(), 10)
    again, _ = load(Untested(unlabelled=0.3), test_rows=20, dev_limit=10)
    assert np.array_equal(again.splits["test"].rows, loaded.splits["test"].rows)
    assert "test_rows=96 leaves none of 96 training rows" in refused(Untested(), test_rows=96)
    with pytest.raises(UsageError, match="max_length"):
        LoadedProblem(Untested(), recipe_of(max_length=64))


def test_identity_counts_rows_parameters_and_tasks() -> None:
    loaded, recipe = load(Points())
    identity = loaded.identity(recipe)
    assert identity["protocol"] == 1
    assert load(Points())[0].identity(recipe) == identity
    for other in (Points(width=5), Points(unlabelled=0.2)):
        assert load(other)[0].identity(recipe) != identity
    assert load(Points(), tasks=("sum", "side"))[0].identity(recipe)["tasks"] != identity["tasks"]
    assert loaded.entry()["parameters"] == 72
