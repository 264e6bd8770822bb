"""Types, layouts and sparsity of what is delivered, and parameters that only some steps or tasks reach."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from library_cases import Toy, fault
from shared_models import build
from torch import nn
from torch.nn import functional

import mtlbench
from mtlbench.contract.observation import Matrix

HALF = [torch.float16, torch.bfloat16]


def quadratic(parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    """Two losses of which each parameter's gradients are 1, 2, 3, … and -1, 1, -1, …"""
    losses = []
    for task in range(2):
        pieces = []
        for parameter in parameters:
            ramp = torch.arange(1.0, parameter.numel() + 1.0)
            slope = ramp if task == 0 else 1.0 - 2.0 * (ramp % 2)
            pieces.append((parameter * slope.view(parameter.shape).to(parameter)).sum().double())
        losses.append(torch.stack(pieces).sum())
    return losses


def test_every_parameter_keeps_its_type() -> None:
    types = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float32]
    parameters = [nn.Parameter(torch.ones(5, dtype=dtype)) for dtype in types]
    surgery = mtlbench.Surgery(parameters, "pcgrad")
    surgery.loss(quadratic(parameters)).backward()
    slopes = np.array([np.tile(np.arange(1.0, 6.0), 5), np.tile([-1.0, 1.0, -1.0, 1.0, -1.0], 5)])
    assert surgery.gram == pytest.approx(slopes @ slopes.T, rel=1e-12)  # these numbers are exact in every type
    update = mtlbench.aggregate("pcgrad", slopes)
    for parameter, dtype, expected in zip(parameters, types, update.reshape(5, 5), strict=True):
        assert parameter.grad is not None and parameter.grad.dtype == dtype
        assert parameter.grad.double().numpy() == pytest.approx(expected, rel=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("size", [1e-4, 100.0])
@pytest.mark.parametrize("count", [10, 100_000])
def test_inner_products_of_half_types_are_single_precision(dtype: torch.dtype, size: float, count: int) -> None:
    """Squares of 10⁻⁴ vanish in float16, and a sum of 100,000 squares of 100 overflows."""
    parameter = nn.Parameter(torch.zeros(count, dtype=dtype))
    losses = [(parameter * torch.tensor(size * sign, dtype=dtype)).double().sum() for sign in (1.0, -1.0)]
    surgery = mtlbench.Surgery(parameter, "pcgrad")
    surgery.loss(losses).backward()
    square = float(torch.tensor(size, dtype=dtype)) ** 2 * count
    assert surgery.gram is not None
    assert surgery.gram == pytest.approx(square * np.array([[1.0, -1.0], [-1.0, 1.0]]), rel=1e-4)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("method", ["pcgrad", "graddrop", "gradnorm"])
def test_half_models(dtype: torch.dtype, skip: bool, method: str) -> None:
    torch.manual_seed(0)
    trunk, heads = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 6)), [nn.Linear(6, 1) for _ in range(3)]
    inputs = torch.randn(64, 6)
    for module in (trunk, *heads):
        module.to(dtype)

    def losses() -> list[torch.Tensor]:
        features = trunk(inputs.to(dtype))
        return [head(features[task * 16 : task * 16 + 16]).float().square().mean() for task, head in enumerate(heads)]

    parameters = list(trunk.parameters())
    rows = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses()]
    flat = np.stack([torch.cat([g.double().flatten() for g in row]).numpy() for row in rows])
    surgery = mtlbench.Surgery(trunk, method, skip_zero_rows=skip, last_shared_layer=trunk[2])
    surgery.loss(losses()).backward()
    if method == "pcgrad":
        assert surgery.gram == pytest.approx(flat @ flat.T, rel=0.03, abs=1e-4)
    expected = mtlbench.aggregate(method, flat, losses=np.ones(3)) if method != "gradnorm" else flat.sum(0)
    actual = torch.cat([p.grad.double().flatten() for p in parameters if p.grad is not None]).numpy()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in parameters)
    if method != "graddrop":  # its random choices may turn on a rounding error
        assert np.linalg.norm(actual - expected) <= 0.03 * np.linalg.norm(expected)
    assert np.isfinite(actual).all() and np.abs(actual).max() > 0.0


