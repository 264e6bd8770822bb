"""Tasks on the same texts share batches and forward passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mtlbench import aggregate
from mtlbench.contract.method import Method
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.processes import ALONE
from mtlbench.errors import UsageError
from mtlbench.plan.cells import Workload, make_cells
from mtlbench.plugins.registry import load_registry
from mtlbench.recipe.suite import load_suite
from mtlbench.text.session import TextSession
from mtlbench.training.train import train

WORDS = ["film", "dog", "cat", "good", "bad", "runs", "sleeps", "slowly", "red", "blue", "house"]
REGISTRY = load_registry()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("shared"), np.random.default_rng(1)

    def text() -> str:
        return " ".join(random.choice(WORDS, size=random.integers(3, 8)))

    rows = [f"{text()},{n % 2},{n % 3},{random.uniform(0, 5):.2f}" for n in range(30)]
    (folder / "reviews.csv").write_text("\n".join(["text,mood,kind,stars", *rows]) + "\n")
    (folder / "other.csv").write_text("\n".join(["text,mood", *(f"{text()},{n % 2}" for n in range(20))]) + "\n")
    return folder


def task(name: str, label: str, file: str = "reviews", **more: object) -> str:
    fields = ",".join(f"{key}={value}" for key, value in more.items())
    return f"table[called={name},train={file}.csv,dev={file}.csv,text=text,label={label},{fields}]"


TASKS = (task("mood", "mood", classes=2), task("stars", "stars", range="0:5"))
OTHER = task("other", "mood", "other", classes=2)


@pytest.fixture(scope="module")
def workload(folder: Path, suite_file: Path) -> Callable[..., Workload]:
    def load(**changes: object) -> Workload:
        fields = {"tasks": TASKS, "shared_forward": True, **changes}
        return Workload.load("tiny", load_suite(str(suite_file)).recipe(fields), REGISTRY, data_dir=folder)

    return load


def session(workload: Workload, method: Method, tasks: tuple[int, ...] = (0, 1)) -> TextSession:
    rows = workload.problem.prepare(workload.recipe, method, 3)
    made = rows.session(tasks, ALONE)
    assert isinstance(made, TextSession)
    return made


@pytest.mark.parametrize("spec", ["sum", "pcgrad", "mgda", "uw", "graddrop", "mgda-ub", "gradnorm"])
@pytest.mark.parametrize("tasks", [TASKS, (OTHER, *TASKS)], ids=["all", "two of three"])
def test_the_update_is_that_of_autograd(workload: Callable[..., Workload], spec: str, tasks: tuple[str, ...]) -> None:
    if spec == "mgda-ub" and tasks != TASKS:
        pytest.skip("not all losses are computed from one representation")
    method = REGISTRY.method(spec)
    made = session(workload(tasks=tasks), method, tuple(range(len(tasks))))
    passes = made._inputs.joint(0, 0)
    shared = list(made.shared)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one.loss, shared, retain_graph=True)]) for one in passes
    ]
    step = made.step(method, 0, measure=True)
    assert step.losses == pytest.approx([float(one.loss.detach()) for one in passes], rel=1e-6)
    jacobian = torch.stack(rows).double()
    assert step.gram is not None and step.gram == pytest.approx((jacobian @ jacobian.T).numpy(), rel=1e-4, abs=1e-10)
    update = torch.cat([parameter.grad.flatten() for parameter in shared if parameter.grad is not None]).double()
    if step.weights is None:
        expected = torch.from_numpy(aggregate(REGISTRY.method(spec), jacobian.numpy(), losses=step.losses))
        assert set(update.sign().tolist()) == set(expected.sign().tolist())  # its choice of signs is random
    else:
        expected = torch.from_numpy(step.weights) @ jacobian
        assert torch.linalg.vector_norm(update - expected) <= 1e-5 * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize(("tasks", "sequences"), [(TASKS, 4), ((OTHER, *TASKS), 8)])
def test_one_forward_pass_of_one_batch(
    workload: Callable[..., Workload], tasks: tuple[str, ...], sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, packs = REGISTRY.method("pcgrad"), []
    made = session(workload(tasks=tasks), method, tuple(range(len(tasks))))
    features = made.model.features

    def counted(pack: Pack) -> list[torch.Tensor]:
        packs.append(len(pack.lengths))
        return features(pack)

    monkeypatch.setattr(made.model, "features", counted)
    made.step(method, 0, measure=False)
    assert packs == [sequences]


def test_batches_masks_and_the_baseline_are_paired(workload: Callable[..., Workload]) -> None:
    joint = session(workload(), REGISTRY.method("sum")).pairing
    assert len(set(joint["schedule"].values())) == len(set(joint["dropout"].values())) == 1
    for position, name in enumerate(("mood", "stars")):
        alone = session(workload(), REGISTRY.method("stl"), (position,)).pairing
        assert {part: alone[part][name] for part in ("heads", "schedule", "dropout")} == {  # type: ignore[literal-required]
            part: joint[part][name]  # type: ignore[literal-required]
            for part in ("heads", "schedule", "dropout")
        }
    apart = session(workload(shared_forward=False), REGISTRY.method("sum")).pairing
    assert len(set(apart["schedule"].values())) == 2


def test_test_rows_are_the_same_texts(workload: Callable[..., Workload]) -> None:
    first, second = workload(test_rows=6).problem.splits  # type: ignore[attr-defined]
    assert first.test is not None and second.test is not None and first.test.texts == second.test.texts
    assert first.train.texts == second.train.texts and len(first.train.texts) < 30


@pytest.mark.parametrize("method", ["sum", "pcgrad", "stl", "sdmgrad"])
@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}, {"precision": "bfloat16"}, {"update_norm": "sum"}])
def test_cells_train(workload: Callable[..., Workload], method: str, changes: dict[str, object]) -> None:
    if method == "sdmgrad" and "accumulate" in changes:
        pytest.skip("further batches are not accumulated")
    result = train(workload(**changes), REGISTRY.method(method), 0)
    assert set(result.scores["dev"]) == {"mood", "stars"}
    assert result.engine == {"name": "surgery", "reason": "tasks share forward passes"}


def test_the_field_decides_keys_only_where_it_is_set(workload: Callable[..., Workload]) -> None:
    method = REGISTRY.method("sum")
    assert (
        make_cells(workload(), [method], [0])[0].key != make_cells(workload(shared_forward=False), [method], [0])[0].key
    )
    assert "shared_forward" not in workload(shared_forward=False).identity()["recipe"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": (TASKS[0], OTHER)}, "no two of the tasks mood, other have the same training texts"),
        ({"sampling": "sqrt"}, "shared_forward needs sampling=uniform"),
        ({"engine": "packed"}, "shared_forward has an engine of its own"),
        ({"tasks": (), "model": "", "problem": "digits"}, "a problem's tasks share forward passes anyway"),
    ],
)
def test_what_does_not_fit_is_one_line(
    workload: Callable[..., Workload], changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        workload(**changes)