def test_a_head_of_half_type_with_a_large_norm_is_finite() -> None:
    """Its norm, 10⁵, is larger than float16's largest number."""
    shared, head = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(10_000, dtype=torch.float16))
    slope = torch.full((10_000,), 1000.0, dtype=torch.float16)
    losses = [shared.sum() + (head * slope).double().sum(), -shared[0]]
    for method in ("pcgrad", "gradnorm"):
        head.grad = None
        losses = [shared.sum() + (head * slope).double().sum(), -shared[0]]
        mtlbench.Surgery(shared, method, last_shared_layer=shared).loss(losses).backward()
        assert head.grad is not None and head.grad.eq(1000.0).all()


def test_complex_parameters_are_refused() -> None:
    class Rotation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.angle = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    message = fault(mtlbench.Surgery, Rotation())
    assert message == "shared: angle is complex: methods are defined for real gradients, so keep it real"
    parameter = nn.Parameter(torch.ones(2, dtype=torch.complex128))
    assert "is complex" in fault(mtlbench.Surgery, [parameter])
    model = torch.ones((), dtype=torch.complex64, requires_grad=True)
    assert "loss 0 is complex" in fault(mtlbench.Surgery(nn.Linear(2, 2)).loss, [model * 2.0])


# Sparse gradients


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("method", ["pcgrad", "fixed[w=1:2:1]", "imtl-g"])
@pytest.mark.parametrize("name", ["sparse_table", "sparse_bag"])
def test_sparse_tables_get_sparse_gradients(name: str, method: str, skip: bool) -> None:
    model = build(name)
    plain = model.copy()
    table = model.trunk.table.weight
    optimizer = torch.optim.SparseAdam([table])
    with mtlbench.Surgery(model.trunk, method, skip_zero_rows=skip) as surgery:
        for _ in range(2):
            optimizer.zero_grad()
            surgery.loss(model.losses("separate")).backward()
            assert table.grad is not None and table.grad.is_sparse
            optimizer.step()
    sum(plain.losses("separate")).backward()  # type: ignore[union-attr]
    read = plain.trunk.table.weight.grad.coalesce().indices()
    assert table.grad.coalesce().indices().equal(read)  # the rows that SparseAdam moves are those of a plain step


def test_a_row_that_weights_cancel_is_still_moved() -> None:
    """The optimizer's momentum moves it in a plain step too."""
    table = nn.Embedding(5, 2, sparse=True)
    losses = [table(torch.tensor([1])).sum() + table(torch.tensor([3])).sum(), -table(torch.tensor([3])).sum()]
    mtlbench.Surgery(table, "mean").loss(losses).backward()
    assert table.weight.grad is not None
    plain = table.weight.grad.coalesce()
    table.weight.grad = None
    losses = [table(torch.tensor([1])).sum() + table(torch.tensor([3])).sum(), -table(torch.tensor([3])).sum()]
    mtlbench.Surgery(table, "cosine-gate[main=0]").loss(losses).backward()
    gated: torch.Tensor = table.weight.grad
    assert plain.indices().tolist() == [[1, 3]] and gated.is_sparse
    assert gated.coalesce().indices().tolist() == [[1, 3]]


@pytest.mark.parametrize("method", ["pcgrad", "fixed[w=1:1]"])
def test_a_sparse_table_with_a_dense_use_gets_a_dense_gradient(method: str) -> None:
    """As in torch: a tied output layer reaches every row."""
    table = nn.Embedding(5, 2, sparse=True)
    layer = nn.Linear(5, 2)
    numbers = torch.tensor([1, 3, 1])
    losses = [
        table(numbers).square().sum(),
        functional.linear(table(numbers), table.weight).square().sum() + layer.weight.sum(),
    ]
    plain = copy.deepcopy(table)
    mtlbench.Surgery(table, method).loss(losses).backward()
    expected = [plain(numbers).square().sum(), functional.linear(plain(numbers), plain.weight).square().sum()]
    torch.stack(expected).sum().backward()
    assert table.weight.grad is not None and plain.weight.grad is not None
    assert table.weight.grad.layout == plain.weight.grad.layout == torch.strided
    torch.testing.assert_close(table.weight.grad, plain.weight.grad)


def test_sparse_gradients_of_micro_batches() -> None:
    """The first micro-batch reads a table through a sparse layer, the second one densely."""
    table = nn.Embedding(5, 2, sparse=True)
    surgery = mtlbench.Surgery(table, "pcgrad", accumulate=2)
    numbers = torch.tensor([1, 3])
    (surgery.loss([table(numbers).sum(), table(numbers).square().sum()]) / 2).backward()
    (surgery.loss([table.weight.sum(), table(numbers).sum()]) / 2).backward()
    assert table.weight.grad is not None and not table.weight.grad.is_sparse


# Parameters that some losses or steps do not reach


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.all, self.some, self.none = (nn.Linear(3, 3).double() for _ in range(3))

    def losses(self) -> list[torch.Tensor]:
        x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).view(4, 3)
        y = self.all(x)
        return [y.square().sum(), self.some(y).sin().sum(), y.exp().sum()]

    def jacobian(self, parameters: list[nn.Parameter]) -> Matrix:
        rows = [torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True) for loss in self.losses()]
        dense = [
            [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, row, strict=True)] for row in rows
        ]
        return np.stack([torch.cat([g.flatten() for g in row]).numpy() for row in dense])


@pytest.mark.parametrize("method", ["pcgrad", "fixed[w=1:2:1]", "graddrop"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_parameters_that_no_loss_reaches(method: str, skip: bool) -> None:
    model = Parts()
    before = [p.clone() for p in model.none.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    with mtlbench.Surgery(model, method, skip_zero_rows=skip) as surgery:
        for _ in range(2):
            optimizer.zero_grad()
            surgery.loss(model.losses()).backward()
            optimizer.step()
    assert all(p.grad is None and p.equal(b) for p, b in zip(model.none.parameters(), before, strict=True))
    assert all(p.grad is not None for p in model.some.parameters())


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_parameters_that_some_tasks_reach(skip: bool) -> None:
    model = Parts()
    reached = [*model.all.parameters(), *model.some.parameters()]
    jacobian = model.jacobian(reached)
    with mtlbench.Surgery(model, "pcgrad", skip_zero_rows=skip) as surgery:
        for _ in range(2):  # the second step writes over the first one's rows
            model.zero_grad()
            surgery.loss(model.losses()).backward()
            actual = torch.cat([p.grad.flatten() for p in reached if p.grad is not None]).numpy()
            assert actual == pytest.approx(mtlbench.aggregate("pcgrad", jacobian), rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("method", ["mgda", "fixed[w=1:2:1]"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_tasks_that_reach_other_parameters_at_every_step(method: str, skip: bool) -> None:
    """As with experts: what a task's row held for a parameter that it does not reach any more is gone."""
    torch.manual_seed(0)
    experts = nn.ModuleList(nn.Linear(3, 3).double() for _ in range(3))
    x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).view(4, 3)
    parameters = list(experts.parameters())

    def losses(step: int) -> list[torch.Tensor]:
        routes = [(0, 1), (1, 2), (1, 1)] if step % 2 else [(2, 2), (0, 0), (0, 2)]
        return [(experts[a](x).tanh() + experts[b](x)).square().sum() * (i + 1.0) for i, (a, b) in enumerate(routes)]

    with mtlbench.Surgery(experts, method, skip_zero_rows=skip) as surgery:
        for step in range(3):
            experts.zero_grad()
            surgery.loss(losses(step)).backward()
            rows = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in losses(step)]
            dense = [
                [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, r, strict=True)] for r in rows
            ]
            jacobian = np.stack([torch.cat([g.flatten() for g in row]).numpy() for row in dense])
            expected = mtlbench.aggregate(method, jacobian, losses=np.ones(3))
            actual = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            assert torch.cat([g.flatten() for g in actual]).numpy() == pytest.approx(expected, rel=1e-9, abs=1e-11)
            reached = [any(row[number] is not None for row in rows) for number in range(len(parameters))]
            assert [p.grad is not None for p in parameters] == reached


@pytest.mark.parametrize("method", ["mgda", "graddrop", "fixed[w=1:2:1]", "gradnorm"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_hooks_of_parameters_run_once_on_the_update(method: str, skip: bool) -> None:
    plain, hooked = Toy(), Toy()
    seen: list[torch.Tensor] = []

    def clamp(gradient: torch.Tensor) -> torch.Tensor:
        seen.append(gradient.clone())
        return gradient.clamp(-0.01, 0.01)

    places: list[nn.Parameter] = []
    for parameter in (hooked.trunk[0].weight, hooked.trunk[2].bias, hooked.heads[1].weight):
        parameter.register_hook(clamp)
        parameter.register_post_accumulate_grad_hook(places.append)
    for toy in (plain, hooked):
        with mtlbench.Surgery(toy.trunk, method, last_shared_layer=toy.trunk[2], skip_zero_rows=skip) as surgery:
            surgery.loss(toy.losses()).backward()
    assert len(seen) == len(places) == 3
    for (name, one), other in zip(plain.named_parameters(), hooked.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        clamped = name in {"trunk.0.weight", "trunk.2.bias", "heads.1.weight"}
        expected = one.grad.clamp(-0.01, 0.01) if clamped else one.grad
        torch.testing.assert_close(other.grad, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("method", ["mgda", "fixed[w=1:2:1]"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_frozen_and_unfrozen_between_steps(method: str, skip: bool) -> None:
    model = Parts()
    parameters = [*model.all.parameters(), *model.some.parameters()]
    with mtlbench.Surgery(model, method, skip_zero_rows=skip) as surgery:
        for frozen in ([], [0, 2], [3], [], [1]):
            for number, parameter in enumerate(parameters):
                parameter.requires_grad_(number not in frozen)
            model.zero_grad()
            surgery.loss(model.losses()).backward()
            trained = [p for p in parameters if p.requires_grad]
            assert all((p.grad is None) != p.requires_grad for p in parameters)
            actual = torch.cat([p.grad.flatten() for p in trained if p.grad is not None]).numpy()
            losses = [float(loss.detach()) for loss in model.losses()]
            expected = mtlbench.aggregate(method, model.jacobian(trained), losses=losses)
            assert actual == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_frozen_between_forward_and_loss() -> None:
    model = Parts()
    with mtlbench.Surgery(model, "pcgrad", skip_zero_rows=True) as surgery:
        losses = model.losses()
        model.all.weight.requires_grad_(False)
        surgery.loss(losses).backward()
    assert model.all.weight.grad is None and model.all.bias.grad is not None


def test_all_frozen_is_one_line() -> None:
    model = Parts()
    surgery = mtlbench.Surgery(model, "pcgrad")
    losses = model.losses()
    model.requires_grad_(False)
    assert fault(surgery.loss, losses) == "no shared parameter requires a gradient any more: unfreeze some"


def test_a_parameter_listed_twice_counts_once() -> None:
    one, other = Toy(), Toy()
    mtlbench.Surgery([*one.shared, one.trunk, one.shared[0]], "pcgrad").loss(one.losses()).backward()
    mtlbench.Surgery(other.trunk, "pcgrad").loss(other.losses()).backward()
    for actual, expected in zip(one.parameters(), other.parameters(), strict=True):
        assert actual.grad is not None and expected.grad is not None and actual.grad.equal(expected.grad)


# What is in .grad before


@pytest.mark.parametrize("method", ["mgda", "fixed[w=1:2:1]", "gradnorm"])
def test_gradients_set_to_zero_and_accumulated(method: str) -> None:
    toy = Toy()
    surgery = mtlbench.Surgery(toy.trunk, method, last_shared_layer=toy.trunk[2])
    surgery.loss(toy.losses()).backward()
    first, places = toy.update(), [p.grad for p in toy.parameters()]
    toy.zero_grad(set_to_none=False)
    assert not toy.update().any()
    surgery = mtlbench.Surgery(toy.trunk, method, last_shared_layer=toy.trunk[2])
    for _ in range(2):
        surgery.loss(toy.losses()).backward()
    if method != "gradnorm":  # its weights move
        assert toy.update() == pytest.approx(2.0 * first, rel=1e-12)
    assert all(p.grad is place for p, place in zip(toy.parameters(), places, strict=True))


@pytest.mark.parametrize("name", ["transposed", "channels_last"])
@pytest.mark.parametrize("method", ["pcgrad", "fixed[w=1:2:1]"])
def test_layout_of_gradients_is_that_of_torch(name: str, method: str) -> None:
    model = build(name)
    plain = model.copy()
    mtlbench.Surgery(model.trunk, method).loss(model.losses("shared")).backward()
    sum(plain.losses("shared")).backward()  # type: ignore[union-attr]
    for (key, parameter), other in zip(model.trunk.named_parameters(), plain.trunk.parameters(), strict=True):
        assert parameter.grad is not None and other.grad is not None
        assert parameter.grad.stride() == other.grad.stride() == parameter.stride(), key


# Memory of what is delivered


def build_steps(name: str, method: str, change: Any = None) -> list[list[torch.Tensor]]:
    """Train for three steps, and return copies of each step's gradients, taken before anything is changed."""
    model = build(name)
    parameters = [*model.trunk.parameters(), *model.heads.parameters()]
    last = [p for p in model.trunk.parameters() if p.requires_grad][:1]
    surgery = mtlbench.Surgery(model.trunk, method, last_shared_layer=last)
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    kept: list[list[torch.Tensor]] = []
    copies: list[list[torch.Tensor]] = []
    for _ in range(3):
        optimizer.zero_grad()
        surgery.loss(model.losses("shared")).backward()
        kept.append([p.grad for p in parameters if p.grad is not None])
        copies.append([gradient.clone() for gradient in kept[-1]])
        optimizer.step()
        if change is not None:
            change([p for p in parameters if p.grad is not None])
    if change is None:
        for old, copy_ in zip(kept, copies, strict=True):
            assert all(a.equal(b) for a, b in zip(old, copy_, strict=True))
            spans = sorted((g.data_ptr(), g.data_ptr() + g.numel() * g.element_size()) for g in old)
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    return copies


def overwrite(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad.fill_(7.0)


def clip(parameters: list[nn.Parameter]) -> None:
    nn.utils.clip_grad_norm_(parameters, 1e-3)


@pytest.mark.parametrize("change", [overwrite, clip])
@pytest.mark.parametrize("method", ["pcgrad", "fixed[w=1:2:1]", "graddrop", "trimmed-mean", "gradnorm", "config-m"])
@pytest.mark.parametrize("name", ["summed", "used_twice"])
def test_gradients_are_the_users_own(name: str, method: str, change: Any) -> None:
    """Old ones stay as they were, and changing them changes no later step."""
    untouched = build_steps(name, method)
    changed = build_steps(name, method, change)
    for one, other in zip(untouched, changed, strict=True):
        assert all(a.equal(b) for a, b in zip(one, other, strict=True))


def test_updates_that_a_method_returns_are_copied() -> None:
    """An author may return one of the rows, or numbers that the method keeps."""
    toy = Toy()
    method = mtlbench.get_method("moco")
    surgery = mtlbench.Surgery(toy.trunk, method)
    states = []
    for _ in range(2):
        toy.zero_grad()
        surgery.loss(toy.losses()).backward()
        states.append(copy.deepcopy(method.state_dict()))
        for parameter in toy.parameters():
            assert parameter.grad is not None
            parameter.grad.fill_(9.0)
        assert str(method.state_dict()) == str(states[-1])
